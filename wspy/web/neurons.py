"""All neurons of a layer as a table and as a map: what to read, what to filter by, and where to begin."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wspy.web.pictures import NO_GROUP, chips_html, map_html

if TYPE_CHECKING:
    from jaxtyping import Float

    from wspy.atlas import SiteAtlas
    from wspy.units import UnitResult

Row = tuple[int | float | str | None, ...]
EVERY, LABELLED = "all neurons", "with a label"
ENCODER = ("neuron", "label", "class", "AUROC", "purity", "density")
DECODER = ("neuron", "speaks for", "effect", "density")
_BY_PHONES = (
    "Two neurons are near where they tell phones apart alike: the first two principal components of their AUROC."
)
_BY_WRITING = "Near where they write alike: the first two principal components of their directions."


@dataclass(frozen=True)
class NeuronLayer:
    """The neurons of a layer: the best to begin with first."""

    headers: tuple[str, ...]
    rows: tuple[Row, ...]
    places: dict[int, tuple[float, float]]
    """Of each neuron on the map."""
    caption: str

    @property
    def groups(self) -> dict[int, str]:
        """What each neuron belongs to, where that is known."""
        at = self.headers.index("class") if "class" in self.headers else None
        return {int(row[0] or 0): str((row[at] if at is not None else None) or NO_GROUP) for row in self.rows}

    def kinds(self) -> list[str]:
        """What can be filtered by: classes of phones, then phones."""
        if "class" not in self.headers:
            return [EVERY]
        names = [sorted({str(row[at]) for row in self.rows if row[at]}) for at in (2, 1)]
        return [EVERY, LABELLED, *dict.fromkeys([*names[0], *names[1]])]

    def listed(self, wanted: str) -> list[Row]:
        """The rows of a kind."""
        return [row for row in self.rows if _fits(row, wanted)]

    def map_html(self, wanted: str) -> str:
        """All neurons as points, in the order of the rows; those that are not wanted stand back."""
        groups = self.groups
        points = [
            (*self.places[int(row[0] or 0)], groups[int(row[0] or 0)], f"{row[0]}: {row[1] or 'no label'}, {row[3]}")
            for row in self.rows
        ]
        dim = {n for n, row in enumerate(self.rows) if not _fits(row, wanted)}
        return map_html(points, "Map of the neurons", caption=self.caption, dim=dim)

    def neuron(self, point: int) -> int:
        """The neuron of a point of the map."""
        return int(self.rows[point][0] or 0)

    def beginning(self) -> str:
        """One neuron of each group to press, or the first ones where there are no groups."""
        groups = self.groups
        chosen: dict[str, Row] = {}
        for row in self.rows:
            chosen.setdefault(groups[int(row[0] or 0)], row)
        rows = list(chosen.values()) if len(chosen) > 1 else list(self.rows[:6])
        return chips_html("Begin with:", [(str(row[0]), f"{row[0]} ({row[1] or 'no label'})") for row in rows])


def encoder_layer(labels: Path, atlas: SiteAtlas) -> NeuronLayer:
    """From the table that the analysis `phones` keeps of a layer."""
    from wspy.atlas import auroc_table

    density = atlas.densities()
    with labels.open(encoding="utf-8") as lines:
        rows: list[Row] = [
            (
                int(row["unit"]),
                row["label"] or "",
                row["label_class"] or "",
                round(float(row["auroc"]), 3),
                round(float(row["purity"]), 3) if row["purity"] else None,
                round(float(density[int(row["unit"])]), 3),
            )
            for row in csv.DictReader(lines)
        ]
    table = auroc_table(atlas.phones())[:, 2]
    places = _places(table[:, ~np.isnan(table).any(axis=0)])
    return NeuronLayer(
        ENCODER, tuple(sorted(rows, key=lambda row: (not row[1], -float(row[3] or 0)))), places, _BY_PHONES
    )


def decoder_layer(atlas: SiteAtlas) -> NeuronLayer:
    """From the atlas alone: the tokens that each neuron speaks for, most strongly first."""
    density, directions = atlas.densities(), atlas.directions()
    rows: list[Row] = [
        (
            n,
            ", ".join(f"“{one.token}”" for one in unit.promoted[:3]),
            round(unit.promoted[0].effect, 2),
            round(float(density[n]), 3),
        )
        for n, unit in enumerate(atlas.effects() or [])
    ]
    places = _places(np.zeros((len(rows), 2)) if directions is None else directions.astype(np.float64))
    return NeuronLayer(DECODER, tuple(sorted(rows, key=lambda row: -float(row[2] or 0))), places, _BY_WRITING)


def near_html(found: UnitResult) -> str:
    """The neurons that resemble one, to press."""
    lines = (("Writes alike (cosine):", found.near_direction), ("Active at the same phones (r):", found.near_phones))
    return "".join(
        chips_html(label, [(str(one.unit), f"{one.unit} ({one.similarity:.2f})") for one in neighbours])
        for label, neighbours in lines
    )


def _fits(row: Sequence[object], wanted: str) -> bool:
    return wanted == EVERY or bool(row[1] if wanted == LABELLED else wanted in row[1:3])


def _places(rows: Float[np.ndarray, "unit _"]) -> dict[int, tuple[float, float]]:
    left, sizes, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return {n: (float(x), float(y)) for n, (x, y) in enumerate(left[:, :2] * sizes[:2])}
