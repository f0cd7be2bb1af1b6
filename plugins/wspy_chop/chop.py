"""The cut itself: which frames, what is put there, and what the decoder then writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wspy.audio import FRAMES_PER_SECOND, SAMPLE_RATE, WINDOW_FRAMES, frame_to_s, n_frames, s_to_frame
from wspy.model import (
    Model,
    Transcription,
    WordTime,
    encode,
    mel_batch,
    padding_features,
    transcribe,
    word_times,
    written_words,
)
from wspy_chop import Filling, Span

if TYPE_CHECKING:
    from jaxtyping import Float, Float32

    from wspy.progress import Progress

BATCH_CUTS = 16
FILLINGS: tuple[Filling, ...] = ("padding", "mean", "noise", "linear")


def fillings(asked: str) -> tuple[Filling, ...]:
    """The fillings meant by the input."""
    return tuple(filling for filling in FILLINGS if asked in (filling, "all"))


def span(start: int, stop: int, label: str) -> Span:
    """Frames [start, stop)."""
    return Span(start=start, stop=stop, start_s=frame_to_s(start), end_s=frame_to_s(stop), label=label)


def span_of_time(start_s: float, end_s: float, label: str) -> Span:
    """All frames that a stretch of time touches within the window, at least one."""
    start = min(max(s_to_frame(start_s), 0), WINDOW_FRAMES - 1)
    stop = math.ceil(round(end_s * FRAMES_PER_SECOND, 6))
    return span(start, min(max(stop, start + 1), WINDOW_FRAMES), label)


@dataclass(frozen=True)
class Heard:
    """A clip as the model hears it before any cut."""

    features: Float[Tensor, "frame d_model"]
    n_frames: int
    duration_s: float
    transcription: Transcription
    times: tuple[WordTime, ...]


@torch.inference_mode()
def hear(model: Model, sounds: Sequence[Float32[np.ndarray, " sample"]], language: str | None) -> list[Heard]:
    """Encode, transcribe and time a batch of clips."""
    features = encode(model, mel_batch(model, sounds))
    assert features is not None  # only a pass that stops early gives none
    ends_s = [len(sound) / SAMPLE_RATE for sound in sounds]
    written = transcribe(model, features, language=language, ends_s=ends_s)
    times = word_times(model, features, written, ends_s=ends_s)
    return [Heard(features[i], n_frames(len(sound)), ends_s[i], written[i], times[i]) for i, sound in enumerate(sounds)]


@dataclass(frozen=True)
class Task:
    """A cut that is still to be made, in a clip that has been heard."""

    heard: Heard
    spans: tuple[Span, ...]
    filling: Filling


def fill(
    features: Float[Tensor, "frame d_model"],
    spans: Sequence[Span],
    filling: Filling,
    *,
    padding: Float[Tensor, "frame d_model"],
    n_valid: int,
    rng: np.random.Generator,
) -> Float[Tensor, "frame d_model"]:
    """A copy of the encoder's output with the spans replaced.

    Args:
        padding: the encoder's output for a silent window.
        n_valid: frames that hold the clip's audio; the mean and spread are over these.
    """
    cut, valid = features.clone(), features[:n_valid]
    for one in spans:
        if filling == "padding":
            cut[one.start : one.stop] = padding[one.start : one.stop]
        elif filling == "mean":
            cut[one.start : one.stop] = valid.mean(0)
        elif filling == "noise":
            drawn = torch.from_numpy(rng.standard_normal((one.stop - one.start, features.shape[1]), np.float32))
            cut[one.start : one.stop] = valid.mean(0) + valid.std(0, correction=0) * drawn.to(features)
        else:
            cut[one.start : one.stop] = _line(features, one)
    return cut


def _line(features: Float[Tensor, "frame d_model"], one: Span) -> Float[Tensor, "frame d_model"]:
    """From the frame before the span to the frame after it; at an end of the window, the one neighbour there is."""
    if one.stop - one.start == len(features):
        return features.mean(0).expand_as(features)
    before = features[one.start - 1] if one.start > 0 else features[one.stop]
    after = features[one.stop] if one.stop < len(features) else before
    share = torch.arange(1, one.stop - one.start + 1, device=features.device) / (one.stop - one.start + 1)
    return before + share[:, None].to(features) * (after - before)


@torch.inference_mode()
def transcribe_cuts(
    model: Model,
    tasks: Sequence[Task],
    rng: np.random.Generator,
    progress: Progress,
    max_tokens: int | None = None,
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The text and the words after each cut, in the language found before it, many in a batch."""
    padding = padding_features(model)[0]
    results: dict[int, tuple[str, tuple[str, ...]]] = {}
    by_language: dict[str, list[int]] = {}
    for i, task in enumerate(tasks):
        by_language.setdefault(task.heard.transcription.language, []).append(i)
    # In the order of the tasks, whatever the batches, so that chance falls the same way.
    seeds = rng.integers(2**63, size=len(tasks))
    todo = iter(progress.track(range(len(tasks)), "Transcribing cuts", len(tasks), "cuts"))
    for language, places in by_language.items():
        for first in range(0, len(places), BATCH_CUTS):
            batch = places[first : first + BATCH_CUTS]
            features = [
                fill(
                    tasks[i].heard.features,
                    tasks[i].spans,
                    tasks[i].filling,
                    padding=padding,
                    n_valid=tasks[i].heard.n_frames,
                    rng=np.random.default_rng(seeds[i]),
                )
                for i in batch
            ]
            ends_s = [tasks[i].heard.duration_s for i in batch]
            stacked = torch.stack(features)
            written = transcribe(model, stacked, language=language, ends_s=ends_s, max_tokens=max_tokens)
            for i, found in zip(batch, written, strict=True):
                results[i] = found.text, written_words(model, found)
                next(todo, None)
    next(todo, None)  # past the last, so that the progress ends
    for i in range(len(tasks)):
        yield results[i]
