"""Points in a plane, with what they are on hover; a page finds them by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from wspy.blocks import Figure
from wspy.figures.base import GREY, PALETTE, VERMILLION, Json, plain, plain_layout, typed

if TYPE_CHECKING:
    from jaxtyping import Float

SYMBOLS = ("circle", "square", "diamond", "cross", "x")
MANY_GROUPS = 12  # beyond, a legend says nothing: colours only, and names on hover
_WIDTH, _LETTER, _LINE = 900, 7.0, 15.0  # pixels: of a usual figure, of a letter and of a line of text
_MARKS = (VERMILLION, *(color for color in PALETTE if color != VERMILLION))


def scatter(
    title: str,
    x: Sequence[float] | Float[np.ndarray, " _"],
    y: Sequence[float] | Float[np.ndarray, " _"],
    labels: Sequence[str],
    *,
    x_title: str,
    y_title: str,
    groups: Sequence[str | None] | None = None,
    highlights: Mapping[str, Sequence[int]] | None = None,
    caption: str = "",
    height: int = 560,
) -> Figure:
    """Points, each with its label on hover, coloured by group; highlighted ones on top, labelled where there is room.

    Args:
        x_title: What the axis shows, with its unit; so too `y_title`.
        groups: One name per point; None leaves a point grey. Up to `MANY_GROUPS` groups stand in the legend.
        highlights: For each name of a legend entry the positions of its points, the most important first; an empty one
            is left out.

    Raises:
        ValueError: the sequences differ in length, or a highlighted position does not exist.
    """
    places = np.stack([np.asarray(x, dtype=np.float32), np.asarray(y, dtype=np.float32)], axis=1)
    if not len(places) == len(labels) == len(labels if groups is None else groups):
        raise ValueError(f"{len(places)} points need as many labels and groups")
    names = [None] * len(labels) if groups is None else list(groups)
    data: list[JsonValue] = [*_crowd(places, labels, names)]
    marked = {name: list(members) for name, members in (highlights or {}).items() if members}
    if any(not 0 <= member < len(labels) for members in marked.values() for member in members):
        raise ValueError("a highlighted point does not exist")
    written = _without_overlap(places, labels, [member for members in marked.values() for member in members], height)
    traces = [_highlight(n, name, members, places, labels, written) for n, (name, members) in enumerate(marked.items())]
    data += reversed(traces)  # the first on top
    layout = plain_layout(height)
    layout["xaxis"] = {"title": {"text": plain(x_title), "standoff": 8}, "zeroline": False}
    layout["yaxis"] = {"title": {"text": plain(y_title), "standoff": 8}, "zeroline": False}
    layout["dragmode"] = "zoom"
    layout["legend"] = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
    return Figure(title=title, caption=caption, spec={"data": data, "layout": layout}, search=True)


def _crowd(places: Float[np.ndarray, "_ 2"], labels: Sequence[str], names: Sequence[str | None]) -> list[Json]:
    """All points: a trace per group where a legend can hold them, else one trace with a colour per point."""
    order = list(dict.fromkeys(name for name in names if name is not None))
    texts = [plain(label) for label in labels]
    hover = [text if name is None else f"{text} ({plain(name)})" for text, name in zip(texts, names, strict=True)]
    if len(order) > MANY_GROUPS:
        color_of = {name: PALETTE[n % len(PALETTE)] for n, name in enumerate(order)}
        colors: list[JsonValue] = [GREY if name is None else color_of[name] for name in names]
        return [_points("", places, texts, hover, {"color": colors, "size": 5, "opacity": 0.6})]
    traces = []
    for name in [None, *order]:
        members = [at for at, own in enumerate(names) if own == name]
        if not members:
            continue
        n = 0 if name is None else order.index(name)
        marker: Json = {
            "color": GREY if name is None else PALETTE[n % len(PALETTE)],
            "symbol": SYMBOLS[n // len(PALETTE) % len(SYMBOLS)],
            "size": 5,
            "opacity": 0.6,
        }
        legend = "no group" if name is None and order else name or ""
        traces.append(
            _points(legend, places[members], [texts[at] for at in members], [hover[at] for at in members], marker)
        )
    return traces


def _points(
    name: str, places: Float[np.ndarray, "_ 2"], texts: Sequence[str], hover: Sequence[str], marker: Json
) -> Json:
    return {
        "type": "scatter",  # and not scattergl, which shows nothing where the browser has no WebGL
        "mode": "markers",
        "name": plain(name),
        "showlegend": bool(name),
        "x": typed(places[:, 0]),
        "y": typed(places[:, 1]),
        "text": list(texts),  # what a search looks at
        "hovertext": list(hover),
        "marker": marker,
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def _without_overlap(
    places: Float[np.ndarray, "_ 2"], labels: Sequence[str], members: Sequence[int], height: int
) -> set[int]:
    """The points whose label has room when they are written in this order; the others show theirs on hover."""
    if not len(places):
        return set()
    span = np.maximum(np.ptp(places, axis=0), 1e-9)
    pixels = (places - places.min(axis=0)) / span * np.array([_WIDTH, height - 130])
    taken: list[tuple[float, float, float]] = []
    written: set[int] = set()
    for member in members:
        (x, y), half = pixels[member], _LETTER * len(labels[member]) / 2
        if all(abs(x - other_x) > half + other or abs(y - other_y) > _LINE for other_x, other_y, other in taken):
            written.add(member)
            taken.append((float(x), float(y), half))
    return written


def _highlight(
    n: int,
    name: str,
    members: Sequence[int],
    places: Float[np.ndarray, "_ 2"],
    labels: Sequence[str],
    written: set[int],
) -> Json:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": plain(name),
        "legendrank": 1 + n,
        "x": typed(places[list(members), 0]),
        "y": typed(places[list(members), 1]),
        "text": [plain(labels[member]) if member in written else "" for member in members],
        "customdata": [plain(labels[member]) for member in members],
        "textposition": "top center",
        "textfont": {"size": 12},
        "marker": {
            "color": _MARKS[n % len(_MARKS)],
            "symbol": SYMBOLS[n % len(SYMBOLS)],
            "size": 10,
            "line": {"width": 1, "color": "#ffffff"},
        },
        "hovertemplate": "%{customdata}: " + plain(name) + "<extra></extra>",
    }
