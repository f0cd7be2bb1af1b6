"""The inner loops of a pass, compiled by Numba: the first time they run on a machine, then from its cache.

Each of them goes once over its numbers, keeps what it needs in the processor's cache, and lets go of the interpreter's
lock, so that several sites are learned from side by side. They check nothing: their callers do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

import numba
import numpy as np

from wspy.atlas.packing import BLOCK

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int, Int16, Int64, Shaped, UInt8, UInt32

    Places = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    """Kept clips: value, clip, frame, hash, scale and trace, each an array of one leading shape."""

SMALLEST_SCALE = np.float32(1e-30)  # below it a trace counts as zero
_TILE = 64  # units that are turned at once: a row of them is a few lines of the cache
_Function = TypeVar("_Function", bound=Callable[..., object])


def _compiled(function: _Function) -> _Function:
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # nowhere to keep it: neither beside this file nor in the user's cache
        compiled = numba.njit(nogil=True)(function)
    return cast("_Function", compiled)


# --- one clip ---------------------------------------------------------------------------------------------


@_compiled
def turned(rows: Shaped[np.ndarray, "frame unit"]) -> Shaped[np.ndarray, "unit frame"]:
    """The same numbers with those of a unit next to each other."""
    n_frames, n_units = rows.shape
    columns = np.empty((n_units, n_frames), rows.dtype)
    for first in range(0, n_units, _TILE):
        for frame in range(n_frames):
            for unit in range(first, min(first + _TILE, n_units)):
                columns[unit, frame] = rows[frame, unit]
    return columns


@_compiled
def moments(
    activations: Float32[np.ndarray, "frame unit"],
) -> tuple[
    Float64[np.ndarray, " unit"],
    Float64[np.ndarray, " unit"],
    Int64[np.ndarray, " unit"],
    Int64[np.ndarray, " unit"],
    Int64[np.ndarray, " unit"],
]:
    """Per unit the sum, the sum of squares, how many values are above zero, and the first frames of the highest and of
    the lowest value."""
    n_frames, n_units = activations.shape
    total, squares = np.zeros(n_units), np.zeros(n_units)
    positive, highest, lowest = np.zeros(n_units, np.int64), np.zeros(n_units, np.int64), np.zeros(n_units, np.int64)
    high, low = activations[0].copy(), activations[0].copy()
    for frame in range(n_frames):
        values = activations[frame]
        for unit in range(n_units):
            value = np.float64(values[unit])
            total[unit] += value
            squares[unit] += value * value
        for unit in range(n_units):
            positive[unit] += values[unit] > 0
        for unit in range(n_units):
            higher = values[unit] > high[unit]
            highest[unit] = frame if higher else highest[unit]
            high[unit] = values[unit] if higher else high[unit]
        for unit in range(n_units):
            lower = values[unit] < low[unit]
            lowest[unit] = frame if lower else lowest[unit]
            low[unit] = values[unit] if lower else low[unit]
    return total, squares, positive, highest, lowest


@_compiled
def weakest_of(value: Float32[np.ndarray, " slot"], key: Int[np.ndarray, " slot"]) -> int:
    """The slot that goes first: the lowest value, among equal ones the largest hash."""
    found = 0
    for slot in range(1, len(value)):
        if value[slot] < value[found] or (value[slot] == value[found] and key[slot] > key[found]):
            found = slot
    return found


@_compiled
def weakest_slots(value: Float32[np.ndarray, "unit slot"], key: Int[np.ndarray, "unit slot"]) -> Int[np.ndarray, "_"]:
    """`weakest_of` every unit's list."""
    slots = np.empty(len(value), np.int64)
    for unit in range(len(value)):
        slots[unit] = weakest_of(value[unit], key[unit])
    return slots


@_compiled
def keep_peaks(
    by_unit: Float32[np.ndarray, "unit frame"],
    peaks: Float32[np.ndarray, " unit"],
    frames: Int64[np.ndarray, " unit"],
    starts: Int64[np.ndarray, " unit"],
    clip: int,
    key: np.uint64,
    top: Places,
    weakest: Int64[np.ndarray, " unit"],
    samples: Places,
    sample_bins: Int64[np.ndarray, " unit"],
) -> None:
    """Let one clip's peaks of one sign into the top lists, where they are stronger than the weakest there, and into
    the samples of their bins, where the clip's hash is smaller than the largest there.

    Args:
        peaks: Times the sign.
        starts: The first frames of the traces around them.
        weakest: `weakest_slots` of `top`; kept up to date.
    """
    for unit in range(len(by_unit)):
        values, peak, frame, start = by_unit[unit], peaks[unit], frames[unit], starts[unit]
        slot = weakest[unit]
        if peak > top[0][unit, slot] or (peak == top[0][unit, slot] and key < top[3][unit, slot]):
            _put(_row(top, unit), slot, values, start, peak, frame, clip, key)
            weakest[unit] = weakest_of(top[0][unit], top[3][unit])
        at = sample_bins[unit]
        keys = samples[3][unit, at]
        slot = 0
        for other in range(1, len(keys)):
            if keys[other] > keys[slot]:
                slot = other
        if key < keys[slot]:
            row = _row(samples, unit)
            _put(_row(row, at), slot, values, start, peak, frame, clip, key)


@_compiled
def _row(places: Places, at: int) -> Places:
    return places[0][at], places[1][at], places[2][at], places[3][at], places[4][at], places[5][at]


@_compiled
def _put(
    places: Places,
    slot: int,
    values: Float32[np.ndarray, " frame"],
    start: int,
    peak: float,
    frame: int,
    clip: int,
    key: np.uint64,
) -> None:
    """The clip as an example in a slot, with the trace around its peak."""
    value_of, clip_of, frame_of, hash_of, scale_of, trace_of = places
    value_of[slot], clip_of[slot], frame_of[slot], hash_of[slot] = peak, clip, frame, key
    trace = trace_of[slot]
    n = min(len(trace), len(values))
    scale = np.float32(0)
    for i in range(start, start + n):
        scale = max(scale, abs(values[i]))
    scale_of[slot] = scale
    divisor = max(scale, SMALLEST_SCALE)
    for i in range(n):
        trace[i] = np.rint(values[start + i] / divisor * np.float32(127))
    trace[n:] = 0


# --- phones -----------------------------------------------------------------------------------------------


@_compiled
def add_sums(
    activations: Float32[np.ndarray, "frame unit"],
    ids: Int16[np.ndarray, " frame"],
    lags: tuple[int, ...],
    step: float,
    sums: Int64[np.ndarray, "phone lag unit"],
) -> None:
    """Add each frame's activations, in whole `step`s, to the phone that is heard `lag` frames before, at every lag."""
    n_frames, n_units = activations.shape
    row = np.empty(n_units, np.int64)
    scale = np.float32(1 / step)
    for frame in range(n_frames):
        for unit in range(n_units):
            row[unit] = np.int64(np.rint(activations[frame, unit] * scale))
        for i in range(len(lags)):
            at = frame - lags[i]
            if 0 <= at < n_frames and ids[at] >= 0:
                sums_here = sums[ids[at], i]
                for unit in range(n_units):
                    sums_here[unit] += row[unit]


@_compiled
def look_up(bits: UInt32[np.ndarray, "frame unit"], shift: int, table: UInt8[np.ndarray, "_"]) -> np.ndarray:
    """What a table says of the leading bits of each number."""
    found = np.empty(bits.shape, table.dtype)
    for row in range(bits.shape[0]):
        for column in range(bits.shape[1]):
            found[row, column] = table[bits[row, column] >> shift]
    return found


@_compiled
def count_bins(
    bins: UInt8[np.ndarray, "unit frame"], frames: Int64[np.ndarray, " chosen"], counts: Int64[np.ndarray, "unit bin"]
) -> None:
    """Count the bins of each unit at some frames."""
    for unit in range(len(bins)):
        for frame in frames:
            counts[unit, bins[unit, frame]] += 1


@_compiled
def count_phones(
    bins: UInt8[np.ndarray, "unit frame"],
    frames: Int64[np.ndarray, " chosen"],
    cell: Int64[np.ndarray, " chosen"],
    group_cell: Int64[np.ndarray, " chosen"],
    shuffled_cell: Int64[np.ndarray, " chosen"],
    ranks: UInt8[np.ndarray, "unit bin"],
    histogram: UInt32[np.ndarray, "unit cell bin"],
    rank_sums: Int64[np.ndarray, "unit group_cell"],
    shuffled_rank_sums: Int64[np.ndarray, "unit shuffled_cell"],
) -> None:
    """Count some frames of each unit by their bins in the cells of their phones, and add up the ranks of the bins."""
    for unit in range(len(bins)):
        for i in range(len(frames)):
            found = bins[unit, frames[i]]
            histogram[unit, cell[i], found] += 1
            rank_sums[unit, group_cell[i]] += ranks[unit, found]
            shuffled_rank_sums[unit, shuffled_cell[i]] += ranks[unit, found]


# --- packing (see `packing`) ------------------------------------------------------------------------------


@_compiled
def find_widths(
    values: Int[np.ndarray, "row column"],
    levels: Int64[np.ndarray, " level"],
    widths: UInt8[np.ndarray, "row every_level_above"],
) -> None:
    """Add to zeros, for each row, the bits that the largest of each block needs, then those that these need, and so
    on."""
    for row in range(len(values)):
        here, n_below = 0, levels[0]
        for level in range(1, len(levels)):
            for block in range(levels[level]):
                ored = np.int64(0)
                for i in range(block * BLOCK, min((block + 1) * BLOCK, n_below)):
                    ored |= values[row, i] if level == 1 else widths[row, here - n_below + i]
                while ored > 0:
                    ored >>= 1
                    widths[row, here + block] += 1
            here += levels[level]
            n_below = levels[level]


@_compiled
def write_rows(
    values: Int[np.ndarray, "row column"],
    widths: UInt8[np.ndarray, "row every_level_above"],
    levels: Int64[np.ndarray, " level"],
    starts: Int64[np.ndarray, " row"],
    data: UInt8[np.ndarray, " byte"],
) -> None:
    """Write each row where it begins: the topmost width, and below each level of widths the numbers of that width."""
    for row in range(len(values)):
        at = starts[row]
        above = widths.shape[1] - 1
        data[at] = widths[row, above]
        at += 1
        for level in range(len(levels) - 2, -1, -1):
            n = levels[level]
            for block in range(levels[level + 1]):
                first = block * BLOCK
                for bit in range(widths[row, above + block]):
                    byte = 0
                    for i in range(min(BLOCK, n - first)):
                        number = values[row, first + i] if level == 0 else widths[row, above - n + first + i]
                        byte |= ((number >> bit) & 1) << (BLOCK - 1 - i)
                    data[at] = byte
                    at += 1
            above -= n
