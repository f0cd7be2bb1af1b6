"""Numbers from maps: how far relevance reaches, where it goes after the end, and which frames a word came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def mass_within(relevance: Float[np.ndarray, "query key"], rows: slice, frames: int) -> float | None:
    """Share of the mass of some rows that lies at most `frames` from the diagonal; None where there is no mass."""
    part = np.asarray(relevance[rows], dtype=np.float64)
    total = part.sum()
    return float(part[_near(relevance.shape[1], rows, frames)].sum() / total) if total > 0 else None


def uniform_within(n_frames: int, rows: slice, frames: int) -> float | None:
    """`mass_within` of a map in which every frame looks at all frames alike."""
    near = _near(n_frames, rows, frames)
    return float(near.mean()) if near.size else None


def _near(n_frames: int, rows: slice, frames: int) -> Bool[np.ndarray, "query key"]:
    at = np.arange(n_frames)
    near: Bool[np.ndarray, "query key"] = np.abs(at[rows, None] - at[None, :]) <= frames
    return near


def mass_in(relevance: Float[np.ndarray, "query key"], rows: slice, columns: slice) -> float | None:
    """Share of the mass of some rows that lies in some columns; None where there is no mass."""
    part = np.asarray(relevance[rows], dtype=np.float64)
    total = part.sum()
    return float(part[:, columns].sum() / total) if total > 0 else None


def shortest_half(relevance: Float[np.ndarray, " frame"]) -> tuple[int, int] | None:
    """The shortest stretch of frames, first and one after the last, that holds half of the sum; None for no sum."""
    sums = np.concatenate([[0.0], np.cumsum(relevance, dtype=np.float64)])
    if not sums[-1] > 0:
        return None
    # For each first frame the end with which half is reached; no end for those too late.
    ends = np.searchsorted(sums, sums + sums[-1] / 2 - 1e-12 * sums[-1])
    starts = np.flatnonzero(ends < len(sums))
    best = starts[np.argmin(ends[starts] - starts)]
    return int(best), int(ends[best])


def inside(relevance: Float[np.ndarray, " frame"], span: slice) -> float | None:
    """Share of a sum that lies in a span; None for no sum."""
    total = float(relevance.sum(dtype=np.float64))
    return float(relevance[span].sum(dtype=np.float64)) / total if total > 0 else None


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of the known ones; None where there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
