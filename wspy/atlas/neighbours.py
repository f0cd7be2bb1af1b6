"""Units that resemble a unit: by what they write into the residual stream, and by the phones that they answer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wspy.atlas.phone_arrays import LAGS

if TYPE_CHECKING:
    from jaxtyping import Float, Float16, Float64

    from wspy.atlas.store import SiteAtlas
    from wspy.model import Model

MIN_FRAMES = 50  # a phone with fewer says too little about a unit's mean


@dataclass(frozen=True)
class Neighbour:
    """Another unit of the same site."""

    unit: int
    similarity: float
    """From -1 to 1."""


def unit_directions(model: Model, site: str) -> Float16[np.ndarray, "unit d_model"] | None:
    """What each unit of a site adds to the residual stream, at length 1; None for sites other than MLP neurons."""
    if not site.endswith(".mlp.1"):
        return None
    written = model.whisper.get_submodule(f"{site[:-1]}2").weight.detach().float().cpu().numpy().T
    directions: Float16[np.ndarray, "unit d_model"] = at_length_one(written).astype(np.float16)
    return directions


def nearest_by_direction(atlas: SiteAtlas, idx: int, n: int) -> list[Neighbour]:
    """The units whose directions in the residual stream have the highest cosine with the unit's; none for sites that
    have no directions."""
    directions = atlas.directions()
    if directions is None:
        return []
    return _highest(directions.astype(np.float32) @ directions[idx].astype(np.float32), idx, n)


def nearest_by_phones(atlas: SiteAtlas, idx: int, n: int) -> list[Neighbour]:
    """The units whose mean activations at each phone correlate most with the unit's (Pearson's r over phones), at the
    site's lag; none where no phones were counted."""
    if not atlas.has_phones:
        return []
    units = atlas.phones()
    at = LAGS.index(units.lag)
    means = units.means[:, units.counts[:, at] >= MIN_FRAMES, at]
    if means.shape[1] < 3:
        return []
    profiles = at_length_one(means - means.mean(axis=1, keepdims=True))
    return _highest(profiles @ profiles[idx], idx, n)


def at_length_one(rows: Float[np.ndarray, "unit direction"]) -> Float64[np.ndarray, "unit direction"]:
    """Each row divided by its length; a row of zeros stays."""
    long = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(long, axis=1, keepdims=True)
    scaled: Float64[np.ndarray, "unit direction"] = long / np.where(lengths > 0, lengths, 1)
    return scaled


def _highest(similarity: Float[np.ndarray, " unit"], idx: int, n: int) -> list[Neighbour]:
    order = [unit for unit in np.argsort(-similarity, kind="stable").tolist() if unit != idx]
    return [Neighbour(unit, float(similarity[unit])) for unit in order[:n]]
