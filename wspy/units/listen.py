"""From the atlas to a result: which clips, what is said at the peak, and sound files in which one can hear it."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wspy.atlas import (
    CLASSES,
    broad_classes,
    class_mix,
    mix_entropy,
    nearest_by_direction,
    nearest_by_phones,
    peak_bin_edges,
    range_mix,
    trace_start,
    whole_words,
)
from wspy.atlas.statistics import RANGES
from wspy.audio import FRAME_S, SAMPLE_RATE, excerpt, log_mel, n_frames, peak_gain
from wspy.units.result import (
    Example,
    Neighbour,
    PhoneShare,
    Range,
    RangeMix,
    Sign,
    SignResult,
    Span,
    TokenEffect,
    UnitResult,
)

if TYPE_CHECKING:
    from jaxtyping import Float32

    from wspy.analysis import Context
    from wspy.atlas import Examples, SiteAtlas, Token, UnitPhones, UnitStatistics
    from wspy.atlas import Neighbour as Found
    from wspy.atlas import TokenEffect as Moved
    from wspy.corpus import Alignment, Corpus, Interval

SIGNS: dict[Sign, int] = {"positive": 1, "negative": -1}
N_NEIGHBOURS = 8
SHORTEST_WORD_S = 0.3  # a shorter excerpt is hard to make out
AROUND_WORD_S = 0.04
MOST_PHONES = 11  # that a stacked bar shows by name
WILSON_Z = 1.96  # 95 %


def listen(context: Context, site: str, idx: int, top: int, signs: Sequence[Sign]) -> UnitResult:
    """Read the unit's statistics, computing those of its site if nobody has yet, and cut the examples."""
    atlas = context.atlas(site)
    unit = atlas.unit(idx)
    phones = atlas.unit_phones(idx) if atlas.has_phones else None
    cutter = _Cutter(context, atlas)
    every = atlas.effects()
    effects = every[idx] if every else None
    aligned = context.corpus.alignment_info
    return UnitResult(
        site=atlas.about.site,
        idx=idx,
        position=atlas.about.position,
        model=atlas.about.model,
        corpus=atlas.about.corpus,
        alignment=f"{', '.join(aligned.sources)}; phones: {aligned.phone_set}" if aligned else None,
        n_clips=unit.n_clips,
        n_positions=unit.n_frames,
        mean=unit.mean,
        std=unit.std,
        minimum=unit.minimum,
        maximum=unit.maximum,
        density=unit.density,
        signs=tuple(_one_sign(sign, unit, phones, top, cutter) for sign in signs),
        near_direction=_neighbours(nearest_by_direction(atlas, idx, N_NEIGHBOURS)),
        near_phones=_neighbours(nearest_by_phones(atlas, idx, N_NEIGHBOURS)),
        promoted=_effects(effects.promoted) if effects else (),
        suppressed=_effects(effects.suppressed) if effects else (),
        pictures=context.save("pictures.npz", cutter.pictures),
    )


def _effects(moved: Sequence[Moved]) -> tuple[TokenEffect, ...]:
    return tuple(TokenEffect(token=one.token, effect=one.effect) for one in moved)


def _neighbours(found: Sequence[Found]) -> tuple[Neighbour, ...]:
    return tuple(Neighbour(unit=one.unit, similarity=round(one.similarity, 4)) for one in found)


def _one_sign(sign: Sign, unit: UnitStatistics, phones: UnitPhones | None, top: int, cutter: _Cutter) -> SignResult:
    number = SIGNS[sign]
    mix, leading = _mix(phones, unit, number) if phones else ((), [])
    examples = cutter.cut(unit.top[number][:top], number, sign)
    height = max(number * examples[0].activation, 0.0) if examples else 0.0
    ranges = [
        Range(
            low=number * height * i / RANGES,
            high=number * height * (i + 1) / RANGES,
            examples=cutter.cut(kept, number, f"{sign}-range-{i + 1:02d}"),
        )
        for i, kept in enumerate(unit.range_examples(number))
    ]
    return SignResult(
        sign=sign,
        examples=examples,
        phones=_phone_shares(examples, cutter.base_rates) if cutter.hears_frames else (),
        ranges=tuple(reversed(ranges)),
        mix=mix,
        takes_over=tuple(name for name in dict.fromkeys(leading[1:]) if name != leading[0]),
        bin_edges=tuple(float(edge) for edge in peak_bin_edges()),
        bin_counts=tuple(int(count) for count in unit.histogram[number]),
    )


def _mix(phones: UnitPhones, unit: UnitStatistics, sign: int) -> tuple[tuple[RangeMix, ...], list[str]]:
    """The phones of all frames in ten ranges, strongest first, and the group that leads in each."""
    histogram = phones.histogram.sum(axis=0)
    extreme = unit.maximum if sign > 0 else -unit.minimum
    mix = range_mix(histogram if sign > 0 else histogram[:, ::-1], extreme, RANGES)[::-1]
    entropy = mix_entropy(mix)
    names, groups = _grouped(mix, phones.phones)
    ends = sign * np.linspace(max(extreme, 0.0), 0, RANGES + 1)
    found = tuple(
        RangeMix(
            low=float(ends[at + 1]),
            high=float(ends[at]),
            frames=float(mix[at].sum()),
            entropy_bits=None if np.isnan(entropy[at]) else float(entropy[at]),
            shares={
                name: float(count / mix[at].sum()) for name, count in zip(names, groups[at], strict=True) if count > 0
            },
        )
        for at in range(RANGES)
    )
    return found, [max(each.shares, key=lambda name: each.shares[name]) for each in found if each.shares]


def _grouped(mix: np.ndarray, phones: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Frames per broad class, or per phone for the most common ones where the alphabet has no classes."""
    if sum(name is not None for name in broad_classes(phones)) > len(phones) / 2:
        by_class = class_mix(mix, phones)
        return [*CLASSES, "other"], np.column_stack([by_class, np.maximum(mix.sum(1) - by_class.sum(1), 0)])
    common = np.argsort(-mix.sum(axis=0), kind="stable")[:MOST_PHONES]
    rest = mix.sum(axis=1) - mix[:, common].sum(axis=1)
    return [*(phones[at] for at in common), "other"], np.column_stack([mix[:, common], np.maximum(rest, 0)])


class _Cutter:
    """Turns kept clips of the atlas into examples with sound and pictures."""

    def __init__(self, context: Context, atlas: SiteAtlas) -> None:
        self.context, self.atlas = context, atlas
        self.pictures: dict[str, np.ndarray] = {}
        self.hears_frames = atlas.about.position == "frame"

    @functools.cached_property
    def base_rates(self) -> dict[str, float]:
        return _base_rates(self.context.corpus)

    def cut(self, kept: Examples, sign: int, prefix: str) -> tuple[Example, ...]:
        """The clips as examples, their sound saved as `audio/PREFIX-NN.wav` and `audio/PREFIX-NN-peak.wav`."""
        traces = kept.activations()
        return tuple(
            self._example(
                int(kept.clip[i]),
                int(kept.frame[i]),
                sign * float(kept.value[i]),
                traces[i],
                f"audio/{prefix}-{i + 1:02d}",
            )
            for i in range(len(kept.clip))
        )

    def _example(self, at: int, position: int, activation: float, trace: np.ndarray, media: str) -> Example:
        clip = self.context.corpus.clips[at]
        samples = self.context.audio(clip)
        alignment = self.context.corpus.alignment(clip)
        times, word = self._positions(at, alignment, len(samples))
        peak_s = float(times[position])
        near = excerpt(samples, peak_s) if self.hears_frames else self._word(at, alignment, position, samples)
        first = trace_start(position, len(times))
        shown = times[first : first + len(trace)]
        self.pictures[f"{media}.mel"] = _quantised(log_mel(samples, window_s=None))
        self.pictures[f"{media}.activation"] = trace[: len(shown)].astype(np.float32)
        self.pictures[f"{media}.times"] = shown.astype(np.float32)
        sounding_s = peak_s - (self.atlas.lag_frames or 0) * FRAME_S
        at_peak = alignment.word_at(sounding_s) if alignment else None
        return Example(
            clip=clip.id,
            activation=activation,
            peak_s=round(peak_s, 3),
            word=word[position] if word else at_peak,
            phone=alignment.phone_at(sounding_s) if alignment else None,
            speaker=clip.speaker,
            text=self.context.corpus.text(clip),
            around=None if self.hears_frames else _around(self.atlas.tokens[at], position),
            duration_s=round(len(samples) / SAMPLE_RATE, 6),
            words=_spans(alignment.words if alignment else ()),
            phones=_spans(alignment.phones if alignment else ()),
            audio=self.context.save(f"{media}.wav", peak_gain(samples, peak_s)),
            excerpt=self.context.save(f"{media}-peak.wav", near),
        )

    def _word(
        self, at: int, alignment: Alignment | None, position: int, samples: Float32[np.ndarray, " sample"]
    ) -> Float32[np.ndarray, " sample"]:
        """The sound of the word that a token belongs to: where the alignment has it, else between the tokens' times."""
        tokens = self.atlas.tokens[at]
        _, span = next(each for each in whole_words(tokens) if each[1].start <= position < each[1].stop)
        place = np.cumsum([token.text.startswith(" ") for token in tokens]) - 1
        if alignment and len(alignment.words) == place[-1] + 1:
            said = alignment.words[place[position]]
            start_s, end_s, shortest_s = said.start_s, said.end_s, SHORTEST_WORD_S
        else:
            times = [0.0, *(token.heard_s for token in tokens), len(samples) / SAMPLE_RATE]
            start_s = (times[span.start] + times[span.start + 1]) / 2
            end_s = (times[span.stop] + times[span.stop + 1]) / 2
            shortest_s = 2 * SHORTEST_WORD_S  # cross-attention often leads or trails the sound
        return excerpt(samples, (start_s + end_s) / 2, max(end_s - start_s + 2 * AROUND_WORD_S, shortest_s))

    def _positions(self, at: int, alignment: Alignment | None, n_samples: int) -> tuple[np.ndarray, list[str]]:
        """When each position of the clip is heard, in seconds, and for a decoder site the word that it belongs to."""
        if self.hears_frames:
            # The convolutions centre frame f on mel frame 2 f, and Whisper centres mel frame m on 10 m milliseconds.
            return np.arange(n_frames(n_samples)) * FRAME_S, []
        tokens = self.atlas.tokens[at]
        times = np.array([token.heard_s for token in tokens])
        place = np.cumsum([token.text.startswith(" ") for token in tokens]) - 1
        if alignment and len(alignment.words) == place[-1] + 1:
            # The alignment is sharper than cross-attention, which often leads or trails the sound.
            times = np.array([(alignment.words[i].start_s + alignment.words[i].end_s) / 2 for i in place])
        return times, [token.word for token in tokens]


def _around(tokens: Sequence[Token], position: int) -> tuple[str, str, str]:
    """The text, cut at the word that a token belongs to."""
    _, span = next(each for each in whole_words(tokens) if each[1].start <= position < each[1].stop)
    before, word, after = (
        "".join(token.text for token in tokens[part])
        for part in (slice(0, span.start), span, slice(span.stop, len(tokens)))
    )
    space = " " if word.startswith(" ") else ""
    return (before + space).lstrip(), f"[{word.strip()}]", after


def _quantised(mel: np.ndarray) -> np.ndarray:
    """A log-mel picture in 256 levels."""
    low, high = float(mel.min()), float(mel.max())
    return np.rint((mel - low) / max(high - low, 1e-6) * 255).astype(np.uint8)


def _spans(intervals: Sequence[Interval]) -> tuple[Span, ...]:
    return tuple(Span(start_s=round(i.start_s, 3), end_s=round(i.end_s, 3), label=i.label) for i in intervals)


def _base_rates(corpus: Corpus) -> dict[str, float]:
    """Share of the corpus' aligned time that each phone takes."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for clip in corpus.clips:
        alignment = corpus.alignment(clip)
        for phone in alignment.phones if alignment else ():
            seconds[phone.label] += phone.end_s - phone.start_s
    total = sum(seconds.values())
    return {phone: share / total for phone, share in seconds.items()}


def _phone_shares(examples: Sequence[Example], base: dict[str, float]) -> tuple[PhoneShare, ...]:
    """How often each phone stands at the peak, with the 95 % interval of Wilson (1927)."""
    counts = Counter(example.phone for example in examples if example.phone is not None)
    n = sum(counts.values())
    shares = []
    for phone, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        low, high = wilson(count, n)
        shares.append(
            PhoneShare(phone=phone, count=count, share=count / n, low=low, high=high, base=base.get(phone, 0.0))
        )
    return tuple(shares)


def wilson(count: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927, JASA 22, 209-212)."""
    share, z2 = count / n, WILSON_Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = WILSON_Z / (1 + z2 / n) * (share * (1 - share) / n + z2 / (4 * n**2)) ** 0.5
    return max(centre - half, 0.0), min(centre + half, 1.0)
