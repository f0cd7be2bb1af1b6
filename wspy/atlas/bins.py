"""The bins in which activations are counted at each phone: 255, finest where a GELU's outputs crowd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32, UInt8

OCTAVES = ((-24, 1), (-9, 4), (-3, 8), (6, 4))
"""From which power of two on an octave has how many bins. GELU presses most of what a unit does into the tiny negative
values of its tail, which keep their order all the same: without the octaves below 2**-9 half of the units of a late
layer would have an AUROC that is wrong by more than 0.01."""
BOTTOM = (1.1875 / 8, 1.28125 / 8, 1.3125 / 8, 1.34375 / 8)
"""Edges more, around the lowest value of a GELU, -0.17: a tenth of all activations of an early layer lie within 0.014
of it. Without them one unit in twelve would have an AUROC that is wrong by more than 0.01 for some phone."""
END = 9  # the last bin of all ends at 2**9
_PER_SIDE = len(BOTTOM) + sum(n * (end - start) for (start, n), end in zip(OCTAVES, (-9, -3, 6, END), strict=True))
N_BINS = 1 + 2 * _PER_SIDE  # 255
ZERO_BIN = N_BINS // 2
_BITS = 14  # of a float32: sign, exponent and the first five of the mantissa, which hold all edges


def bin_edges() -> Float32[np.ndarray, " edge"]:
    """The 256 edges of the 255 bins, rising; the outermost bins also take what lies beyond them.

    Every octave is cut into one, four or eight equal parts (see `OCTAVES`), and one has a few cuts more (`BOTTOM`), so
    that the leading bits of a float32 give its bin. A bin holds its edge nearer to zero and not the other.
    """
    ends = [start for start, _ in OCTAVES[1:]] + [END]
    rising = [
        2.0**octave * (1 + i / n)
        for (start, n), end in zip(OCTAVES, ends, strict=True)
        for octave in range(start, end)
        for i in range(n)
    ]
    above = np.array(sorted([*rising, *BOTTOM, 2.0**END]), np.float32)
    edges: Float32[np.ndarray, " edge"] = np.concatenate([-above[::-1], above])
    return edges


def _bin_table() -> UInt8[np.ndarray, " leading"]:
    """The bin of each value of a float32's leading bits."""
    values = (np.arange(2**_BITS, dtype=np.uint32) << (32 - _BITS)).view(np.float32)
    above = bin_edges()[ZERO_BIN + 1 :]
    level = np.minimum(np.searchsorted(above, np.abs(values), side="right"), ZERO_BIN)
    table: UInt8[np.ndarray, " leading"] = np.where(np.signbit(values), ZERO_BIN - level, ZERO_BIN + level).astype("u1")
    return table


_BIN_OF = _bin_table()


def bins_of(activations: Float32[np.ndarray, "frame unit"]) -> UInt8[np.ndarray, "frame unit"]:
    """The bin of each activation."""
    from wspy.atlas.loops import look_up

    return look_up(np.ascontiguousarray(activations, np.float32).view("u4"), 32 - _BITS, _BIN_OF)
