"""The sweep: each batch of clips passes the encoder once for every window, and is decoded at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

import wspy
from wspy.audio import FRAME_S, SAMPLE_RATE, WINDOW_FRAMES, n_frames
from wspy.errors import OutOfRange, WindowTooWide
from wspy.model import (
    Model,
    Transcription,
    WordErrors,
    attention_bias,
    band_bias,
    encode,
    for_heads,
    mel_batch,
    pooled_wer,
    transcribe_mixed,
    wer_interval,
    word_errors,
)
from wspy_window import ClipResult, Heard, Masked, Window

if TYPE_CHECKING:
    from jaxtyping import Float

T = TypeVar("T")
BATCH = 8
"""Windows of 30 s in one pass: clips times masks."""
NO_SPEECH = 0.6
"""openai-whisper's own threshold, above which it takes a window for silence."""


@dataclass(frozen=True)
class Mask:
    """Where a window of `k` frames holds."""

    k: int
    layers: tuple[int, ...]
    heads: tuple[int, ...]


def sweep(inputs: Window.Inputs, context: wspy.Context) -> Window.Result:
    """Hear every clip under every mask, and count the words that differ.

    Raises:
        OutOfRange: a layer or a head that the encoder does not have.
        WindowTooWide: no sound is longer than any of the windows.
    """
    model = context.model
    masks = _masks(inputs, model)
    n_clips = 1 if inputs.audio else min(inputs.limit, len(context.corpus))
    _require_longer(inputs, context)
    passes = context.progress.track(
        _heard(context.sounds(inputs.audio, inputs.limit), masks, model), "Listening through windows", total=n_clips
    )
    clips = list(passes)
    rng = context.rng
    unmasked = _text_errors([(clip, clip.unmasked) for clip in clips])
    text_low, text_high = wer_interval(unmasked, rng) or (None, None)
    return Window.Result(
        model=model.name,
        corpus=None if inputs.audio else context.corpus.name,
        each=inputs.each,
        n_layers=model.dims.n_audio_layer,
        windows=tuple(_summary(mask, at, clips, rng) for at, mask in enumerate(masks)),
        text_wer=pooled_wer(unmasked),
        text_wer_low=text_low,
        text_wer_high=text_high,
        n_words=sum(word_errors(clip.unmasked.text, "", clip.language).n_words for clip in clips),
        clips=tuple(clips),
        notes=tuple(_notes(clips, masks)),
        audio=context.save("recording.wav", context.audio(inputs.audio)) if inputs.audio else None,
    )


# --- what is asked ----------------------------------------------------------------------------------------


def _masks(inputs: Window.Inputs, model: Model) -> list[Mask]:
    """Every window at every place."""
    dims, of = model.dims, f"the encoder of {model.name}"
    for what, given, count in (("Layer", inputs.layers, dims.n_audio_layer), ("Head", inputs.heads, dims.n_audio_head)):
        for number in given:
            if number >= count:
                raise OutOfRange(what, number, 0, count - 1, of)
    layers = tuple(dict.fromkeys(inputs.layers)) or tuple(range(dims.n_audio_layer))
    heads = tuple(dict.fromkeys(inputs.heads))
    places: list[tuple[tuple[int, ...], tuple[int, ...]]] = [(layers, heads)]
    if inputs.each == "layer":
        places = [((layer,), heads) for layer in layers]
    elif inputs.each == "head":
        places = [((layer,), (head,)) for layer, head in product(layers, heads or range(dims.n_audio_head))]
    return [Mask(k, *place) for place in places for k in dict.fromkeys(inputs.k)]


def _require_longer(inputs: Window.Inputs, context: wspy.Context) -> None:
    """Refuse a run in which every window is as wide as the longest sound: it would tell about padding only.

    1500 is the full window, which hides nothing of anything, and may be asked for.
    """
    if inputs.audio is not None:
        what, samples = inputs.audio.name, len(context.audio(inputs.audio))
    else:
        what = f"The longest clip of corpus {context.corpus.name!r}"
        samples = max(round(clip.duration_s * SAMPLE_RATE) for clip in context.corpus.spread(inputs.limit))
    if n_frames(samples) <= min(inputs.k) < WINDOW_FRAMES:
        raise WindowTooWide(what, n_frames(samples), samples / SAMPLE_RATE, min(inputs.k))


# --- listening --------------------------------------------------------------------------------------------


def _heard(sounds: Iterator[wspy.Sound], masks: Sequence[Mask], model: Model) -> Iterator[ClipResult]:
    for batch in _batches(sounds, BATCH):
        mels = mel_batch(model, [sound.samples for sound in batch])
        spoken = [sound.language if model.is_multilingual else None for sound in batch]
        plain = transcribe_mixed(model, _encoded(model, mels, []), spoken)
        # One language for all transcripts of a clip: a mask shall not make the model change it.
        languages = [transcription.language for transcription in plain]
        rows: list[list[Transcription]] = []
        for group in _groups(masks, max(1, BATCH // len(batch))):
            features = _encoded(model, mels.repeat(len(group), 1, 1), group)
            written = transcribe_mixed(model, features, languages * len(group))
            rows += _batches(written, len(batch))
        for at, sound in enumerate(batch):
            yield ClipResult(
                clip=sound.name,
                frames=n_frames(len(sound.samples)),
                language=languages[at],
                said=sound.text,
                unmasked=_written(plain[at], sound),
                masked=tuple(_written(row[at], sound) for row in rows),
            )


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def _groups(masks: Sequence[Mask], size: int) -> Iterator[list[Mask]]:
    """Masks that share a pass. One for some heads only goes alone, for its bias is larger by their number."""
    group: list[Mask] = []
    for mask in masks:
        if group and (len(group) == size or mask.heads or group[-1].heads):
            yield group
            group = []
        group.append(mask)
    yield group


@torch.inference_mode()
def _encoded(model: Model, mels: Float[torch.Tensor, "batch mel _"], group: Sequence[Mask]) -> torch.Tensor:
    """One pass of the encoder; `group` are the masks of as many equal shares of the batch."""
    n_clips = len(mels) // max(1, len(group))
    with ExitStack() as stack:
        for layer in sorted({layer for mask in group for layer in mask.layers}):
            biases = [_bias(mask, layer, model) for mask in group]
            # One mask for the whole batch is broadcast and not copied.
            bias = biases[0] if len(group) == 1 else torch.cat(biases).repeat_interleave(n_clips, dim=0)
            stack.enter_context(attention_bias(model, {f"encoder.blocks.{layer}.attn": bias}))
        features = encode(model, mels)
    assert features is not None  # only a pass that stops early gives none
    return features


def _bias(mask: Mask, layer: int, model: Model) -> Float[torch.Tensor, "1 _ query key"]:
    n = model.dims.n_audio_ctx
    if layer not in mask.layers:
        return torch.zeros(1, 1, n, n, device=model.device)
    band = band_bias(min(mask.k, n), n, model.device)
    return for_heads(band, mask.heads, model.dims.n_audio_head) if mask.heads else band[None, None]


def _written(transcription: Transcription, sound: wspy.Sound) -> Heard:
    kept = transcription.until(sound.duration_s)
    silent = sound.text == "" or transcription.no_speech_prob > NO_SPEECH
    return Heard(
        text=kept.text,
        avg_logprob=kept.avg_logprob,
        no_speech_prob=kept.no_speech_prob,
        made_up=bool(kept.text) and silent,
        beyond_end=kept is not transcription,
    )


# --- counting ---------------------------------------------------------------------------------------------


def _text_errors(pairs: Sequence[tuple[ClipResult, Heard]]) -> list[WordErrors]:
    return [word_errors(clip.said, heard.text, clip.language) for clip, heard in pairs if clip.said is not None]


def _summary(mask: Mask, at: int, clips: Sequence[ClipResult], rng: np.random.Generator) -> Masked:
    errors = [word_errors(clip.unmasked.text, clip.masked[at].text, clip.language) for clip in clips]
    against_text = _text_errors([(clip, clip.masked[at]) for clip in clips])
    low, high = wer_interval(errors, rng) or (None, None)
    text_low, text_high = wer_interval(against_text, rng) or (None, None)
    return Masked(
        k=mask.k,
        layers=mask.layers,
        heads=mask.heads,
        wer=pooled_wer(errors),
        wer_low=low,
        wer_high=high,
        substituted=sum(error.substituted for error in errors),
        inserted=sum(error.inserted for error in errors),
        deleted=sum(error.deleted for error in errors),
        changed=float(np.mean([error.n_errors > 0 for error in errors])),
        text_wer=pooled_wer(against_text),
        text_wer_low=text_low,
        text_wer_high=text_high,
    )


def _notes(clips: Sequence[ClipResult], masks: Sequence[Mask]) -> Iterator[str]:
    widest, shortest = max(mask.k for mask in masks), min(clip.frames for clip in clips)
    covered = [clip for clip in clips if clip.frames <= widest]
    if covered:
        has = "" if len(clips) == 1 else f" (the shortest has {shortest}, {shortest * FRAME_S:.2f} s)"
        yield (
            f"{_clips(len(covered), len(clips))} no longer than {widest} frames{has}: there so wide a window hides "
            "padding only, no speech."
        )
    made_up = sum(clip.unmasked.made_up for clip in clips)
    if made_up:
        yield (
            f"{_clips(made_up, len(clips))} likely without speech, by the model's own no-speech probability (above "
            f"{NO_SPEECH}) or the corpus' text: what is written there is made up (hallucinated)."
        )
    silent = sum(not clip.unmasked.text for clip in clips)
    if silent:
        yield f"{_clips(silent, len(clips))} without words even unmasked: words under a mask count as added."
    beyond = sum(heard.beyond_end for clip in clips for heard in (clip.unmasked, *clip.masked))
    if beyond:
        total = len(clips) * (len(masks) + 1)
        yield f"{beyond} of {total} transcripts went on after the clip's end; that text is made up and left out."


def _clips(count: int, total: int) -> str:
    if total == 1:
        return "The recording is"
    return f"{count} of {total} clips {'is' if count == 1 else 'are'}"
