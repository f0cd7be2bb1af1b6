"""Cutting a recording into clips; its text and alignment follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wspy.audio import SAMPLE_RATE, WINDOW_S, audio_duration_s, check_samples, decode_audio, load_audio
from wspy.corpus.clips import Alignment, Clip
from wspy.errors import AudioError, AudioTooLong, InputError

if TYPE_CHECKING:
    from jaxtyping import Float32

    from wspy.corpus.sources import Recording

MIN_WINDOW_S = 0.5  # a shorter rest at a recording's end is left out


def check_window(window_s: float | None) -> None:
    """Refuse a window that Whisper cannot hold.

    Raises:
        InputError: not within 0.5 to 30 s.
    """
    if window_s is not None and not MIN_WINDOW_S <= window_s <= WINDOW_S:
        raise InputError(f"A window of {window_s:g} s is not possible: choose {MIN_WINDOW_S} to {WINDOW_S} s.")


def spans(duration_s: float, window_s: float) -> list[tuple[float, float]]:
    """Windows side by side over a duration, in seconds; the last may be shorter, but not under `MIN_WINDOW_S`."""
    n = int(np.ceil(round(duration_s / window_s, 6)))
    found = [(at * window_s, min((at + 1) * window_s, duration_s)) for at in range(n)]
    if len(found) > 1 and found[-1][1] - found[-1][0] < MIN_WINDOW_S:
        found.pop()
    return found


def cut(
    recording: Recording, window_s: float | None, alignment: Alignment | None
) -> Iterator[tuple[Float32[np.ndarray, "sample"], Clip, Alignment | None] | AudioError]:
    """The clips of one recording, read one at a time: sound, what is known, alignment.

    A clip that cannot be used (a silent stretch, for instance) comes as its error.

    Raises:
        AudioError: the recording cannot be used at all.
        AudioTooLong: it is longer than 30 s, and there is no window.
    """
    duration_s = recording_duration_s(recording)
    if duration_s is None:  # only decoding can tell
        recording = dataclasses.replace(recording, sound=load_recording(recording), start_s=0.0, end_s=None)
        duration_s = recording_duration_s(recording) or 0.0
    # A hair over 30 s is a rounding of the container, not another window.
    limit_s = window_s or WINDOW_S
    if window_s is None and duration_s > limit_s + 0.01:
        raise AudioTooLong(recording.name, duration_s, limit_s)
    parts = spans(duration_s, limit_s) if window_s and duration_s > limit_s else [(0.0, min(duration_s, limit_s))]
    for start_s, end_s in parts:
        whole = len(parts) == 1
        try:
            samples = load_recording(recording) if whole else load_recording(recording, start_s, end_s)
        except AudioError as error:
            if whole:
                raise
            yield error
            continue
        clip = Clip(
            id=recording.name if whole else f"{recording.name}@{start_s:.2f}",
            path=recording.path,
            start_s=round(recording.start_s + start_s, 6),
            end_s=recording.end_s if whole else round(recording.start_s + end_s, 6),
            text=recording.text,
            language=recording.language,
            speaker=recording.speaker,
            label=recording.label,
        )
        part = alignment
        if not whole:
            part = alignment.cut(start_s, end_s) if alignment else None
            known = recording.text if recording.text == "" else None
            clip = dataclasses.replace(clip, text=part.text if part else known)
        yield samples[: WINDOW_S * SAMPLE_RATE], clip, part


def recording_duration_s(recording: Recording) -> float | None:
    """How long the recording's part lasts; None where only decoding can tell."""
    match recording.sound:
        case Path():
            whole = audio_duration_s(recording.sound)
        case bytes():
            return None
        case _:
            whole = len(recording.sound) / SAMPLE_RATE
    if whole is None:
        return None
    end_s = whole if recording.end_s is None else min(recording.end_s, whole)
    return max(end_s - recording.start_s, 0.0)


def load_recording(
    recording: Recording, start_s: float = 0.0, end_s: float | None = None
) -> Float32[np.ndarray, "sample"]:
    """The sound of a recording's part, or of a stretch within that part."""
    begin = recording.start_s + start_s
    end = recording.end_s if end_s is None else recording.start_s + end_s
    match recording.sound:
        case Path():
            return load_audio(recording.sound, begin, end)
        case bytes():
            return decode_audio(recording.sound, recording.name, begin, end)
        case _:
            samples = recording.sound[round(begin * SAMPLE_RATE) : None if end is None else round(end * SAMPLE_RATE)]
            check_samples(samples, recording.name)
            return samples
