"""Tables of small whole numbers, packed row by row: a row can be read alone, from a memory map.

Eight neighbours form a block and take as many bits each as the largest of them needs, so a block of w bits is w bytes:
its bit planes, lowest first. The widths of the blocks, mostly zero where a table is sparse, are packed in the same way
and lie before them, and so are the widths of those, down to a single block. (Frame-of-reference coding, Goldstein,
Ramakrishnan and Shaft 1998; everything runs over all rows at once.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Int, Int64, UInt8

    Rows = Int[np.ndarray, "row column"]

BLOCK = 8  # numbers; bits of a byte


def zigzag(values: Int64[np.ndarray, "*any"]) -> Int64[np.ndarray, "*any"]:
    """Signed numbers as unsigned ones, small ones small: 0, -1, 1, -2 become 0, 1, 2, 3."""
    folded: Int64[np.ndarray, "*any"] = (values << 1) ^ (values >> 63)
    return folded


def unzigzag(values: Int64[np.ndarray, "*any"]) -> Int64[np.ndarray, "*any"]:
    """The inverse of `zigzag`."""
    unfolded: Int64[np.ndarray, "*any"] = (values >> 1) ^ -(values & 1)
    return unfolded


def pack_rows(values: Rows) -> tuple[Int64[np.ndarray, " row_plus_one"], UInt8[np.ndarray, " byte"]]:
    """Where each row begins, and all rows one after the other; from numbers of 0 to 2**63 - 1."""
    from wspy.atlas.loops import find_widths, write_rows

    values, levels = np.ascontiguousarray(values), np.array(_levels(values.shape[1]))
    widths = np.zeros((len(values), levels[1:].sum()), np.uint8)
    find_widths(values, levels, widths)
    # The topmost level is one number of a byte; below it each level takes the sum of the widths above.
    offset = np.concatenate([np.zeros(1, np.int64), 1 + widths.sum(axis=1, dtype=np.int64)]).cumsum()
    data = np.zeros(int(offset[-1]), np.uint8)
    write_rows(values, widths, levels, offset, data)
    return offset, data


def unpack_rows(offset: Int64[np.ndarray, " row_plus_one"], data: UInt8[np.ndarray, " byte"], n_columns: int) -> Rows:
    """The numbers of consecutive rows; `offset` may count from anywhere, `data` begins with the first row.

    Raises:
        ValueError: the bytes are not such rows.
    """
    values = np.zeros((len(offset) - 1, n_columns), np.int64)
    starts = np.asarray(offset, np.int64)[:-1] - int(offset[0])
    if len(offset) > 1:
        ends = _unpacked(data, starts, values)
        if not np.array_equal(ends, np.asarray(offset, np.int64)[1:] - int(offset[0])):
            raise ValueError("rows whose lengths contradict their content")
    return values


def _levels(n_columns: int) -> list[int]:
    """How many numbers each level has: the values, the widths of their blocks, the widths of those, to one block."""
    levels = [n_columns]
    while len(levels) < 2 or levels[-1] > 1:
        levels.append(max(-(-levels[-1] // BLOCK), 1))
    return levels


def _unpacked(data: UInt8[np.ndarray, " byte"], at: Int64[np.ndarray, " row"], out: Rows) -> Int64[np.ndarray, " row"]:
    """Fill `out` from rows that begin at `at`; gives where they end."""
    widths = _taken(data, at)[:, None].astype(np.int64)
    at = at + 1
    for n_columns in _levels(out.shape[1])[-2::-1]:
        some = np.nonzero(widths)
        width, place = widths[some], (at[:, None] + widths.cumsum(axis=1) - widths)[some]
        if width.max(initial=0) > 63:
            raise ValueError("numbers of more than 63 bits")
        found = np.zeros((len(width), BLOCK), np.int64)
        for bit in range(int(width.max(initial=0))):
            used = np.flatnonzero(width > bit)
            planes = np.unpackbits(_taken(data, place[used] + bit)[:, None], axis=1)
            found[used] |= planes.astype(np.int64) << bit
        blocks = np.zeros((*widths.shape, BLOCK), np.int64)
        blocks[some] = found
        at = at + widths.sum(axis=1)
        widths = blocks.reshape(len(out), -1)[:, :n_columns]
    out[:] = widths
    return at


def _taken(data: UInt8[np.ndarray, " byte"], at: Int64[np.ndarray, "*any"]) -> UInt8[np.ndarray, "*any"]:
    if len(at) and int(at.max()) >= len(data):
        raise ValueError("rows that end too early")
    taken: UInt8[np.ndarray, "*any"] = data[at]
    return taken
