"""What every figure is made of: Plotly's typed arrays, labels as they are, one palette and one plain layout."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

if TYPE_CHECKING:
    from jaxtyping import Shaped

Json = dict[str, JsonValue]

# Okabe and Ito's colours, which every common kind of colour vision tells apart; not the yellow, faint on white.
BLUE, ORANGE, GREEN, VERMILLION, SKY, PINK, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#999999",
)
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, VERMILLION)
ON_PALETTE = ("#ffffff", "#111111", "#ffffff", "#111111", "#111111", "#ffffff")
PATTERNS = ("", "/", ".", "x")  # the palette comes round again with another pattern
# Plotly's scripts do not know the scale by name.
MAGMA = ("#000004", "#180f3d", "#440f76", "#721f81", "#9e2f7f", "#cd4071", "#f1605d", "#fd9668", "#feca8d", "#fcfdbf")
LEFT = 62  # pixels; the same in every figure, so that axes line up down a page


def plain(text: str) -> str:
    """Text that Plotly shows letter by letter: it would take `<b>` or `<a href=...>` in a label as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def typed(array: Shaped[np.ndarray, "..."]) -> Json:
    """An array in Plotly's base64 form, little endian; `shape` is written where there is more than one axis."""
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    packed: Json = {
        "dtype": f"{array.dtype.kind}{array.dtype.itemsize}",
        "bdata": base64.b64encode(array.tobytes()).decode("ascii"),
    }
    if array.ndim > 1:
        packed["shape"] = ", ".join(str(length) for length in array.shape)
    return packed


def color_scale(stops: Sequence[str]) -> list[JsonValue]:
    """Equally spaced colours as Plotly wants them."""
    return [[i / (len(stops) - 1), color] for i, color in enumerate(stops)]


def label_axis(labels: Sequence[str], title: str) -> Json:
    """Numbered positions with the labels as ticks, so that two equal labels stay two bars."""
    shown = [label if len(label) <= 24 else label[:23] + "…" for label in labels]
    return {
        "title": {"text": plain(title), "standoff": 8},
        "tickvals": list(range(len(labels))),
        "ticktext": [plain(label) for label in shown],
        "range": [len(labels) - 0.5, -0.5],
        "ticklabelstandoff": 4,
        "automargin": True,
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
    }


def same_length(*, labels: Sequence[str], **others: Sequence[float] | None) -> None:
    for name, values in others.items():
        if values is not None and len(values) != len(labels):
            raise ValueError(f"{len(labels)} labels, but {len(values)} {name}")


def rows_height(rows: int) -> int:
    return 22 * max(rows, 2) + 70


def plain_layout(height: int) -> Json:
    return {
        "height": height,
        "margin": {"l": LEFT, "r": 16, "t": 16, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "hovermode": "closest",
        "showlegend": True,
    }
