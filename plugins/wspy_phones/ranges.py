"""How mixed the frames of each activation range are, for all units of a site: polysemanticity as a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wspy.atlas import BroadClass, leading_classes, mix_entropy, range_mix
from wspy_phones import RangeSummary

if TYPE_CHECKING:
    from wspy.atlas import SiteAtlas, UnitPhones

N_RANGES = 10
UPPER = N_RANGES // 2  # ranges in which another class that leads makes a unit polysemantic


@dataclass(frozen=True)
class UnitRanges:
    """The phones of one unit's frames in ten equal ranges from its maximum down to zero, strongest first."""

    entropy_bits: tuple[float | None, ...]
    """Of the phones of each range; None without frames."""
    leading: tuple[BroadClass | None, ...]
    """The class with most of the frames of each range; None without frames, and in alphabets other than ARPABET."""

    @property
    def takes_over(self) -> tuple[BroadClass, ...]:
        """The classes that lead below the top and not at it, strongest first."""
        led = [name for name in self.leading if name is not None]
        return tuple(name for name in dict.fromkeys(led) if name != led[0])

    @property
    def changes(self) -> bool:
        """Whether another class leads before half of the way down."""
        return len({name for name in self.leading[:UPPER] if name is not None}) > 1


def unit_ranges(atlas: SiteAtlas, units: UnitPhones) -> list[UnitRanges]:
    """Of every unit of a site."""
    found = []
    for histogram, maximum in zip(units.histogram, atlas.maxima().tolist(), strict=True):
        mix = range_mix(histogram.sum(axis=0), maximum, N_RANGES)[::-1]
        bits = tuple(None if np.isnan(one) else float(one) for one in mix_entropy(mix))
        found.append(UnitRanges(bits, tuple(leading_classes(mix, units.phones))))
    return found


def summarise(found: Sequence[UnitRanges]) -> RangeSummary:
    """Over the units of a site, or of a control, that are above zero at all."""
    alive = [one for one in found if any(bits is not None for bits in one.entropy_bits)]

    def median(at: int) -> float | None:
        bits = [one.entropy_bits[at] for one in alive]
        known = [each for each in bits if each is not None]
        return float(np.median(known)) if known else None

    return RangeSummary(
        n_units=len(alive),
        entropy_bits=tuple(median(at) for at in range(N_RANGES)),
        share_changing=sum(one.changes for one in alive) / len(alive) if alive else None,
    )
