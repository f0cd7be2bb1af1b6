"""The encoder's heads: where they look, and what masking each of them alone does to the transcript."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

import wspy
from wspy.audio import FRAME_S, SAMPLE_RATE, n_frames
from wspy.model import (
    Model,
    Transcription,
    WordErrors,
    attention_bias,
    band_bias,
    capture,
    encode,
    encode_from,
    for_heads,
    mel_batch,
    patch,
    pooled_wer,
    transcribe_mixed,
    wer_interval,
    word_errors,
)
from wspy_heads import WITHIN, Effect, Encoder, EncoderHead, Heads, Mass, Reach, Together

if TYPE_CHECKING:
    from jaxtyping import Float

HeadName = tuple[int, int]
"""Layer and head."""
BATCH = 8
"""Clips in one pass of the encoder, and transcripts in one of the decoder."""
HARMLESS_WER = 0.05
"""Share of words that may change for a head to count as harmless."""
NEAR_SHARE = 0.5
"""Share of the attention within the window from which a head counts as near."""


def encoder(
    inputs: Heads.Inputs,
    chosen: Sequence[HeadName],
    clips: Sequence[wspy.Clip],
    context: wspy.Context,
    notes: list[str],
) -> Encoder:
    """Reach and effect of every chosen head."""
    windows = tuple(sorted({*WITHIN, inputs.k}))
    sums, uniform = _reaches(chosen, windows, clips, context)
    test = _causal_test(inputs.k, chosen, clips, context, notes) if inputs.causal else None
    heads = []
    for name in chosen:
        reach = sums[name].reach(windows)
        wer = _Wer.of(test.errors[name], context.rng) if test else None
        effect = wer.effect if wer else "not tested"
        heads.append(
            EncoderHead(
                layer=name[0],
                head=name[1],
                reach=reach,
                wer=wer.wer if wer else None,
                wer_low=wer.low if wer else None,
                wer_high=wer.high if wer else None,
                changed=wer.changed if wer else None,
                effect=effect,
                verdict=_verdict(reach, inputs.k, wer, effect),
            )
        )
    return Encoder(
        k=inputs.k,
        n_words=test.n_words if test else 0,
        heads=tuple(heads),
        uniform=uniform.reach(windows),
        together=_together(inputs.k, heads, test, clips, context) if test else (),
    )


# --- where they look --------------------------------------------------------------------------------------


@dataclass
class _Sums:
    """What one head's attention adds up to, over the frames of all clips."""

    distance: float
    entropy: float
    mass: list[float]
    to_padding: float
    from_padding: float
    n_frames: int = 0
    n_padding: int = 0

    @classmethod
    def empty(cls, windows: Sequence[int]) -> _Sums:
        return cls(0.0, 0.0, [0.0] * len(windows), 0.0, 0.0)

    def reach(self, windows: Sequence[int]) -> Reach:
        n = max(self.n_frames, 1)
        return Reach(
            distance_frames=self.distance / n,
            distance_ms=1000 * FRAME_S * self.distance / n,
            entropy_bits=self.entropy / n,
            mass=tuple(Mass(k=k, share=mass / n) for k, mass in zip(windows, self.mass, strict=True)),
            to_padding=self.to_padding / n,
            from_padding=self.from_padding / self.n_padding if self.n_padding else None,
        )


def _reaches(
    chosen: Sequence[HeadName], windows: Sequence[int], clips: Sequence[wspy.Clip], context: wspy.Context
) -> tuple[dict[HeadName, _Sums], _Sums]:
    """The sums of every head, and of one that spreads evenly. Weights of one layer and one clip exist at a time."""
    model = context.model
    sums = {name: _Sums.empty(windows) for name in chosen}
    uniform = _Sums.empty(windows)
    frame = torch.arange(model.dims.n_audio_ctx, device=model.device)
    distance = (frame[:, None] - frame).abs().float()
    even = torch.full_like(distance, 1 / len(frame))
    valid = 0

    def reader(layer: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def read(pattern: torch.Tensor) -> torch.Tensor:
            for head in range(pattern.shape[1]):
                if (layer, head) in sums:
                    _add(sums[layer, head], pattern[0, head].float(), distance, valid, windows)
            return pattern

        return read

    layers = sorted({layer for layer, _ in chosen})
    sites = {f"encoder.blocks.{layer}.attn.pattern": reader(layer) for layer in layers}
    for clip in context.progress.track(clips, "Looking at every head", total=len(clips)):
        samples = context.corpus.audio(clip)
        valid = n_frames(len(samples))
        mel = mel_batch(model, [samples])
        with torch.inference_mode(), patch(model, sites):
            encode(model, mel, stop_after=f"encoder.blocks.{layers[-1]}.attn")
        _add(uniform, even, distance, valid, windows)
    return sums, uniform


def _add(
    sums: _Sums,
    pattern: Float[torch.Tensor, "query key"],
    distance: Float[torch.Tensor, "query key"],
    valid: int,
    windows: Sequence[int],
) -> None:
    own, near = pattern[:valid, :valid], distance[:valid, :valid]
    inside = own.sum(dim=-1, keepdim=True)
    # A row with nothing inside would be 0 / 0; it counts as nothing.
    weights = own / inside.clamp_min(torch.finfo(own.dtype).tiny)
    sums.distance += float((weights * near).sum())
    sums.entropy += float(-(weights * weights.clamp_min(torch.finfo(own.dtype).tiny).log2()).sum())
    for at, k in enumerate(windows):
        sums.mass[at] += float(weights[near <= k].sum())
    sums.to_padding += float((1 - inside).clamp_min(0).sum())
    sums.from_padding += float(pattern[valid:, :valid].sum())
    sums.n_frames += valid
    sums.n_padding += len(pattern) - valid


# --- what masking does ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wer:
    """The word errors of one mask over all clips."""

    wer: float | None
    low: float | None
    high: float | None
    changed: float

    @classmethod
    def of(cls, errors: Sequence[WordErrors], rng: np.random.Generator) -> _Wer:
        low, high = wer_interval(errors, rng) or (None, None)
        return cls(pooled_wer(errors), low, high, float(np.mean([error.n_errors > 0 for error in errors])))

    @property
    def effect(self) -> Effect:
        if self.low is None or self.high is None:
            return "undecided"
        return "harmless" if self.high <= HARMLESS_WER else "needed" if self.low > HARMLESS_WER else "undecided"


@dataclass
class _Test:
    """What the causal test found."""

    errors: dict[HeadName, list[WordErrors]]
    plain: list[Transcription]
    n_words: int


def _batches(clips: Sequence[wspy.Clip], context: wspy.Context) -> Iterator[tuple[torch.Tensor, list[float]]]:
    """Spectrograms of some clips, and where each ends, in seconds."""
    for start in range(0, len(clips), BATCH):
        sounds = [context.corpus.audio(clip) for clip in clips[start : start + BATCH]]
        yield mel_batch(context.model, sounds), [len(sound) / SAMPLE_RATE for sound in sounds]


def _causal_test(
    k: int, chosen: Sequence[HeadName], clips: Sequence[wspy.Clip], context: wspy.Context, notes: list[str]
) -> _Test:
    model = context.model
    context.progress.note(
        f"Masking {len(chosen)} heads one by one on {len(clips)} clips: {len(chosen) * len(clips)} transcripts. "
        "Fewer with --limit, --layers or --heads; none with --no-causal."
    )
    errors: dict[HeadName, list[WordErrors]] = {name: [] for name in chosen}
    plain: list[Transcription] = []
    band = band_bias(min(k, model.dims.n_audio_ctx), model.dims.n_audio_ctx, model.device)
    done = iter(context.progress.track(range(len(chosen) * len(clips)), "Masking", unit="transcripts"))
    for mels, ends_s in _batches(clips, context):
        batch = clips[len(plain) : len(plain) + len(mels)]
        languages = [clip.language if model.is_multilingual else None for clip in batch]
        below = [f"encoder.blocks.{layer - 1}" for layer in sorted({layer for layer, _ in chosen}) if layer]
        with torch.inference_mode(), capture(model, below) as residual:
            features = encode(model, mels)
        assert features is not None  # only a pass that stops early gives none
        before = transcribe_mixed(model, features, languages, ends_s=ends_s)
        plain += before
        spoken = [transcription.language for transcription in before]
        for layer, head in chosen:
            bias = for_heads(band, [head], model.dims.n_audio_head)
            with torch.inference_mode(), attention_bias(model, {f"encoder.blocks.{layer}.attn": bias}):
                # Below the masked layer nothing changes, so the pass begins there.
                masked = encode_from(model, residual[below_of(layer)], layer) if layer else encode(model, mels)
            assert masked is not None
            after = transcribe_mixed(model, masked, spoken, ends_s=ends_s)
            errors[layer, head] += _errors(before, after)
            for _ in after:
                next(done, None)
    next(done, None)
    _note_silence(plain, notes)
    n_words = sum(word_errors(heard.text, "", heard.language).n_words for heard in plain)
    return _Test(errors, plain, n_words)


def below_of(layer: int) -> str:
    """The site that a layer above 0 reads."""
    return f"encoder.blocks.{layer - 1}"


def _errors(before: Sequence[Transcription], after: Sequence[Transcription]) -> list[WordErrors]:
    return [word_errors(old.text, new.text, old.language) for old, new in zip(before, after, strict=True)]


def _note_silence(plain: Sequence[Transcription], notes: list[str]) -> None:
    silent = sum(not heard.text for heard in plain)
    if silent:
        notes.append(f"{silent} of {len(plain)} clips have no words even unmasked: words under a mask count as added.")
    doubtful = sum(bool(heard.text) and heard.no_speech_prob > 0.6 for heard in plain)
    if doubtful:
        notes.append(
            f"{doubtful} of {len(plain)} clips likely have no speech, by the model's own judgement: what it writes "
            "there is made up (hallucinated)."
        )


def _together(
    k: int, heads: Sequence[EncoderHead], test: _Test, clips: Sequence[wspy.Clip], context: wspy.Context
) -> tuple[Together, ...]:
    """All harmless heads masked at once, all others, and every one."""
    every = [(head.layer, head.head) for head in heads]
    harmless = [(head.layer, head.head) for head in heads if head.effect == "harmless"]
    rest = [name for name in every if name not in harmless]
    groups = {"harmless by themselves": harmless, "all the others": rest, "every head": every}
    groups = {name: group for name, group in groups.items() if group}
    errors: dict[str, list[WordErrors]] = {name: [] for name in groups}
    heard = 0
    for mels, ends_s in context.progress.track(
        _batches(clips, context), "Masking together", total=-(-len(clips) // BATCH), unit="batches"
    ):
        before = test.plain[heard : heard + len(mels)]
        heard += len(mels)
        for name, group in groups.items():
            with torch.inference_mode(), ExitStack() as stack:
                stack.enter_context(attention_bias(context.model, _biases(k, group, context.model)))
                features = encode(context.model, mels)
            assert features is not None
            after = transcribe_mixed(context.model, features, [old.language for old in before], ends_s=ends_s)
            errors[name] += _errors(before, after)
    found = []
    for name, group in groups.items():
        wer = _Wer.of(errors[name], context.rng)
        found.append(Together(heads=tuple(group), name=name, wer=wer.wer, wer_low=wer.low, wer_high=wer.high))
    return tuple(found)


def _biases(k: int, group: Sequence[HeadName], model: Model) -> Mapping[str, torch.Tensor]:
    n = model.dims.n_audio_ctx
    band = band_bias(min(k, n), n, model.device)
    return {
        f"encoder.blocks.{layer}.attn": for_heads(
            band, [head for at, head in group if at == layer], model.dims.n_audio_head
        )
        for layer in sorted({layer for layer, _ in group})
    }


def _verdict(reach: Reach, k: int, wer: _Wer | None, effect: Effect) -> str:
    share = next(mass.share for mass in reach.mass if mass.k == k)
    where = f"{'near' if share >= NEAR_SHARE else 'far'}: {share:.0%} of its attention within {k} frames"
    if wer is None:
        return where
    if wer.wer is None:
        return f"{where}; no words to judge its effect by"
    interval = f" ({wer.low:.2f} to {wer.high:.2f})" if wer.low is not None and wer.high is not None else ""
    said = {
        "harmless": "masking the rest changes next to nothing",
        "needed": "the transcript needs the rest",
        "undecided": "too few clips to say whether the rest is needed",
        "not tested": "",
    }[effect]
    return f"{where}; {said}, WER {wer.wer:.2f}{interval}"
