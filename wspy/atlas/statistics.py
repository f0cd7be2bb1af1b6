"""Streaming statistics of every unit of a site: bounded memory, mergeable in any order and grouping.

One `update` takes the activations of one clip and forgets them. What stays per unit and sign:

- moments and a count of positive frames, over all valid frames;
- a histogram of clip peaks (the highest, or lowest, activation within a clip), 16 bins to the octave;
- the `top` clips with the most extreme peaks;
- a sample of clips from every quarter-octave of peak height, so that examples from any activation range can be shown
  once the maximum is known: per bin the `SAMPLES` clips whose hash is smallest (bottom-k sampling, Cohen and Kaplan
  2007), which is uniform within the bin and does not depend on order. Once all clips are heard, the maximum is known,
  and only those stay that the ten ranges show.

Sums are kept as integers (whole and fraction, see `_exact`), because integer addition is associative and float addition
is not: the same clips give the same statistics to the last bit, however they were split and merged. Every kept clip
has its trace: the unit's activation over the `TRACE` frames around the peak, as int8 against its own largest magnitude.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wspy.errors import BadActivations

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Float64, Int, Int8, Int64, UInt64

    from wspy.atlas.loops import Places

TOP = 25
SAMPLES = 2
RANGES, PER_RANGE = 10, 2  # what is shown of the sample
TRACE = 101  # frames: a whole clip of 2 s, or one second on either side of the peak
FRACTION_BITS = 52
LARGEST_SUM = 2**62  # two of them still fit into 64 bits
OCTAVES = (-8, 8)  # peak heights that get bins of their own: 2**-8 to 2**8
HISTOGRAM_PER_OCTAVE = 16
SAMPLER_PER_OCTAVE = 4
SIGNS = (1, -1)
EMPTY = np.uint64(2**64 - 1)  # a hash that no clip has: the slot is free
_OCTAVE_COUNT = OCTAVES[1] - OCTAVES[0]


def clip_hash(clip_id: str) -> np.uint64:
    """A fixed pseudo-random number of a clip, by which ties are broken and samples are drawn."""
    digest = hashlib.blake2b(clip_id.encode(), digest_size=8).digest()
    return np.uint64(min(int.from_bytes(digest, "little"), 2**64 - 2))


@functools.cache
def peak_bin_edges(per_octave: int = HISTOGRAM_PER_OCTAVE) -> Float32[np.ndarray, " edge"]:
    """Edges of the peak bins: 0, then powers of two in equal ratios. Values beyond the last fall into the last bin."""
    steps = np.arange(_OCTAVE_COUNT * per_octave + 1) / per_octave + OCTAVES[0]
    edges: Float32[np.ndarray, " edge"] = np.concatenate([[0.0], 2.0**steps]).astype(np.float32)
    edges.flags.writeable = False  # shared by all who ask
    return edges


def _bin_of(values: Float32[np.ndarray, " unit"], per_octave: int) -> Int[np.ndarray, " unit"]:
    """The bin of each peak; everything below the lowest octave, and every negative value, is in bin 0."""
    edges = peak_bin_edges(per_octave)
    bins: Int[np.ndarray, " unit"] = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return bins


def trace_start(frame: int | Int[np.ndarray, " unit"], n_frames: int) -> Int[np.ndarray, " unit"]:
    """The first frame of the trace around a peak: the peak in the middle where the clip's ends allow it."""
    start: Int[np.ndarray, " unit"] = np.clip(np.asarray(frame) - TRACE // 2, 0, max(n_frames - TRACE, 0))
    return start


@dataclass
class Examples:
    """Kept clips of some units: arrays of one leading shape, `hash == EMPTY` where there is none."""

    value: Float32[np.ndarray, "*slot"]
    clip: Int[np.ndarray, "*slot"]
    frame: Int[np.ndarray, "*slot"]
    hash: UInt64[np.ndarray, "*slot"]
    scale: Float32[np.ndarray, "*slot"]
    trace: Int8[np.ndarray, "*slot trace"]

    FIELDS = ("value", "clip", "frame", "hash", "scale", "trace")

    @classmethod
    def empty(cls, *shape: int) -> Examples:
        """Places for clips, all of them free."""
        return cls(
            np.full(shape, -np.inf, np.float32),
            np.full(shape, -1, np.int32),
            np.zeros(shape, np.int16),
            np.full(shape, EMPTY),
            np.zeros(shape, np.float32),
            np.zeros((*shape, TRACE), np.int8),
        )

    def __getitem__(self, index: object) -> Examples:
        return Examples(*(getattr(self, name)[index] for name in self.FIELDS))

    def __setitem__(self, index: object, other: Examples) -> None:
        for name in self.FIELDS:
            getattr(self, name)[index] = getattr(other, name)

    def places(self) -> Places:
        """The arrays themselves, for a loop to write into."""
        return self.value, self.clip, self.frame, self.hash, self.scale, self.trace

    def copy(self) -> Examples:
        """The same, with arrays of its own."""
        return Examples(*(getattr(self, name).copy() for name in self.FIELDS))

    def concatenated(self, other: Examples, axis: int) -> Examples:
        """These and others, one after the other along an axis."""
        return Examples(
            *(np.concatenate([getattr(self, name), getattr(other, name)], axis=axis) for name in self.FIELDS)
        )

    def ordered(self, order: Int[np.ndarray, "*slot"]) -> Examples:
        """Slots along the last axis of the leading shape, in the order given per row."""
        return Examples(
            *(
                np.take_along_axis(array, order[..., None] if name == "trace" else order, axis=order.ndim - 1)
                for name, array in ((name, getattr(self, name)) for name in self.FIELDS)
            )
        )

    def activations(self) -> Float32[np.ndarray, "*slot trace"]:
        """The traces in the site's own units."""
        return self.trace.astype(np.float32) * (self.scale[..., None] / 127)


@dataclass
class UnitStatistics:
    """The statistics of one unit."""

    n_clips: int
    n_frames: int
    mean: float
    std: float
    minimum: float
    maximum: float
    density: float
    """Share of valid frames with an activation above zero."""
    histogram: dict[int, Int[np.ndarray, " bin"]]
    """Per sign, how many clips peak in each bin of `peak_bin_edges()`."""
    top: dict[int, Examples]
    """Per sign, the most extreme clips, strongest first."""
    samples: dict[int, Examples]
    """Per sign, a sample of clips over all peak heights, in order of their hash."""

    def range_examples(self, sign: int) -> list[Examples]:
        """A few clips from each of `RANGES` equal ranges between zero and the highest peak, lowest range first.

        A clip counts by its peak; drawn from the kept sample and, where that has none, from the top clips.
        """
        kept = self.samples[sign].concatenated(self.top[sign], axis=0)
        kept = kept[np.unique(kept.clip, return_index=True)[1]] if len(kept.clip) else kept
        kept = kept[np.argsort(kept.hash, kind="stable")]
        height = float(self.top[sign].value[0]) if len(self.top[sign].value) else 0.0
        if height <= 0:
            return [kept[:0] for _ in range(RANGES)]
        which = _range_of(kept.value, height)
        return [kept[(which == i) & (kept.value > 0)][:PER_RANGE] for i in range(RANGES)]


class SiteStatistics:
    """The statistics of all units of one site over some clips."""

    def __init__(self, n_units: int, top: int = TOP) -> None:
        self.n_units = n_units
        self.n_top = top
        self.n_clips = 0
        self.n_frames = 0
        self.sum = np.zeros((n_units, 2), np.int64)
        self.sum_of_squares = np.zeros((n_units, 2), np.int64)
        self.n_positive = np.zeros(n_units, np.int64)
        n_bins = _OCTAVE_COUNT * HISTOGRAM_PER_OCTAVE + 1
        n_sampler = _OCTAVE_COUNT * SAMPLER_PER_OCTAVE + 1
        self.histogram = {sign: np.zeros((n_units, n_bins), np.int64) for sign in SIGNS}
        self.extreme = {sign: np.full(n_units, -np.inf, np.float32) for sign in SIGNS}
        self.top = {sign: Examples.empty(n_units, top) for sign in SIGNS}
        self.samples = {sign: Examples.empty(n_units, n_sampler, SAMPLES) for sign in SIGNS}
        self._units = np.arange(n_units)

    def update(self, activations: Float32[np.ndarray, "frame unit"], clip: int, clip_id: str) -> None:
        """Take in one clip: its activations over valid frames only, its place in the corpus, its id.

        Raises:
            ValueError: there is no frame, or another number of units.
            BadActivations: a value is not finite, or so large that the sum of squares leaves 64 bits.
        """
        n_frames = len(activations)
        if n_frames == 0 or activations.shape[1] != self.n_units:
            raise ValueError(f"clip {clip_id!r}: activations of shape {activations.shape}")
        from wspy.atlas.loops import keep_peaks, moments, turned

        activations = np.ascontiguousarray(activations)
        # Sums of one clip are exact enough in float64; only sums over clips must not depend on order.
        total, squares, n_positive, highest, lowest = moments(activations)
        if not np.isfinite(squares).all():
            raise BadActivations(clip_id, "NaN or infinite")
        if (squares + self.sum_of_squares[:, 0] > LARGEST_SUM).any():
            raise BadActivations(clip_id, f"as large as {float(np.abs(activations).max()):.3g}")
        self.n_clips += 1
        self.n_frames += n_frames
        self.sum = _plus(self.sum, _exact(total))
        self.sum_of_squares = _plus(self.sum_of_squares, _exact(squares))
        self.n_positive += n_positive
        by_unit = turned(activations)
        for sign, frames in ((1, highest), (-1, lowest)):
            peaks = sign * activations[frames, self._units]
            np.maximum(self.extreme[sign], peaks, out=self.extreme[sign])
            self.histogram[sign][self._units, _bin_of(peaks, HISTOGRAM_PER_OCTAVE)] += 1
            keep_peaks(
                by_unit,
                peaks,
                frames,
                trace_start(frames, n_frames),
                clip,
                clip_hash(clip_id),
                self.top[sign].places(),
                self._weakest[sign],
                self.samples[sign].places(),
                _bin_of(peaks, SAMPLER_PER_OCTAVE),
            )

    @functools.cached_property
    def _weakest(self) -> dict[int, Int64[np.ndarray, " unit"]]:
        """Per sign and unit the slot of the top list that goes first."""
        from wspy.atlas.loops import weakest_slots

        return {sign: weakest_slots(self.top[sign].value, self.top[sign].hash) for sign in SIGNS}

    def merge(self, other: SiteStatistics) -> SiteStatistics:
        """The statistics of the clips of both: associative, and the same in either order.

        Raises:
            ValueError: the two are of different sites.
        """
        if (other.n_units, other.n_top) != (self.n_units, self.n_top):
            raise ValueError(f"cannot merge statistics of {self.n_units} and of {other.n_units} units")
        both = SiteStatistics(self.n_units, self.n_top)
        both.n_clips = self.n_clips + other.n_clips
        both.n_frames = self.n_frames + other.n_frames
        both.sum = _plus(self.sum, other.sum)
        both.sum_of_squares = _plus(self.sum_of_squares, other.sum_of_squares)
        both.n_positive = self.n_positive + other.n_positive
        for sign in SIGNS:
            both.histogram[sign] = self.histogram[sign] + other.histogram[sign]
            both.extreme[sign] = np.maximum(self.extreme[sign], other.extreme[sign])
            top = self.top[sign].concatenated(other.top[sign], axis=1)
            both.top[sign] = top.ordered(_strongest_first(top)[:, : self.n_top])
            both.samples[sign] = self.samples[sign].copy()
            _add_samples(both.samples[sign], other.samples[sign])
        return both

    def arrays(self, *, whole: bool = False) -> dict[str, np.ndarray]:
        """Everything as named arrays: one row per unit, in canonical order, samples packed without free slots.

        Args:
            whole: All clips are heard, so samples that no range shows are left out: about half of them.
        """
        count = np.uint16 if self.n_clips < 2**16 else np.uint32
        arrays: dict[str, np.ndarray] = {
            "counts": np.array([self.n_clips, self.n_frames], np.int64),
            "sum": self.sum,
            "sum_of_squares": self.sum_of_squares,
            "n_positive": self.n_positive,
        }
        for sign, name in ((1, "positive"), (-1, "negative")):
            arrays[f"{name}.histogram"] = self.histogram[sign].astype(count)
            arrays[f"{name}.extreme"] = self.extreme[sign]
            top = self.top[sign].ordered(_strongest_first(self.top[sign]))
            samples = self.samples[sign]
            for field in Examples.FIELDS:
                arrays[f"{name}.top.{field}"] = getattr(top, field)
            taken = _shown(samples, self.extreme[sign]) if whole else samples.hash != EMPTY
            order = np.argsort(samples.hash, axis=-1, kind="stable")
            taken = np.take_along_axis(taken, order, axis=-1)
            slots = (*np.nonzero(taken)[:-1], order[taken])
            arrays[f"{name}.samples.offset"] = np.concatenate([[0], taken.sum(axis=(1, 2)).cumsum()]).astype(np.int64)
            arrays[f"{name}.samples.slot"] = np.nonzero(taken.reshape(self.n_units, -1))[1].astype(np.int16)
            for field in Examples.FIELDS:
                arrays[f"{name}.samples.{field}"] = getattr(samples, field)[slots]
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> SiteStatistics:
        """The inverse of `arrays`."""
        new = cls(*arrays["positive.top.value"].shape)
        new.n_clips, new.n_frames = (int(count) for count in arrays["counts"])
        new.sum, new.sum_of_squares = arrays["sum"].copy(), arrays["sum_of_squares"].copy()
        new.n_positive = arrays["n_positive"].copy()
        for sign, name in ((1, "positive"), (-1, "negative")):
            new.histogram[sign] = arrays[f"{name}.histogram"].astype(np.int64)
            new.extreme[sign] = arrays[f"{name}.extreme"].copy()
            new.top[sign] = Examples(*(arrays[f"{name}.top.{field}"].copy() for field in Examples.FIELDS))
            offset = arrays[f"{name}.samples.offset"]
            unit = np.repeat(np.arange(new.n_units), np.diff(offset))
            bins, slots = np.divmod(arrays[f"{name}.samples.slot"].astype(np.int64), SAMPLES)
            for field in Examples.FIELDS:
                getattr(new.samples[sign], field)[unit, bins, slots] = arrays[f"{name}.samples.{field}"]
        return new


def unit_from_arrays(row: Mapping[str, np.ndarray]) -> UnitStatistics:
    """One unit from its own rows of `SiteStatistics.arrays`, by the same names."""
    n_clips, n_frames = (int(count) for count in row["counts"])
    total, squares = _scaled(row["sum"]), _scaled(row["sum_of_squares"])
    # In whole numbers, or a spread that is small beside the mean would drown in rounding.
    variance = (squares * n_frames * 2**FRACTION_BITS - total**2) / (n_frames * 2**FRACTION_BITS) ** 2
    top, samples, histogram = {}, {}, {}
    for sign, name in ((1, "positive"), (-1, "negative")):
        kept = Examples(*(row[f"{name}.top.{field}"] for field in Examples.FIELDS))
        top[sign] = kept[kept.hash != EMPTY]
        drawn = Examples(*(row[f"{name}.samples.{field}"] for field in Examples.FIELDS))
        samples[sign] = drawn[np.argsort(drawn.hash, kind="stable")]
        histogram[sign] = row[f"{name}.histogram"].astype(np.int64)
    return UnitStatistics(
        n_clips=n_clips,
        n_frames=n_frames,
        mean=total / (n_frames * 2**FRACTION_BITS),
        std=max(variance, 0.0) ** 0.5,
        minimum=-float(row["negative.extreme"]),
        maximum=float(row["positive.extreme"]),
        density=int(row["n_positive"]) / n_frames,
        histogram=histogram,
        top=top,
        samples=samples,
    )


def _exact(values: Float64[np.ndarray, " unit"]) -> Int[np.ndarray, "unit part"]:
    """Numbers as their floor and, in units of 2**-52, what is above it: sums of such pairs do not depend on order."""
    whole = np.floor(values)
    parts = np.stack([whole, np.rint((values - whole) * 2.0**FRACTION_BITS)], axis=1)
    pairs: Int[np.ndarray, "unit part"] = parts.astype(np.int64)
    return pairs


def _plus(one: Int[np.ndarray, "unit part"], other: Int[np.ndarray, "unit part"]) -> Int[np.ndarray, "unit part"]:
    """The sum of two `_exact` numbers, the fraction below one again."""
    both: Int[np.ndarray, "unit part"] = one + other
    both[:, 0] += both[:, 1] >> FRACTION_BITS
    both[:, 1] &= 2**FRACTION_BITS - 1
    return both


def _scaled(number: Int[np.ndarray, " part"]) -> int:
    """An `_exact` number in units of 2**-52."""
    return (int(number[0]) << FRACTION_BITS) + int(number[1])


def _strongest_first(examples: Examples) -> Int[np.ndarray, "unit slot"]:
    """Order of slots by falling value, equal values by rising hash."""
    by_hash = np.argsort(examples.hash, axis=-1, kind="stable")
    by_value = np.argsort(-np.take_along_axis(examples.value, by_hash, axis=-1), axis=-1, kind="stable")
    return np.take_along_axis(by_hash, by_value, axis=-1)


def _range_of(values: Float32[np.ndarray, "*slot"], height: Float32[np.ndarray, "*slot"] | float) -> np.ndarray:
    """Which of the equal ranges from zero to the highest peak a peak falls into."""
    ranges: np.ndarray = np.minimum((values / height * RANGES).astype(int), RANGES - 1)
    return ranges


def _shown(samples: Examples, extreme: Float32[np.ndarray, " unit"]) -> Bool[np.ndarray, "unit bin slot"]:
    """The samples that `UnitStatistics.range_examples` can show: of each range those with the smallest hashes."""
    value, key = (array.reshape(len(extreme), -1) for array in (samples.value, samples.hash))
    alive = (key != EMPTY) & (value > 0) & (extreme > 0)[:, None]
    which = _range_of(np.where(alive, value, 0), np.where(extreme > 0, extreme, 1)[:, None])
    shown = np.zeros(key.shape, bool)
    for each in range(RANGES):
        candidates = np.where(alive & (which == each), key, EMPTY)
        smallest = np.sort(candidates, axis=1)[:, PER_RANGE - 1 : PER_RANGE]
        shown |= (candidates <= smallest) & (candidates != EMPTY)
    return shown.reshape(samples.hash.shape)


def _add_samples(samples: Examples, others: Examples) -> None:
    """Bottom-k union in place: another's example takes the place with the largest hash where its own is smaller."""
    for slot in range(SAMPLES):
        units, bins = np.nonzero(others.hash[..., slot] != EMPTY)
        held = samples.hash[units, bins]
        better = others.hash[units, bins, slot] < held.max(axis=1)
        units, bins, slots = units[better], bins[better], held[better].argmax(axis=1)
        samples[units, bins, slots] = others[units, bins, slot]
