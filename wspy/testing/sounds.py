"""Sounds whose every phone is known: each phone is a pure tone of its own pitch, so tests can say what is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wspy.audio import SAMPLE_RATE
from wspy.corpus import Alignment, Clip, Corpus, Interval

if TYPE_CHECKING:
    from jaxtyping import Float32

PHONE_S = 0.1
GAP_S = 0.1
"""The silence before each word."""
PITCHES_HZ = {"T": 300.0, "UW": 500.0, "S": 800.0, "IY": 1200.0, "M": 1800.0, "AO": 2700.0}
"""The pitch of each phone, far enough apart to fall into mel bands of their own."""
_WORDS = {"two": ("T", "UW"), "see": ("S", "IY"), "more": ("M", "AO"), "tea": ("T", "IY"), "saw": ("S", "AO")}
_AMPLITUDES = (0.5, 0.1, 0.3)
_SPEAKERS = ("ann", "bob", "cat", "dan")


def tone(frequency_hz: float = 440.0, duration_s: float = 1.0, amplitude: float = 0.5) -> Float32[np.ndarray, "sample"]:
    """A sine at 16 kHz, in [-1, 1]."""
    times = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def tone_clip(
    clip_id: str, words: Sequence[str], *, speaker: str = "ann", amplitude: float = 0.5
) -> tuple[Float32[np.ndarray, "sample"], Clip, Alignment]:
    """A clip for `Corpus.in_memory` that says some of "two", "see", "more", "tea" and "saw" in tones.

    Each word begins after 0.1 s of silence and has two phones of 0.1 s each, at the pitches of `PITCHES_HZ`.
    """
    sounds, said, phones = [], [], []
    at_s = 0.0
    for word in words:
        sounds.append(np.zeros(round(GAP_S * SAMPLE_RATE), np.float32))
        at_s = begin_s = round(at_s + GAP_S, 3)
        for phone in _WORDS[word]:
            sounds.append(tone(PITCHES_HZ[phone], PHONE_S, amplitude))
            phones.append(Interval(at_s, round(at_s + PHONE_S, 3), phone))
            at_s = phones[-1].end_s
        said.append(Interval(begin_s, at_s, word))
    clip = Clip(clip_id, text=" ".join(words), language="en", speaker=speaker)
    return np.concatenate(sounds), clip, Alignment(tuple(said), tuple(phones), "ARPABET", "tones")


def tone_corpus(n_clips: int = 8, n_words: int = 3, seed: int = 0) -> Corpus:
    """A corpus in memory of clips of tones by four speakers, with texts, words and phones; the same for the same seed.

    Each word lasts 0.3 s with the silence before it. Clips differ in their words and in how loud they are.
    """
    rng = np.random.default_rng(seed)
    clips = []
    for n in range(n_clips):
        words = [str(word) for word in rng.choice(list(_WORDS), n_words)]
        speaker, amplitude = _SPEAKERS[n % len(_SPEAKERS)], _AMPLITUDES[n % len(_AMPLITUDES)]
        clips.append(tone_clip(f"tone-{n}", words, speaker=speaker, amplitude=amplitude))
    return Corpus.in_memory("tones", clips)
