"""The passes of `steer`: one to see how much of the handle there is, and one for every factor and control."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

import wspy
from wspy.audio import n_frames
from wspy.model import (
    WordErrors,
    capture,
    compare_words,
    encode,
    encode_from,
    mel_batch,
    patch,
    pooled_wer,
    transcribe,
    transcribe_mixed,
    wer_interval,
    word_errors,
)
from wspy_sae.feature_errors import NeverFires
from wspy_sae.handles import Handle, find_handle
from wspy_sae.steering import By, Changed, HeardClip, Mode, Steer, Steered

if TYPE_CHECKING:
    from jaxtyping import Float

    from wspy.model import Model, Transcription

BATCH = 8
"""Windows of 30 s in one pass."""
TOKENS = 224
LONGER = 3
"""A transcript may get so many times as long as the untouched one: a model that is broken repeats itself."""
LEAST_TOKENS = 40
N_WORDS = 12
_BLOCK = re.compile(r"encoder\.blocks\.(\d+)")


@dataclass(frozen=True, eq=False)
class Variant:
    """One factor, written along the handle's own direction or a control's."""

    factor: float
    by: By
    which: int | None
    write: Float[Tensor, " unit"]
    """As long as the handle's own."""


def steer(inputs: Steer.Inputs, context: wspy.Context) -> Steer.Result:
    """Measure, then hear every clip with every variant.

    Raises:
        As `find_handle` does.
        AudioTooLong: a recording of more than 30 s.
        NeverFires: it is to be clamped, and is nowhere above zero.
    """
    handle = find_handle(inputs, context)
    mode: Mode = inputs.mode or ("add" if inputs.direction is not None else "scale")
    sounds = list(context.sounds(inputs.audio, inputs.limit))
    model = context.model
    spread = _Spread(len(handle.write))
    actives = [spread.add(x, handle) for x in _activations(model, handle.site, sounds, context)]
    if mode == "clamp" and not spread.peak > 0:
        raise NeverFires(handle.label)
    variants = _variants(inputs, handle, context.rng)
    steering = _Steering(model, handle, mode, spread, variants)
    batches = [sounds[first : first + BATCH] for first in range(0, len(sounds), BATCH)]
    for batch in context.progress.track(batches, f"Steering with {len(variants)} variants", unit="batches"):
        steering.hear(batch)
    return _result(inputs, context, handle, mode, spread, sounds, actives, steering)


def _activations(
    model: Model, site: str, sounds: Sequence[wspy.Sound], context: wspy.Context
) -> Iterator[Float[Tensor, "frame unit"]]:
    """What a site gives in the frames of every clip."""
    batches = [sounds[first : first + BATCH] for first in range(0, len(sounds), BATCH)]
    for batch in context.progress.track(batches, "Measuring the site", unit="batches"):
        with torch.inference_mode(), capture(model, site) as cache:
            encode(model, mel_batch(model, [sound.samples for sound in batch]), stop_after=site)
        for row, sound in enumerate(batch):
            yield cache[site][row, : n_frames(len(sound.samples))].float().cpu()


class _Spread:
    """How far activations lie from their mean, and how much of the handle is in them."""

    def __init__(self, n_units: int) -> None:
        self.n, self.active, self.peak = 0, 0, -np.inf
        self.sum, self.square = torch.zeros(n_units, dtype=torch.float64), 0.0

    def add(self, x: Float[Tensor, "frame unit"], handle: Handle) -> float:
        """Some more frames; the share of them in which the handle is above zero."""
        values = handle.value(x)
        self.n += len(x)
        self.sum += x.double().sum(dim=0)
        self.square += float(x.double().square().sum())
        n_active = int((values > 0).sum())
        self.active += n_active
        self.peak = max(self.peak, float(values.max()))
        return n_active / len(x)

    @property
    def size(self) -> float:
        """Root of the mean squared distance from the mean."""
        return float(max(self.square / self.n - float((self.sum / self.n).square().sum()), 0.0) ** 0.5)


def change_of(
    values: Float[Tensor, " frame"], mode: Mode, factor: float, *, peak: float, size: float, length: float
) -> Float[Tensor, " frame"]:
    """How many units of the handle are added in each frame; see the formulas of `wspy_sae.steering`."""
    if mode == "scale":
        return (factor - 1) * values
    if mode == "clamp":
        return factor * peak - values
    return torch.full_like(values, factor * size / length)


def _variants(inputs: Steer.Inputs, handle: Handle, rng: np.random.Generator) -> list[Variant]:
    """Every factor along the handle, and along each control."""
    length = float(handle.write.norm())

    def as_long(vector: Tensor) -> Tensor:
        scaled: Tensor = vector * (length / float(vector.norm()))
        return scaled

    writes: list[tuple[By, int | None, Tensor]] = [("handle", None, handle.write)]
    for number in range(inputs.controls):
        vector = torch.from_numpy(rng.standard_normal(len(handle.write)).astype(np.float32))
        writes.append(("random direction", number, as_long(vector)))
    if handle.dictionary is not None and handle.feature is not None:
        others = np.delete(np.arange(handle.dictionary.config.d_sae), handle.feature)
        usable = others[(handle.dictionary.W_dec.norm(dim=1) > 0).numpy()[others]]
        drawn = rng.choice(usable, size=min(inputs.controls, len(usable)), replace=False).tolist()
        rows = handle.dictionary.W_dec
        writes += [("random feature", feature, as_long(rows[feature].clone())) for feature in drawn]
    factors = dict.fromkeys(inputs.factor)
    return [Variant(factor, by, which, write) for factor in factors for by, which, write in writes]


class _Steering:
    """Hears batches of clips, untouched and with every variant."""

    def __init__(self, model: Model, handle: Handle, mode: Mode, spread: _Spread, variants: Sequence[Variant]) -> None:
        self.model, self.handle, self.mode, self.spread, self.variants = model, handle, mode, spread, variants
        self.clean: list[Transcription] = []
        self.texts: list[list[str]] = [[] for _ in variants]
        self.squares = np.zeros(len(variants))
        """Per variant the summed square of what was added."""

    @torch.inference_mode()
    def hear(self, batch: Sequence[wspy.Sound]) -> None:
        """One batch of clips."""
        mels = mel_batch(self.model, [sound.samples for sound in batch])
        with capture(self.model, self.handle.site) as cache:
            features = encode(self.model, mels)
        assert features is not None  # only a pass that stops early gives none
        ends_s = [sound.duration_s for sound in batch]
        spoken = [sound.language if self.model.is_multilingual else None for sound in batch]
        clean = transcribe_mixed(self.model, features, spoken, ends_s=ends_s)
        self.clean += clean
        x = cache[self.handle.site].clone()
        todo: list[tuple[int, int, Tensor]] = []  # the clip's row, the variant, and its changed activations
        for row, sound in enumerate(batch):
            values = self.handle.value(x[row, : n_frames(len(sound.samples))].float().cpu())
            for at, variant in enumerate(self.variants):
                changed = self._changed(x[row], values, at, variant)
                if changed is None:
                    self.texts[at].append(clean[row].text)
                else:
                    self.texts[at].append("")
                    todo.append((row, at, changed))
        self._transcribe(todo, mels, clean, ends_s)

    def _changed(self, x: Tensor, values: Tensor, at: int, variant: Variant) -> Tensor | None:
        """A clip's activations with a variant's change in its own frames; None where that changes nothing."""
        amounts = change_of(
            values,
            self.mode,
            variant.factor,
            peak=self.spread.peak,
            size=self.spread.size,
            length=float(self.handle.write.norm()),
        )
        if not bool(amounts.any()):
            return None
        added = amounts[:, None] * variant.write
        self.squares[at] += float(added.double().square().sum())
        changed = x.clone()
        changed[: len(values)] += added.to(x)
        return changed

    def _transcribe(
        self,
        todo: Sequence[tuple[int, int, Tensor]],
        mels: Tensor,
        clean: Sequence[Transcription],
        ends_s: Sequence[float],
    ) -> None:
        """Go on from the changed activations; clips of one language together."""
        first = len(self.clean) - len(clean)
        ordered = sorted(todo, key=lambda one: (clean[one[0]].language, one[1]))
        for language, group in itertools.groupby(ordered, key=lambda one: clean[one[0]].language):
            same = list(group)
            for start in range(0, len(same), BATCH):
                some = same[start : start + BATCH]
                rows = [row for row, _, _ in some]
                features = features_from(
                    self.model, mels[rows], self.handle.site, torch.stack([changed for _, _, changed in some])
                )
                longest = max(len(clean[row].tokens) for row in rows)
                written = transcribe(
                    self.model,
                    features,
                    language=language,
                    max_tokens=min(max(LONGER * longest, LEAST_TOKENS), TOKENS),
                    ends_s=[ends_s[row] for row in rows],
                )
                for (row, at, _), found in zip(some, written, strict=True):
                    self.texts[at][first + row] = found.text


def features_from(
    model: Model, mels: Float[Tensor, "batch mel _"], site: str, x: Float[Tensor, "batch frame unit"]
) -> Float[Tensor, "batch frame d_model"]:
    """What the encoder makes of windows whose site gives `x`."""
    block = _BLOCK.fullmatch(site)
    if block and int(block[1]) + 1 < model.dims.n_audio_layer:
        return encode_from(model, x, int(block[1]) + 1)
    with patch(model, {site: lambda _: x}):
        features = encode(model, mels)
    assert features is not None  # only a pass that stops early gives none
    return features


# --- what came out ----------------------------------------------------------------------------------------


def _result(
    inputs: Steer.Inputs,
    context: wspy.Context,
    handle: Handle,
    mode: Mode,
    spread: _Spread,
    sounds: Sequence[wspy.Sound],
    actives: Sequence[float],
    steering: _Steering,
) -> Steer.Result:
    clean = steering.clean
    said = [
        word_errors(sound.text, one.text, one.language)
        for sound, one in zip(sounds, clean, strict=True)
        if sound.text is not None
    ]
    return Steer.Result(
        handle=handle.label,
        site=handle.site,
        mode=mode,
        model=context.reference.name,
        corpus=None if inputs.audio else context.corpus.name,
        n_frames=spread.n,
        n_words=sum(word_errors(one.text, "", one.language).n_words for one in clean),
        active=spread.active / spread.n,
        peak=spread.peak,
        site_size=spread.size,
        text_wer=pooled_wer(said),
        clips=tuple(
            HeardClip(clip=sound.name, language=one.language, said=sound.text, text=one.text, active=active)
            for sound, one, active in zip(sounds, clean, actives, strict=True)
        ),
        steered=tuple(
            _steered(variant, texts, square, sounds, clean, spread, context.rng)
            for variant, texts, square in zip(steering.variants, steering.texts, steering.squares.tolist(), strict=True)
        ),
        audio=context.save("recording.wav", sounds[0].samples) if inputs.audio else None,
    )


def _steered(
    variant: Variant,
    texts: Sequence[str],
    square: float,
    sounds: Sequence[wspy.Sound],
    clean: Sequence[Transcription],
    spread: _Spread,
    rng: np.random.Generator,
) -> Steered:
    errors = [word_errors(one.text, text, one.language) for one, text in zip(clean, texts, strict=True)]
    to_text: list[WordErrors] = [
        word_errors(sound.text, text, one.language)
        for sound, text, one in zip(sounds, texts, clean, strict=True)
        if sound.text is not None
    ]
    low, high = wer_interval(errors, rng) or (None, None)
    passages = Counter(
        (" ".join(map(_bare, passage.before)), " ".join(map(_bare, passage.after)))
        for one, text in zip(clean, texts, strict=True)
        for passage in compare_words(one.text, text)
        if passage.change != "same"
    )
    return Steered(
        factor=variant.factor,
        by=variant.by,
        which=variant.which,
        size=(square / spread.n) ** 0.5 / max(spread.size, 1e-30),
        wer=pooled_wer(errors),
        wer_low=low,
        wer_high=high,
        text_wer=pooled_wer(to_text),
        substituted=sum(error.substituted for error in errors),
        inserted=sum(error.inserted for error in errors),
        deleted=sum(error.deleted for error in errors),
        changed=sum(error.n_errors > 0 for error in errors) / len(errors),
        words=tuple(
            Changed(before=before, after=after, count=count)
            for (before, after), count in sorted(passages.items(), key=lambda item: (-item[1], item[0]))[:N_WORDS]
        ),
        texts=tuple(texts),
    )


def _bare(word: str) -> str:
    """A word without punctuation around it, in lower case, so that equal changes count together."""
    return word.strip(".,;:!?\"'“”‘’()[]…-–—").casefold()
