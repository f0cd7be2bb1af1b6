"""From the atlas to a result: which clips, what is said at the peak, and sound files in which one can hear it."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import wspy
from wspy.atlas import peak_bin_edges, trace_start
from wspy.audio import FRAME_S, SAMPLE_RATE, excerpt, log_mel, n_frames, peak_gain
from wspy.errors import OutOfRange
from wspy_neuron import Example, Neuron, PhoneShare, Range, Sign, SignResult, Span

if TYPE_CHECKING:
    from wspy.atlas import Examples, SiteAtlas, UnitStatistics

SIGNS: dict[Sign, int] = {"positive": 1, "negative": -1}
N_RANGES = 10
PER_RANGE = 2
WILSON_Z = 1.96  # 95 %


def listen(inputs: Neuron.Inputs, context: wspy.Context) -> Neuron.Result:
    """Read the neuron's statistics, computing those of its layer if nobody has yet, and cut the examples."""
    dims, name = context.reference.dims, context.reference.name
    n_layers = dims.n_audio_layer if inputs.side == "encoder" else dims.n_text_layer
    if inputs.layer >= n_layers:
        raise OutOfRange("Layer", inputs.layer, 0, n_layers - 1, f"the {inputs.side} of {name}")
    if inputs.idx >= dims.d_mlp:
        raise OutOfRange("Neuron", inputs.idx, 0, dims.d_mlp - 1, f"a layer of {name}")
    atlas = context.atlas(f"{inputs.side}.blocks.{inputs.layer}.mlp.1")
    unit = atlas.unit(inputs.idx)
    cutter = _Cutter(context, atlas)
    aligned = context.corpus.alignment_info
    chosen: list[Sign] = ["positive", "negative"] if inputs.sign == "both" else [inputs.sign]
    signs = tuple(_one_sign(sign, unit, inputs.top, cutter) for sign in chosen)
    return Neuron.Result(
        site=atlas.about.site,
        idx=inputs.idx,
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
        signs=signs,
        pictures=context.save("pictures.npz", cutter.pictures),
    )


def _one_sign(sign: Sign, unit: UnitStatistics, top: int, cutter: _Cutter) -> SignResult:
    number = SIGNS[sign]
    examples = cutter.cut(unit.top[number][:top], number, sign)
    height = max(number * examples[0].activation, 0.0) if examples else 0.0
    ranges = [
        Range(
            low=number * height * i / N_RANGES,
            high=number * height * (i + 1) / N_RANGES,
            examples=cutter.cut(kept, number, f"{sign}-range-{i + 1:02d}"),
        )
        for i, kept in enumerate(unit.range_examples(number, N_RANGES, PER_RANGE))
    ]
    return SignResult(
        sign=sign,
        examples=examples,
        phones=_phone_shares(examples, cutter.base_rates) if cutter.hears_frames else (),
        ranges=tuple(reversed(ranges)),
        bin_edges=tuple(float(edge) for edge in peak_bin_edges()),
        bin_counts=tuple(int(count) for count in unit.histogram[number]),
    )


class _Cutter:
    """Turns kept clips of the atlas into examples with sound and pictures."""

    def __init__(self, context: wspy.Context, atlas: SiteAtlas) -> None:
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
        first = trace_start(position, len(times))
        shown = times[first : first + len(trace)]
        self.pictures[f"{media}.mel"] = _quantised(log_mel(samples, window_s=None))
        self.pictures[f"{media}.activation"] = trace[: len(shown)].astype(np.float32)
        self.pictures[f"{media}.times"] = shown.astype(np.float32)
        at_peak = alignment.word_at(peak_s) if alignment else None
        return Example(
            clip=clip.id,
            activation=activation,
            peak_s=round(peak_s, 3),
            word=word[position] if word else at_peak,
            phone=alignment.phone_at(peak_s) if alignment else None,
            speaker=clip.speaker,
            text=self.context.corpus.text(clip),
            duration_s=round(len(samples) / SAMPLE_RATE, 6),
            words=_spans(alignment.words if alignment else ()),
            phones=_spans(alignment.phones if alignment else ()),
            audio=self.context.save(f"{media}.wav", peak_gain(samples, peak_s)),
            excerpt=self.context.save(f"{media}-peak.wav", excerpt(samples, peak_s)),
        )

    def _positions(self, at: int, alignment: wspy.Alignment | None, n_samples: int) -> tuple[np.ndarray, list[str]]:
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


def _quantised(mel: np.ndarray) -> np.ndarray:
    """A log-mel picture in 256 levels."""
    low, high = float(mel.min()), float(mel.max())
    return np.rint((mel - low) / max(high - low, 1e-6) * 255).astype(np.uint8)


def _spans(intervals: Sequence[wspy.Interval]) -> tuple[Span, ...]:
    return tuple(Span(start_s=round(i.start_s, 3), end_s=round(i.end_s, 3), label=i.label) for i in intervals)


def _base_rates(corpus: wspy.Corpus) -> dict[str, float]:
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
