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

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wspy.atlas.bins import N_BINS, bin_edges, bins_of
from wspy.atlas.packing import zigzag
from wspy.atlas.phone_arrays import (
    LAGS,
    N_RANKS,
    STEP,
    StoredPhones,
    UnitPhones,
    middle,
    packed,
    phone_names,
    smallest,
)
from wspy.atlas.tracks import N_GROUPS, PhoneTrack
from wspy.errors import BadActivations, DifferentCalibration

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int, Int16, Int64, UInt8

CALIBRATION_FRAMES = 16_384
"""How many frames are enough to calibrate: 5.5 minutes."""

LARGEST = 2.0**16  # a little above the largest float16; sums of 2**27 such frames still fit into 64 bits
_WAITING_FRAMES = 16_384  # so many are counted in one go
_TABLE_FRAMES = (
    _WAITING_FRAMES + 1_600
)  # a window more; and no power of two, at which rows would share lines of a cache


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


class _Waiting:
    """Clips that are not counted yet, their bins side by side in one table.

    In arrays of their own they would lie scattered between the large ones of the model, whose memory could then not be
    used again.
    """

    def __init__(self, n_units: int) -> None:
        self.n_frames = 0
        self.tracks: list[PhoneTrack] = []
        self.table: UInt8[np.ndarray, "unit frame"] = np.empty((n_units, 0), np.uint8)
        """Its first `n_frames` columns are taken."""

    def add(self, bins: UInt8[np.ndarray, "unit frame"], track: PhoneTrack) -> None:
        end = self.n_frames + len(track.ids)
        if end > self.table.shape[1]:
            larger = np.empty((len(self.table), max(_TABLE_FRAMES, 2 * end)), np.uint8)
            larger[:, : self.n_frames] = self.table[:, : self.n_frames]
            self.table = larger
        self.table[:, self.n_frames : end] = bins
        self.tracks.append(track)
        self.n_frames = end

    def clips(self) -> Iterator[tuple[slice, PhoneTrack]]:
        """Each clip's columns and its phones."""
        start = 0
        for track in self.tracks:
            yield slice(start, start + len(track.ids)), track
            start += len(track.ids)

    def aligned(self, lag: int) -> Int64[np.ndarray, " kept"]:
        """The columns at which, `lag` frames before, a phone is heard."""
        columns = [columns.start + _aligned(track.ids, lag) for columns, track in self.clips()]
        return np.concatenate(columns) if columns else np.zeros(0, np.int64)

    def clear(self) -> None:
        self.n_frames = 0
        self.tracks.clear()


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
        self._waiting = _Waiting(n_units)

    @property
    def calibrated(self) -> bool:
        """Whether the lag and the ranks are known."""
        return self.calibration is not None

    @property
    def n_calibration_frames(self) -> int:
        """Before calibration, the aligned frames that wait for it; `CALIBRATION_FRAMES` are enough."""
        return sum(int((track.ids >= 0).sum()) for track in self._waiting.tracks)

    def update(self, activations: Float32[np.ndarray, "frame unit"], track: PhoneTrack) -> None:
        """Take in one clip: its activations over valid frames only, and their phones.

        Raises:
            ValueError: another number of frames than the track has, or of units.
            BadActivations: a value is not finite, or `LARGEST` or more.
        """
        from wspy.atlas.loops import add_sums, turned

        if activations.shape != (len(track.ids), self.n_units):
            raise ValueError(f"clip {track.clip_id!r}: {activations.shape} activations, {len(track.ids)} frames")
        if not (track.ids >= 0).any():
            return
        largest = max(float(activations.max()), -float(activations.min()))
        if not largest < LARGEST:
            why = f"as large as {largest:.3g}" if np.isfinite(largest) else "NaN or infinite"
            raise BadActivations(track.clip_id, why)
        activations = np.ascontiguousarray(activations)
        add_sums(activations, track.ids, LAGS, STEP, self._sums)
        for i, lag in enumerate(LAGS):
            heard = track.ids[_aligned(track.ids, lag) - lag]
            self.counts[:, i] += np.bincount(heard, minlength=len(self.phones))
        self._waiting.add(turned(bins_of(activations)), track)
        if self._waiting.n_frames >= _WAITING_FRAMES:
            self._flush()

    def calibrate(self) -> Calibration:
        """Find the lag and the ranks on the clips so far, count these clips, and count at once from now on."""
        if self.calibration is None:
            lag = LAGS[int(np.argmax(self.explained()))]
            self.calibration = Calibration(lag, _mid_ranks(self._waiting_bins(lag)))
            self._flush()
        return self.calibration

    def explained(self) -> Float64[np.ndarray, " lag"]:
        """Before calibration, per lag the share of variance between phones (eta squared), mean over units."""
        counts = self.counts[:, :, None].astype(np.float64)
        means = self._sums * STEP / np.maximum(counts, 1)
        mean = self._sums.sum(axis=0) * STEP / np.maximum(counts.sum(axis=0), 1)
        between = (counts * (means - mean) ** 2).sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
        # The variance within bins is lost, which all lags share.
        marginal = self._waiting_bins(0)
        edges = bin_edges().astype(np.float64)
        centres = (edges[1:] + edges[:-1]) / 2
        n = np.maximum(marginal.sum(axis=1), 1)
        total = (marginal * centres**2).sum(axis=1) / n - ((marginal * centres).sum(axis=1) / n) ** 2
        shares: Float64[np.ndarray, " lag"] = np.where(total > 0, between / np.where(total > 0, total, 1), 0).mean(
            axis=1
        )
        return shares

    def _waiting_bins(self, lag: int) -> Int64[np.ndarray, "unit bin"]:
        """How many frames of the waiting clips, aligned at that lag, fall into each bin."""
        from wspy.atlas.loops import count_bins

        marginal = np.zeros((self.n_units, N_BINS), np.int64)
        count_bins(self._waiting.table, self._waiting.aligned(lag), marginal)
        return marginal

    def _flush(self) -> None:
        """Count what waits: many frames at once for each unit, whose tables stay in the cache meanwhile."""
        if self.calibration is None or not self._waiting.tracks:
            return
        from wspy.atlas.loops import count_phones

        tracks, columns = self._waiting.tracks, self._waiting.aligned(self.calibration.lag)
        heard = columns - self.calibration.lag
        ids = np.concatenate([track.ids for track in tracks])[heard].astype(np.int64)
        shuffled = np.concatenate([track.shuffled for track in tracks])[heard].astype(np.int64)
        group = np.repeat([track.group for track in tracks], [len(track.ids) for track in tracks])[heard]
        np.add.at(self.group_counts, (group, ids), 1)
        np.add.at(self.shuffled_counts, (group % 2, shuffled), 1)
        n_phones, flat = len(self.phones), (self.n_units, -1)
        count_phones(
            self._waiting.table,
            columns,
            group % 2 * n_phones + ids,
            group * n_phones + ids,
            group % 2 * n_phones + shuffled,
            self.calibration.ranks,
            self._histogram.reshape(*flat, N_BINS),
            self._rank_sums.reshape(flat),
            self._shuffled_rank_sums.reshape(flat),
        )
        self._waiting.clear()

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
        for columns, track in other._waiting.clips():
            mine = PhoneTrack(renamed[track.ids], renamed[track.shuffled], track.group, track.clip_id)
            self._waiting.add(other._waiting.table[:, columns], mine)
        self._flush()

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
            "shuffled_rank_excess": smallest(self._shuffled_rank_sums - middle(self.shuffled_counts)),
            **packed("histogram", self._histogram),
            **packed("rank_excess", zigzag(self._rank_sums - middle(self.group_counts))),
            **packed("sums", zigzag(np.moveaxis(self._sums, -1, 0))),
        }
        waiting = [(self._waiting.table[:, columns].T, track) for columns, track in self._waiting.clips()]
        waiting.sort(key=_digest)
        if waiting:
            arrays["buffer.length"] = np.array([len(bins) for bins, _ in waiting], np.int64)
            arrays["buffer.group"] = np.array([track.group for _, track in waiting], np.int64)
            arrays["buffer.ids"] = np.concatenate([track.ids for _, track in waiting])
            arrays["buffer.shuffled"] = np.concatenate([track.shuffled for _, track in waiting])
            arrays["buffer.bins"] = np.concatenate([bins for bins, _ in waiting])
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
                new._waiting.add(bins.T, PhoneTrack(ids, shuffled, int(group)))
        return new


def _digest(clip: tuple[UInt8[np.ndarray, "frame unit"], PhoneTrack]) -> bytes:
    """A fixed order of clips that does not depend on how they came."""
    bins, track = clip
    digest = hashlib.blake2b(track.group.to_bytes(2, "little"), digest_size=16)
    for array in (track.ids, track.shuffled, bins):
        digest.update(array.tobytes())
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
