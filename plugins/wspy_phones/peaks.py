"""Which phones are heard at the peaks of a unit's strongest clips, as by a person who listens to the top examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import wspy
from wspy.atlas import PhonePlan
from wspy.audio import FRAME_S

if TYPE_CHECKING:
    from wspy.atlas import PhoneTrack, SiteAtlas

MIN_CLIPS = 4
"""Of either half, with a phone at the peak: with fewer, the strongest clips say nothing."""


@dataclass(frozen=True)
class Purity:
    """The most common phone at the peaks of all of a unit's strongest clips."""

    phone: str | None
    share: float
    """NaN where no clip has a phone at the peak."""
    count: int


@dataclass(frozen=True)
class PeakLabel:
    """The most common phone among the strongest clips of half A, and how often those of half B have it."""

    phone: str | None
    share: float
    """0 where either half has fewer than `MIN_CLIPS` clips."""
    count: int
    """Clips of half B."""


class PeakPhones:
    """Looks up the phones at the peaks of a site's strongest clips."""

    def __init__(self, context: wspy.Context, top: int) -> None:
        self.corpus, self.top = context.corpus, top
        self.plan = PhonePlan(self.corpus)
        self.groups = f"{self.plan.grouped_by}s"
        self._tracks: dict[int, PhoneTrack] = {}

    def purities(self, atlas: SiteAtlas) -> list[Purity]:
        """Of every unit of a site, the site's lag allowed for."""
        found = []
        for row in self._peaks(atlas):
            counts = Counter(phone for at, frame in row if (phone := self._phone(at, frame)) is not None)
            phone, most = _most_common(counts)
            n = counts.total()
            found.append(Purity(phone, most / n if n else float("nan"), n))
        return found

    def labels(self, atlas: SiteAtlas, *, shuffled: bool = False) -> list[PeakLabel]:
        """Of every unit of a site, chosen on one half of the speakers (or clips) and reported on the other.

        Args:
            shuffled: The control: with the phone segments of each clip in a random order.
        """
        found = []
        for row in self._peaks(atlas):
            halves: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
            for at, frame in row:
                if (phone := self._phone(at, frame, shuffled)) is not None:
                    halves[self._track(at).group % 2][phone] += 1
            phone, _ = _most_common(halves[0])
            enough = min(half.total() for half in halves) >= MIN_CLIPS
            share = halves[1][phone] / halves[1].total() if enough and phone is not None else 0.0
            found.append(PeakLabel(phone if enough else None, share, halves[1].total()))
        return found

    def _peaks(self, atlas: SiteAtlas) -> Sequence[list[tuple[int, int]]]:
        """Per unit the places and sounding frames of its strongest clips."""
        lag = atlas.lag_frames or 0
        clips, frames = atlas.peaks(1)
        return [
            [(clip, frame - lag) for clip, frame in zip(row, at, strict=True) if clip >= 0]
            for row, at in zip(clips[:, : self.top].tolist(), frames[:, : self.top].tolist(), strict=True)
        ]

    def _track(self, at: int) -> PhoneTrack:
        if at not in self._tracks:
            clip = self.corpus.clips[at]
            self._tracks[at] = self.plan.track(clip, round(clip.duration_s / FRAME_S) + 1)
        return self._tracks[at]

    def _phone(self, at: int, frame: int, shuffled: bool = False) -> str | None:
        track = self._track(at)
        ids = track.shuffled if shuffled else track.ids
        known = 0 <= frame < len(ids) and ids[frame] >= 0
        return self.plan.phones[ids[frame]] if known else None


def _most_common(counts: Counter[str]) -> tuple[str | None, int]:
    """Ties go to the first in the alphabet."""
    return min(counts.items(), key=lambda item: (-item[1], item[0])) if counts else (None, 0)
