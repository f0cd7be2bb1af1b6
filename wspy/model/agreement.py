"""How well the condensed pass agrees with the whole window: Pearson's r of each unit over the frames of clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from wspy.audio import n_frames
from wspy.errors import InputError
from wspy.model.condensed import plan_frames
from wspy.model.hooks import capture, encode
from wspy.model.load import Model
from wspy.model.mels import mel_batch
from wspy.model.sites import Site, match_sites

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64

LIVE_STD = 1e-3
"""A unit that varies less than this over the clips is not live: what it does is rounding."""

_BATCH_CLIPS = 4


@dataclass(frozen=True, eq=False)
class Agreement:
    """One site, over the valid frames of the clips that have a plan.

    `r` is NaN for units that are not live (in the exact pass their standard deviation is at most `LIVE_STD`) and
    everywhere where no clip has a plan.
    """

    site: str
    r: Float64[np.ndarray, "unit"]
    n_clips: int
    n_frames: int

    @property
    def n_live(self) -> int:
        """How many units `r` is known of."""
        return int(np.isfinite(self.r).sum())

    def quantile(self, share: float) -> float:
        """The r that this share of the live units stays below; NaN without live units."""
        return float(np.nanquantile(self.r, share)) if self.n_live else float("nan")


def measure_agreement(
    model: Model, sites: str | Sequence[str], clips: Iterable[Float32[np.ndarray, "sample"]]
) -> list[Agreement]:
    """Run every clip twice, condensed and exact, and correlate what each unit does.

    Keeps sums, no activations. A clip that leaves too little padding is exact at either speed, and is left out.

    Args:
        sites: names or patterns of encoder sites with one row per frame (neither a convolution nor a pattern).
        clips: mono, 16 kHz, 30 seconds at most.

    Returns:
        One for each site, in the order of `list_sites`.

    Raises:
        UnknownSite: a pattern that matches nothing.
        InputError: a site of another kind.
    """
    chosen = match_sites(sites, model.dims)
    for site in chosen:
        if site.side != "encoder" or site.kind in ("conv", "pattern"):
            raise InputError(f"{site.name} has no row per audio frame: choose encoder sites that have.")
    sums = [_Sums(site.n_units) for site in chosen]
    n_clips = 0
    remaining = iter(clips)
    with torch.inference_mode():
        while batch := list(islice(remaining, _BATCH_CLIPS)):
            n_clips += _compare(model, chosen, batch, sums)
    return [Agreement(site.name, sum_.pearson(), n_clips, sum_.n) for site, sum_ in zip(chosen, sums, strict=True)]


def _compare(
    model: Model, sites: Sequence[Site], batch: Sequence[Float32[np.ndarray, "sample"]], sums: Sequence[_Sums]
) -> int:
    """Add a batch to the sums; how many of its clips have a plan."""
    names = [site.name for site in sites]
    plans = [plan_frames(model, n_frames(len(samples))) for samples in batch]
    planned = [at for at, plan in enumerate(plans) if plan is not None]
    if not planned:
        return 0
    mels = mel_batch(model, [batch[at] for at in planned])
    with capture(model, names) as cache:
        encode(model, mels, stop_after=names[-1])
        exact = [cache[name] for name in names]
        for plan in dict.fromkeys(plans[at] for at in planned):
            rows = [row for row, at in enumerate(planned) if plans[at] == plan]
            encode(model, mels[rows], stop_after=names[-1], plan=plan)
            for name, whole, sum_ in zip(names, exact, sums, strict=True):
                for place, row in enumerate(rows):
                    valid = slice(n_frames(len(batch[planned[row]])))
                    sum_.add(whole[row, valid], cache[name][place, valid])
    return len(planned)


class _Sums:
    """Running sums of x (exact), y (condensed), their squares and product, in double precision."""

    def __init__(self, n_units: int) -> None:
        self.n = 0
        self.moments = np.zeros((5, n_units))

    def add(self, exact: torch.Tensor, condensed: torch.Tensor) -> None:
        x, y = (part.flatten(1).double() for part in (exact, condensed))
        terms: Iterator[torch.Tensor] = (term.sum(0) for term in (x, y, x * x, y * y, x * y))
        self.moments += torch.stack(list(terms)).cpu().numpy()
        self.n += len(x)

    def pearson(self) -> Float64[np.ndarray, "unit"]:
        if not self.n:
            return np.full(self.moments.shape[1], np.nan)
        x, y, xx, yy, xy = self.moments / self.n
        var_x, var_y = xx - x * x, yy - y * y
        live = var_x > LIVE_STD**2
        r = np.full(len(x), np.nan)
        # A unit that the condensed pass leaves constant does not agree at all.
        product = np.sqrt(np.maximum(var_x * var_y, np.finfo(np.float64).tiny))
        r[live] = np.clip(((xy - x * y) / product)[live], -1.0, 1.0)
        return r
