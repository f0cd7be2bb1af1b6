"""What a corpus is made of: clips, and where their words and phones are."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

SILENCE = "SIL"


@dataclass(frozen=True, slots=True)
class Interval:
    """A word or a phone: seconds from the clip's start, and what it is."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True, slots=True)
class Alignment:
    """The words and phones of a clip in order of time, from the clip's own start."""

    words: tuple[Interval, ...]
    phones: tuple[Interval, ...]
    phone_set: str
    """The alphabet of the phones, for instance ARPABET; "none" where there are no phones."""
    source: str
    """Who made it: pocketsphinx, TextGrid, CTM, CSV."""

    def word_at(self, t_s: float) -> str | None:
        """The word at a moment; None between words."""
        return _label_at(self.words, t_s)

    def phone_at(self, t_s: float) -> str | None:
        """The phone at a moment; None where there is none."""
        return _label_at(self.phones, t_s)

    @property
    def text(self) -> str:
        """The words, joined by spaces."""
        return " ".join(word.label for word in self.words)

    def cut(self, start_s: float, end_s: float) -> Alignment:
        """The part of a clip from `start_s` to `end_s`: what has its middle inside, counted from `start_s`."""
        return Alignment(
            _cut(self.words, start_s, end_s), _cut(self.phones, start_s, end_s), self.phone_set, self.source
        )


def _label_at(intervals: Sequence[Interval], t_s: float) -> str | None:
    at = bisect.bisect_right(intervals, t_s, key=lambda interval: interval.start_s) - 1
    return intervals[at].label if at >= 0 and t_s < intervals[at].end_s else None


def _cut(intervals: Sequence[Interval], start_s: float, end_s: float) -> tuple[Interval, ...]:
    return tuple(
        Interval(
            round(max(interval.start_s, start_s) - start_s, 6),
            round(min(interval.end_s, end_s) - start_s, 6),
            interval.label,
        )
        for interval in intervals
        if start_s <= (interval.start_s + interval.end_s) / 2 < end_s
    )


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of audio, up to 30 s, with what is known about it."""

    id: str
    """Unique in its corpus; the recording's name, with the start where the recording was cut."""
    path: str = ""
    """The recording it comes from, relative to the corpus' source."""
    start_s: float = 0.0
    """Where in that recording it begins."""
    end_s: float | None = None
    """Where in that recording it ends; None: at the recording's end."""
    duration_s: float = 0.0
    text: str | None = None
    """What is said, "" for no speech; None: unknown."""
    language: str | None = None
    speaker: str | None = None
    label: str | None = None
    """A class, for sounds that are not speech."""
