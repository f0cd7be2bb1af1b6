"""Small sounds to make corpora of, and a listener to what is noted on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import soundfile

T = TypeVar("T")


class Notes:
    """A `Progress` that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.totals: dict[str, tuple[int | None, int]] = {}

    def track(self, items: Iterable[T], description: str, total: int | None = None, unit: str = "clips") -> Iterator[T]:
        done = 0
        for item in items:
            yield item
            done += 1
        self.totals[description] = (total, done)

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def notes() -> Notes:
    return Notes()


def tone(duration_s: float, hz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(duration_s * 16_000)) / 16_000)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings (one of 5 s in a subfolder, one with its text beside it) and a file that is no audio."""
    folder = tmp_path / "recordings"
    (folder / "deep").mkdir(parents=True)
    soundfile.write(folder / "b.wav", tone(1.0), 16_000)
    soundfile.write(folder / "a.flac", tone(1.5, 300), 16_000)
    soundfile.write(folder / "deep" / "c.ogg", tone(5.0, 600), 16_000)
    (folder / "a.txt").write_text("hello\nworld\n")
    (folder / "read.me").write_text("not audio")
    return folder
