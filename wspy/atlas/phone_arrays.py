"""What is known of the phones of units: as numbers, and as the arrays that a file holds."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wspy.atlas.bins import N_BINS
from wspy.atlas.packing import pack_rows, unpack_rows, unzigzag

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int, Int64, UInt8, UInt32

LAGS = (-2, -1, 0, 1, 2, 3, 4)  # frames of 20 ms
STEP = 2.0**-20
N_RANKS = 256
UNITS_AT_ONCE = 64  # bounds the memory of intermediate tables, and keeps them in the cache


@dataclass
class UnitPhones:
    """The phone statistics of one unit, or of several where `unit` stands first in every shape."""

    phones: tuple[str, ...]
    lag: int
    """Frames from the sound to the activation."""
    counts: Int64[np.ndarray, "phone lag"]
    """Frames of each phone at each of `LAGS`."""
    sums: Int64[np.ndarray, "*unit phone lag"]
    """Sums of the activations, in units of `STEP`."""
    histogram: Int[np.ndarray, "*unit half phone bin"]
    """Frames per bin at the site's lag."""
    group_counts: Int64[np.ndarray, "group phone"]
    rank_sums: Int64[np.ndarray, "*unit group phone"]
    """Sums of the ranks, 0 to 255."""
    shuffled_counts: Int64[np.ndarray, "half phone"]
    shuffled_rank_sums: Int64[np.ndarray, "*unit half phone"]
    """The same for shuffled phones."""
    auroc: Float32[np.ndarray, "*unit half phone"] | None = None
    """What `auroc_table` would give, where it was computed before."""
    average_precision: Float32[np.ndarray, "*unit"] | None = None
    """What `label_precision` would give, where it was computed before."""

    @property
    def means(self) -> Float64[np.ndarray, "*unit phone lag"]:
        """Mean activation per phone and lag; 0 where there is no frame."""
        means: Float64[np.ndarray, "*unit phone lag"] = self.sums * STEP / np.maximum(self.counts, 1)
        return means

    @property
    def half_counts(self) -> Int64[np.ndarray, "half phone"]:
        """Frames of each phone in either half."""
        return np.stack([self.group_counts[half::2].sum(axis=0) for half in range(2)])


SHARED = ("phones", "counts", "group_counts", "shuffled_counts", "lag")
ROWS = ("ranks", "shuffled_rank_excess")
PACKED = ("histogram", "sums", "rank_excess")


class StoredPhones(UnitPhones):
    """All units, from `PhoneStatistics.arrays`; what is packed there is unpacked when it is asked for.

    Raises:
        ValueError: the arrays contradict each other.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays
        self.phones = phone_names(arrays["phones"])
        lag = arrays["lag"]
        self.lag = int(lag[0]) if len(lag) else 0
        self.counts, self.group_counts = arrays["counts"], arrays["group_counts"]
        self.shuffled_counts = arrays["shuffled_counts"]
        self.shuffled_rank_sums = arrays["shuffled_rank_excess"] + middle(self.shuffled_counts)
        self.auroc, self.average_precision = arrays.get("auroc"), arrays.get("average_precision")

    @functools.cached_property
    def histogram(self) -> UInt32[np.ndarray, "unit half phone bin"]:  # type: ignore[override]
        """Frames per bin at the site's lag."""
        return self._unpacked("histogram", (2, len(self.phones), N_BINS), np.uint32)

    @functools.cached_property
    def sums(self) -> Int64[np.ndarray, "unit phone lag"]:  # type: ignore[override]
        """Sums of the activations, in units of `STEP`."""
        return unzigzag(self._unpacked("sums", (len(self.phones), len(LAGS)), np.int64))

    @functools.cached_property
    def rank_sums(self) -> Int64[np.ndarray, "unit group phone"]:  # type: ignore[override]
        """Sums of the ranks, 0 to 255."""
        excess = unzigzag(self._unpacked("rank_excess", self.group_counts.shape, np.int64))
        sums: Int64[np.ndarray, "unit group phone"] = excess + middle(self.group_counts)
        return sums

    def _unpacked(self, name: str, shape: tuple[int, ...], kind: type[np.generic]) -> np.ndarray:
        offset, data = self._arrays[f"{name}.offset"], self._arrays[f"{name}.data"]
        rows = np.empty((len(offset) - 1, *shape), kind)
        for at in range(0, len(rows), UNITS_AT_ONCE):  # a few units at once, for tables of histograms are large
            some = offset[at : at + UNITS_AT_ONCE + 1]
            columns = unpack_rows(some, data[some[0] : some[-1]], math.prod(shape))
            rows[at : at + UNITS_AT_ONCE] = columns.reshape(len(columns), *shape)
        return rows


def unit_phones_from_arrays(row: Mapping[str, np.ndarray]) -> UnitPhones:
    """One unit from `PhoneStatistics.arrays`: `SHARED` whole, the unit's row of `ROWS`, its bytes of those in `PACKED`.

    Raises:
        ValueError: the bytes are not a unit's.
    """
    offsets = {f"{name}.offset": np.array([0, len(row[f"{name}.data"])]) for name in PACKED}
    units = StoredPhones({**row, **offsets})
    return UnitPhones(
        phones=units.phones,
        lag=units.lag,
        counts=units.counts,
        sums=units.sums[0],
        histogram=units.histogram[0],
        group_counts=units.group_counts,
        rank_sums=units.rank_sums[0],
        shuffled_counts=units.shuffled_counts,
        shuffled_rank_sums=units.shuffled_rank_sums,
    )


def packed(name: str, table: Int[np.ndarray, "unit *column"]) -> dict[str, np.ndarray]:
    """A table of whole numbers from 0 on, a few units at once, for tables of histograms are large."""
    offsets, parts = [np.zeros(1, np.int64)], [np.zeros(0, np.uint8)]
    for at in range(0, len(table), UNITS_AT_ONCE):
        some = table[at : at + UNITS_AT_ONCE]
        offset, data = pack_rows(some.reshape(len(some), -1))
        offsets.append(offset[1:] + offsets[-1][-1])
        parts.append(data)
    return {f"{name}.offset": np.concatenate(offsets), f"{name}.data": np.concatenate(parts)}


def middle(counts: Int64[np.ndarray, "*shape"]) -> Int64[np.ndarray, "*shape"]:
    """What the ranks of so many frames sum up to where all are in the middle, rounded down."""
    half: Int64[np.ndarray, "*shape"] = (N_RANKS - 1) * counts // 2
    return half


def smallest(values: Int64[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """The same numbers in the smallest of three types that holds them all."""
    largest = max(int(values.max(initial=0)), -1 - int(values.min(initial=0)))
    kind = np.int16 if largest < 2**15 else np.int32 if largest < 2**31 else np.int64
    return values.astype(kind)


def phone_names(encoded: UInt8[np.ndarray, " byte"]) -> tuple[str, ...]:
    """The phones, from the array `phones`: JSON in UTF-8."""
    return tuple(str(phone) for phone in json.loads(encoded.tobytes()))
