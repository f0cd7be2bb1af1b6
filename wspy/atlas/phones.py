"""Streaming statistics of the phones of a site: bounded memory, mergeable in any order and grouping.

A unit of a late layer peaks a few frames after the sound, so at lag L the activation at frame f is paired with the
phone at frame f - L. What stays per unit:

- per phone and lag the sum of the activations, as a whole number of `STEP`s;
- at the site's own lag, for either half of the speakers (or clips), a histogram per phone over fixed bins, from which
  AUROC and average precision follow (see `labels`) without keeping a frame;
- at that lag, the sum of the ranks 0 to 255 of the activations per phone, for each of `N_GROUPS` groups of speakers (or
  clips), from which a bootstrap over the groups follows; and per half for shuffled phones, the control.

The lag and the ranks come from the first clips: `update` keeps their bins until `calibrate` is called. Everything is
integers, so the same clips under the same calibration give the same statistics to the last bit, however they were
split and merged.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from wspy.atlas.packing import pack_rows, unpack_rows, unzigzag, zigzag
from wspy.atlas.tracks import N_GROUPS, PhonePlan, PhoneTrack, phone_tracks_plan
from wspy.errors import BadActivations, DifferentCalibration

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int, Int16, Int64, UInt8, UInt32

LAGS = (-2, -1, 0, 1, 2, 3, 4)  # frames of 20 ms
__all__ = [
    "HALVES",
    "LAGS",
    "N_GROUPS",
    "Calibration",
    "PhonePlan",
    "PhoneStatistics",
    "PhoneTrack",
    "StoredPhones",
    "UnitPhones",
    "bin_edges",
    "bins_of",
    "phone_names",
    "phone_tracks_plan",
    "unit_phones_from_arrays",
]

HALVES = ("A", "B")
"""Even groups are half A, on which a label is chosen, odd groups half B, on which it is reported."""
CALIBRATION_FRAMES = 16_384
"""How many frames are enough to calibrate: 5.5 minutes."""

STEP = 2.0**-20
LARGEST = 2.0**16  # a little above the largest float16; sums of 2**27 such frames still fit into 64 bits
OCTAVES = ((-27, 1), (-9, 4), (-3, 8), (6, 4))
"""From which power of two on an octave has how many bins. GELU presses most of what a unit does into the tiny negative
values of its tail, which keep their order all the same: without the octaves below 2**-9 half of the units of a late
layer would have an AUROC that is wrong by more than 0.01."""
END = 9  # the last bin of all ends at 2**9
N_BINS = 1 + 2 * sum(n * (end - start) for (start, n), end in zip(OCTAVES, (-9, -3, 6, END), strict=True))  # 253
ZERO_BIN = N_BINS // 2
N_RANKS = 256
_UNITS_AT_ONCE = 64  # bounds the memory of intermediate tables, and keeps them in the cache
_FRAMES_AT_ONCE = 256  # for the same reason
_PENDING_FRAMES = 8192  # counted in one go; also keeps sums of ranks below 2**24, exact in float32


# --- bins -------------------------------------------------------------------------------------------------


def bin_edges() -> Float32[np.ndarray, " edge"]:
    """The 254 edges of the 253 bins, rising; the outermost bins also take what lies beyond them.

    Every octave is cut into one, four or eight equal parts (see `OCTAVES`), so that the leading bits of a float32 give
    its bin. A bin holds its edge nearer to zero and not the other.
    """
    ends = [start for start, _ in OCTAVES[1:]] + [END]
    rising = [
        2.0**octave * (1 + i / n)
        for (start, n), end in zip(OCTAVES, ends, strict=True)
        for octave in range(start, end)
        for i in range(n)
    ]
    above = np.array([*rising, 2.0**END], np.float32)
    edges: Float32[np.ndarray, " edge"] = np.concatenate([-above[::-1], above])
    return edges


def _bin_table() -> UInt8[np.ndarray, " leading"]:
    """The bin of each value of a float32's 12 leading bits: sign, exponent and three bits of the mantissa."""
    values = (np.arange(2**12, dtype=np.uint32) << 20).view(np.float32)
    above = bin_edges()[ZERO_BIN + 1 :]
    level = np.minimum(np.searchsorted(above, np.abs(values), side="right"), ZERO_BIN)
    table: UInt8[np.ndarray, " leading"] = np.where(np.signbit(values), ZERO_BIN - level, ZERO_BIN + level).astype("u1")
    return table


_BIN_OF = _bin_table()


def bins_of(activations: Float32[np.ndarray, "frame unit"]) -> UInt8[np.ndarray, "frame unit"]:
    """The bin of each activation."""
    bins: UInt8[np.ndarray, "frame unit"] = _BIN_OF.take(np.ascontiguousarray(activations, np.float32).view("u4") >> 20)
    return bins


# --- statistics -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibration:
    """What was found on the first clips of a site, and must be shared by all that is merged."""

    lag: int
    """Frames from the sound to the activation: the one of `LAGS` at which phones explain most of the variance."""
    ranks: UInt8[np.ndarray, "unit bin"]
    """The mid-rank of each bin among the activations of the first clips, 0 to 255."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calibration) and self.lag == other.lag and np.array_equal(self.ranks, other.ranks)

    def __hash__(self) -> int:
        return hash((self.lag, self.ranks.tobytes()))


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
    average_precision: Float32[np.ndarray, "*unit half phone"] | None = None
    """What `average_precision_table` would give, where it was computed before."""

    @property
    def means(self) -> Float64[np.ndarray, "*unit phone lag"]:
        """Mean activation per phone and lag; 0 where there is no frame."""
        means: Float64[np.ndarray, "*unit phone lag"] = self.sums * STEP / np.maximum(self.counts, 1)
        return means

    @property
    def half_counts(self) -> Int64[np.ndarray, "half phone"]:
        """Frames of each phone in either half."""
        return np.stack([self.group_counts[half::2].sum(axis=0) for half in range(2)])


@dataclass
class _Pending:
    """Frames that are not counted yet, clip by clip."""

    n_frames: int = 0
    bins: list[UInt8[np.ndarray, "frame unit"]] = field(default_factory=list)
    tracks: list[PhoneTrack] = field(default_factory=list)


class PhoneStatistics:
    """The phone statistics of all units of one site over some clips."""

    def __init__(self, n_units: int, phones: Sequence[str], calibration: Calibration | None = None) -> None:
        """With a calibration, for instance that of another process, clips are counted at once.

        Raises:
            ValueError: the phones are not sorted, or the calibration is of another site.
        """
        if list(phones) != sorted(set(phones)):
            raise ValueError("phones must be sorted, each once")
        if calibration is not None and calibration.ranks.shape != (n_units, N_BINS):
            raise ValueError(f"a calibration of {len(calibration.ranks)} units for a site of {n_units}")
        self.n_units, self.phones, self.calibration = n_units, tuple(phones), calibration
        n_phones = len(phones)
        self.counts = np.zeros((n_phones, len(LAGS)), np.int64)
        self.group_counts = np.zeros((N_GROUPS, n_phones), np.int64)
        self.shuffled_counts = np.zeros((2, n_phones), np.int64)
        self._sums = np.zeros((n_phones, len(LAGS), n_units), np.int64)
        self._histogram = np.zeros((n_units, 2, n_phones, N_BINS), np.uint32)
        self._rank_sums = np.zeros((n_units, N_GROUPS, n_phones), np.int64)
        self._shuffled_rank_sums = np.zeros((n_units, 2, n_phones), np.int64)
        # Sums that wait to be added: at the first lag, and at each other what it has more than the one before.
        self._steps = np.zeros((n_phones, len(LAGS), n_units), np.float64)
        self._step_frames = 0
        self._pending = _Pending()
        self._buffer: list[tuple[UInt8[np.ndarray, "frame unit"], PhoneTrack]] = []

    @property
    def calibrated(self) -> bool:
        """Whether the lag and the ranks are known."""
        return self.calibration is not None

    @property
    def n_calibration_frames(self) -> int:
        """The aligned frames that wait for `calibrate`; `CALIBRATION_FRAMES` are enough."""
        return sum(int((track.ids >= 0).sum()) for _, track in self._buffer)

    def update(self, activations: Float32[np.ndarray, "frame unit"], track: PhoneTrack) -> None:
        """Take in one clip: its activations over valid frames only, and their phones.

        Raises:
            ValueError: another number of frames than the track has, or of units.
            BadActivations: a value is not finite, or `LARGEST` or more.
        """
        if activations.shape != (len(track.ids), self.n_units):
            raise ValueError(f"clip {track.clip_id!r}: {activations.shape} activations, {len(track.ids)} frames")
        if not (track.ids >= 0).any():
            return
        largest = max(float(activations.max()), -float(activations.min()))
        if not largest < LARGEST:
            why = f"as large as {largest:.3g}" if np.isfinite(largest) else "NaN or infinite"
            raise BadActivations(track.clip_id, why)
        self._add_sums(activations, track.ids)
        bins = bins_of(activations)
        if self.calibration is None:
            self._buffer.append((bins, track))
        else:
            self._add_bins(bins, track, self.calibration.lag)

    def calibrate(self) -> Calibration:
        """Find the lag and the ranks on the clips so far, count these clips, and count at once from now on."""
        if self.calibration is None:
            lag = LAGS[int(np.argmax(self.explained()))]
            self.calibration = Calibration(lag, _mid_ranks(self._buffered_bins(lag)))
            buffer, self._buffer = self._buffer, []
            for bins, track in buffer:
                self._add_bins(bins, track, lag)
        return self.calibration

    def explained(self) -> Float64[np.ndarray, " lag"]:
        """Before calibration, per lag the share of variance between phones (eta squared), mean over units."""
        self._flush()
        counts = self.counts[:, :, None].astype(np.float64)
        means = self._sums * STEP / np.maximum(counts, 1)
        mean = self._sums.sum(axis=0) * STEP / np.maximum(counts.sum(axis=0), 1)
        between = (counts * (means - mean) ** 2).sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
        # The variance within bins is lost, which all lags share.
        marginal = self._buffered_bins(0)
        edges = bin_edges().astype(np.float64)
        centres = (edges[1:] + edges[:-1]) / 2
        n = np.maximum(marginal.sum(axis=1), 1)
        total = (marginal * centres**2).sum(axis=1) / n - ((marginal * centres).sum(axis=1) / n) ** 2
        shares: Float64[np.ndarray, " lag"] = np.where(total > 0, between / np.where(total > 0, total, 1), 0).mean(
            axis=1
        )
        return shares

    def _buffered_bins(self, lag: int) -> Int64[np.ndarray, "unit bin"]:
        """How many frames of the buffered clips, aligned at that lag, fall into each bin."""
        marginal = np.zeros((self.n_units, N_BINS), np.int64)
        kept = [bins[_aligned(track.ids, lag)] for bins, track in self._buffer]
        if kept:
            by_unit = np.ascontiguousarray(np.concatenate(kept).T)
            for unit in range(self.n_units):
                marginal[unit] = np.bincount(by_unit[unit], minlength=N_BINS)
        return marginal

    def _add_sums(self, activations: Float32[np.ndarray, "frame unit"], ids: Int16[np.ndarray, " frame"]) -> None:
        """Sums per phone at all lags: a segment's sum at a lag differs from that at the one before at its two ends."""
        n_lags = len(LAGS)
        for start in range(0, len(ids), _FRAMES_AT_ONCE):  # a run that is cut here adds up again
            some = ids[start : start + _FRAMES_AT_ONCE]
            first, end = start + LAGS[0], start + len(some) + LAGS[-1]
            padded = np.zeros((end - first, self.n_units))  # row r is frame r + first
            low, high = max(first, 0), min(end, len(ids))
            # Whole numbers below 2**53 in float64: exact, in whatever order.
            padded[low - first : high - first] = np.rint(activations[low:high] * np.float32(1 / STEP))
            for at, run in _slices(some):
                if at >= 0:
                    steps = self._steps[at]
                    steps[0] += padded[run].sum(axis=0)
                    steps[1:] += padded[run.stop : run.stop + n_lags - 1]
                    steps[1:] -= padded[run.start : run.start + n_lags - 1]
        for i, lag in enumerate(LAGS):
            self.counts[:, i] += np.bincount(ids[_aligned(ids, lag) - lag], minlength=len(self.phones))
        self._step_frames += len(ids)
        if self._step_frames >= _PENDING_FRAMES:
            self._flush_sums()

    def _flush_sums(self) -> None:
        if self._step_frames:
            self._sums += self._steps.cumsum(axis=1).astype(np.int64)
            self._steps[:] = 0
            self._step_frames = 0

    def _add_bins(self, bins: UInt8[np.ndarray, "frame unit"], track: PhoneTrack, lag: int) -> None:
        at = _aligned(track.ids, lag)
        if not len(at):
            return
        pending = self._pending
        if pending.n_frames + len(at) > _PENDING_FRAMES:
            self._flush()
        pending.bins.append(bins[at])
        pending.tracks.append(PhoneTrack(track.ids[at - lag], track.shuffled[at - lag], track.group))
        pending.n_frames += len(at)

    def _flush(self) -> None:
        """Count what waits."""
        self._flush_sums()
        if self.calibration is None or not self._pending.n_frames:
            return
        pending = self._pending
        bins = np.concatenate(pending.bins)
        ids = np.concatenate([track.ids for track in pending.tracks]).astype(np.int64)
        shuffled = np.concatenate([track.shuffled for track in pending.tracks]).astype(np.int64)
        group = np.repeat([track.group for track in pending.tracks], [len(track.ids) for track in pending.tracks])
        pending.n_frames = 0
        pending.bins.clear()
        pending.tracks.clear()
        n_phones = len(self.phones)
        # In this order the frames of a group's phone are neighbours; in the second, those of a half's shuffled phone.
        order = np.argsort(group * n_phones + ids, kind="stable")
        group, ids, shuffled = group[order], ids[order], shuffled[order]
        np.add.at(self.group_counts, (group, ids), 1)
        np.add.at(self.shuffled_counts, (group % 2, shuffled), 1)
        keys, starts = np.unique(group * n_phones + ids, return_index=True)
        by_shuffled = np.argsort((group % 2) * n_phones + shuffled, kind="stable")
        shuffled_keys, shuffled_starts = np.unique(((group % 2) * n_phones + shuffled)[by_shuffled], return_index=True)
        by_unit = np.ascontiguousarray(bins[order].T)
        for at in range(0, self.n_units, _UNITS_AT_ONCE):
            some = slice(at, at + _UNITS_AT_ONCE)
            ranks = self._count(some, by_unit[some], (group % 2) * n_phones + ids)
            # Whole numbers below 2**24 are exact in float32. (Matrix products would be as quick, but not where other
            # processes keep the cores busy that BLAS waits for.)
            sums = np.add.reduceat(ranks, starts, axis=1).astype(np.int64)
            self._rank_sums[some, keys // n_phones, keys % n_phones] += sums
            sums = np.add.reduceat(ranks.take(by_shuffled, axis=1), shuffled_starts, axis=1).astype(np.int64)
            self._shuffled_rank_sums[some, shuffled_keys // n_phones, shuffled_keys % n_phones] += sums

    def _count(
        self, units: slice, bins: UInt8[np.ndarray, "unit frame"], cell: Int64[np.ndarray, " frame"]
    ) -> Float32[np.ndarray, "unit frame"]:
        """Count the bins of some units at each frame's half and phone; gives the ranks."""
        assert self.calibration is not None
        n_cells = 2 * len(self.phones)
        histogram = self._histogram[units].reshape(len(bins), n_cells, N_BINS)
        table = self.calibration.ranks[units].astype(np.float32)
        ranks = np.empty(bins.shape, np.float32)
        low, high = int(bins.min()), int(bins.max())
        width = high - low + 1  # only the bins that occur, which keeps the counting in the cache
        start = cell * width - low
        for unit in range(len(bins)):
            index = bins[unit].astype(np.int64)
            table[unit].take(index, out=ranks[unit], mode="clip")
            index += start
            found = np.bincount(index, minlength=n_cells * width).reshape(-1, width)
            histogram[unit, :, low : high + 1] += found.astype(np.uint32)
        return ranks

    def merge(self, other: PhoneStatistics) -> PhoneStatistics:
        """The statistics of the clips of both, over the phones of either: associative, and the same in either order.

        Raises:
            ValueError: the two are of different sites.
            DifferentCalibration: they were counted at different lags, or with different ranks.
        """
        if other.n_units != self.n_units:
            raise ValueError(f"cannot merge statistics of {self.n_units} and of {other.n_units} units")
        if self.calibration and other.calibration and self.calibration != other.calibration:
            raise DifferentCalibration(self.calibration.lag, other.calibration.lag)
        both = PhoneStatistics(
            self.n_units, sorted({*self.phones, *other.phones}), self.calibration or other.calibration
        )
        both._add(self)
        both._add(other)
        return both

    def _add(self, other: PhoneStatistics) -> None:
        """Take in the statistics of other clips, whose phones are among these."""
        other._flush()
        place = np.array([self.phones.index(phone) for phone in other.phones], np.int64)
        self.counts[place] += other.counts
        self.group_counts[:, place] += other.group_counts
        self.shuffled_counts[:, place] += other.shuffled_counts
        self._sums[place] += other._sums
        self._rank_sums[:, :, place] += other._rank_sums
        self._shuffled_rank_sums[:, :, place] += other._shuffled_rank_sums
        if other.phones == self.phones:
            self._histogram += other._histogram
        else:
            self._histogram[:, :, place] += other._histogram
        renamed = np.append(place, -1).astype(np.int16)  # -1 stays -1
        for bins, track in other._buffer:
            mine = PhoneTrack(renamed[track.ids], renamed[track.shuffled], track.group, track.clip_id)
            if self.calibration is None:
                self._buffer.append((bins, mine))
            else:
                self._add_bins(bins, mine, self.calibration.lag)

    def units(self) -> UnitPhones:
        """The statistics of all units."""
        self._flush()
        return UnitPhones(
            phones=self.phones,
            lag=self.calibration.lag if self.calibration else 0,
            counts=self.counts,
            sums=np.moveaxis(self._sums, -1, 0),
            histogram=self._histogram,
            group_counts=self.group_counts,
            rank_sums=self._rank_sums,
            shuffled_counts=self.shuffled_counts,
            shuffled_rank_sums=self._shuffled_rank_sums,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as named arrays, the same for equal statistics.

        Arrays named in `SHARED` are about all units; those in `ROWS` have one row per unit; those in `PACKED` hold row
        after row of numbers (see `packing`), row u of `NAME.data` from `NAME.offset[u]` to `NAME.offset[u + 1]`. Of
        sums of ranks there is how far they are from their middle. Before calibration `buffer.*` holds the clips so far.
        """
        self._flush()
        arrays: dict[str, np.ndarray] = {
            "phones": np.frombuffer(json.dumps(self.phones).encode(), np.uint8),
            "counts": self.counts,
            "group_counts": self.group_counts,
            "shuffled_counts": self.shuffled_counts,
            "lag": np.array([self.calibration.lag] if self.calibration else [], np.int64),
            "ranks": self.calibration.ranks if self.calibration else np.zeros((self.n_units, 0), np.uint8),
            "rank_excess": _smallest(self._rank_sums - _middle(self.group_counts)),
            "shuffled_rank_excess": _smallest(self._shuffled_rank_sums - _middle(self.shuffled_counts)),
            **_packed("histogram", self._histogram),
            **_packed("sums", zigzag(np.moveaxis(self._sums, -1, 0))),
        }
        buffer = sorted(self._buffer, key=_digest)
        if buffer:
            arrays["buffer.length"] = np.array([len(bins) for bins, _ in buffer], np.int64)
            arrays["buffer.group"] = np.array([track.group for _, track in buffer], np.int64)
            arrays["buffer.ids"] = np.concatenate([track.ids for _, track in buffer])
            arrays["buffer.shuffled"] = np.concatenate([track.shuffled for _, track in buffer])
            arrays["buffer.bins"] = np.concatenate([bins for bins, _ in buffer])
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> PhoneStatistics:
        """The inverse of `arrays`.

        Raises:
            ValueError: the arrays contradict each other.
        """
        lag, ranks = arrays["lag"], arrays["ranks"]
        calibration = Calibration(int(lag[0]), ranks) if len(lag) else None
        new = cls(len(ranks), phone_names(arrays["phones"]), calibration)
        new.counts, new.group_counts = arrays["counts"].copy(), arrays["group_counts"].copy()
        new.shuffled_counts = arrays["shuffled_counts"].copy()
        units = StoredPhones(arrays)
        new._sums[:] = np.moveaxis(units.sums, 0, -1)
        new._histogram, new._rank_sums = units.histogram, units.rank_sums
        new._shuffled_rank_sums = units.shuffled_rank_sums
        if "buffer.length" in arrays:
            cuts = np.cumsum(arrays["buffer.length"])[:-1]
            parts = (np.split(arrays[f"buffer.{name}"], cuts) for name in ("bins", "ids", "shuffled"))
            for bins, ids, shuffled, group in zip(*parts, arrays["buffer.group"], strict=True):
                new._buffer.append((bins, PhoneTrack(ids, shuffled, int(group))))
        return new


SHARED = ("phones", "counts", "group_counts", "shuffled_counts", "lag")
ROWS = ("ranks", "rank_excess", "shuffled_rank_excess")
PACKED = ("histogram", "sums")


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
        self.rank_sums = arrays["rank_excess"] + _middle(self.group_counts)
        self.shuffled_rank_sums = arrays["shuffled_rank_excess"] + _middle(self.shuffled_counts)
        self.auroc, self.average_precision = arrays.get("auroc"), arrays.get("average_precision")

    @functools.cached_property
    def histogram(self) -> UInt32[np.ndarray, "unit half phone bin"]:  # type: ignore[override]
        """Frames per bin at the site's lag."""
        return self._unpacked("histogram", (2, len(self.phones), N_BINS), np.uint32)

    @functools.cached_property
    def sums(self) -> Int64[np.ndarray, "unit phone lag"]:  # type: ignore[override]
        """Sums of the activations, in units of `STEP`."""
        return unzigzag(self._unpacked("sums", (len(self.phones), len(LAGS)), np.int64))

    def _unpacked(self, name: str, shape: tuple[int, ...], kind: type[np.generic]) -> np.ndarray:
        offset, data = self._arrays[f"{name}.offset"], self._arrays[f"{name}.data"]
        rows = np.empty((len(offset) - 1, *shape), kind)
        for at in range(0, len(rows), _UNITS_AT_ONCE):  # a few units at once, for tables of histograms are large
            some = offset[at : at + _UNITS_AT_ONCE + 1]
            columns = unpack_rows(some, data[some[0] : some[-1]], math.prod(shape))
            rows[at : at + _UNITS_AT_ONCE] = columns.reshape(len(columns), *shape)
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
        rank_sums=units.rank_sums,
        shuffled_counts=units.shuffled_counts,
        shuffled_rank_sums=units.shuffled_rank_sums,
    )


def _packed(name: str, table: Int[np.ndarray, "unit *column"]) -> dict[str, np.ndarray]:
    """A table of whole numbers from 0 on, a few units at once, for tables of histograms are large."""
    offsets, parts = [np.zeros(1, np.int64)], [np.zeros(0, np.uint8)]
    for at in range(0, len(table), _UNITS_AT_ONCE):
        some = np.asarray(table[at : at + _UNITS_AT_ONCE], np.int64)
        offset, data = pack_rows(some.reshape(len(some), -1))
        offsets.append(offset[1:] + offsets[-1][-1])
        parts.append(data)
    return {f"{name}.offset": np.concatenate(offsets), f"{name}.data": np.concatenate(parts)}


def _middle(counts: Int64[np.ndarray, "*shape"]) -> Int64[np.ndarray, "*shape"]:
    """What the ranks of so many frames sum up to where all are in the middle, rounded down."""
    middle: Int64[np.ndarray, "*shape"] = (N_RANKS - 1) * counts // 2
    return middle


def _smallest(values: Int64[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """The same numbers in the smallest of three types that holds them all."""
    largest = max(int(values.max(initial=0)), -1 - int(values.min(initial=0)))
    kind = np.int16 if largest < 2**15 else np.int32 if largest < 2**31 else np.int64
    return values.astype(kind)


def phone_names(encoded: UInt8[np.ndarray, " byte"]) -> tuple[str, ...]:
    """The phones, from the array `phones`: JSON in UTF-8."""
    return tuple(str(phone) for phone in json.loads(encoded.tobytes()))


def _digest(clip: tuple[UInt8[np.ndarray, "frame unit"], PhoneTrack]) -> bytes:
    """A fixed order of clips that does not depend on how they came."""
    bins, track = clip
    digest = hashlib.blake2b(track.group.to_bytes(2, "little"), digest_size=16)
    for array in (track.ids, track.shuffled, bins):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def _aligned(ids: Int16[np.ndarray, " frame"], lag: int) -> Int[np.ndarray, " kept"]:
    """The frames at which, `lag` frames before, a phone is heard."""
    at: Int[np.ndarray, " kept"] = np.flatnonzero(ids >= 0) + lag
    return at[(at >= 0) & (at < len(ids))]


def _mid_ranks(counts: Int64[np.ndarray, "unit bin"]) -> UInt8[np.ndarray, "unit bin"]:
    """Per bin the share of frames below it and half of those in it, from 0 to 255."""
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    twice_below = 2 * counts.cumsum(axis=1) - counts
    ranks = (twice_below * (N_RANKS - 1) + total) // (2 * total)  # rounded
    in_bytes: UInt8[np.ndarray, "unit bin"] = ranks.astype(np.uint8)
    return in_bytes


def _slices(keys: Int[np.ndarray, " frame"]) -> list[tuple[int, slice]]:
    """Runs of equal keys, and where they are."""
    edges = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    return [(int(keys[start]), slice(start, end)) for start, end in itertools.pairwise(edges)]
