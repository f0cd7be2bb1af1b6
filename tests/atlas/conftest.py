"""Corpora of noise, with and without planted phones."""

from __future__ import annotations

import numpy as np
import pytest

from wspy.audio import SAMPLE_RATE
from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.model import Model
from wspy.testing import tiny_whisper

PHONES = ("AA", "S", "SIL", "T")


def noise(n_clips: int, name: str = "noise", text: str | None = None, *, phones: bool = False) -> Corpus:
    """Clips of 0.3 to 3 s; with phones, five of equal length in each."""
    rng = np.random.default_rng(0)
    lengths = rng.uniform(0.3, 3, size=n_clips)
    labels = np.random.default_rng(1).choice(PHONES, (n_clips, 5))
    items = []
    for n, length in enumerate(lengths):
        samples = rng.normal(scale=0.1, size=int(length * SAMPLE_RATE)).astype(np.float32)
        cuts = np.linspace(0, float(length), 6).round(6).tolist()
        spans = tuple(Interval(*span, str(label)) for *span, label in zip(cuts[:-1], cuts[1:], labels[n], strict=True))
        aligned = Alignment((), spans, "ARPABET", "planted") if phones else None
        items.append((samples, Clip(f"clip-{n}", text=text), aligned))
    return Corpus.in_memory(name, items)


@pytest.fixture(scope="session")
def model() -> Model:
    return tiny_whisper()
