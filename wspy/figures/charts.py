"""Histograms and bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from wspy.blocks import Figure
from wspy.figures.base import (
    BLUE,
    GREY,
    ON_PALETTE,
    PALETTE,
    PATTERNS,
    VERMILLION,
    Json,
    label_axis,
    plain,
    plain_layout,
    rows_height,
    same_length,
    typed,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


def histogram(
    title: str,
    edges: Sequence[float] | Float[np.ndarray, " _"],
    counts: Sequence[float] | Shaped[np.ndarray, " _"],
    *,
    x_title: str,
    y_title: str = "clips",
    marks: Sequence[tuple[float, str]] = (),
    log_y: bool = False,
    caption: str = "",
) -> Figure:
    """A histogram from its edges and counts, with labelled positions marked above it.

    Args:
        x_title: What is counted, with its unit.
        marks: Positions and their labels; a label that would cover its neighbour shows on hover only.

    Raises:
        ValueError: there is not one edge more than there are counts.
    """
    borders, heights = np.asarray(edges, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if len(borders) != len(heights) + 1:
        raise ValueError(f"{len(heights)} counts need {len(heights) + 1} edges, not {len(borders)}")
    layout = plain_layout(300)
    layout["bargap"] = 0
    layout["xaxis"] = {
        "title": {"text": plain(x_title), "standoff": 8},
        "range": _x_range(borders, marks),
        "zeroline": False,
    }
    vertical: Json = {"title": {"text": plain(y_title)}, "domain": [0, 0.84 if marks else 1], "fixedrange": True}
    if log_y:
        most = math.log10(max(float(heights.max(initial=1)), 1))
        vertical |= {"type": "log", "dtick": 1, "range": [-0.3, most + 0.1]}  # a bar of one is seen, too
    else:
        vertical["rangemode"] = "tozero"
    layout["yaxis"] = vertical
    data: list[JsonValue] = [
        {
            "type": "bar",
            "x": typed((borders[1:] + borders[:-1]) / 2),
            "width": typed(np.diff(borders)),
            "y": typed(heights),
            "customdata": typed(np.stack([borders[:-1], borders[1:]], axis=1)),
            "marker": {"color": BLUE, "line": {"width": 0}},
            "hovertemplate": "%{y} from %{customdata[0]:.3g} to %{customdata[1]:.3g}<extra></extra>",
            "showlegend": False,
        }
    ]
    if marks:
        layout["yaxis2"] = {"domain": [0.86, 1], "range": [0, 1], "visible": False, "fixedrange": True}
        data.append(_marks_trace(marks, borders))
    return Figure(title=title, caption=caption, spec={"data": data, "layout": layout})


def _x_range(borders: Float[np.ndarray, " _"], marks: Sequence[tuple[float, str]]) -> list[JsonValue]:
    """All borders and marks, with a little air."""
    points = [*borders[[0, -1]].tolist(), *(x for x, _ in marks)]
    air = 0.02 * (max(points) - min(points) or 1.0)
    return [min(points) - air, max(points) + air]


def _marks_trace(marks: Sequence[tuple[float, str]], borders: Float[np.ndarray, " _"]) -> Json:
    ordered = sorted(marks)
    low, high = (float(v) for v in _x_range(borders, marks) if isinstance(v, int | float))
    texts: list[JsonValue] = []
    free_from = -math.inf
    for x, label in ordered:
        half = 0.013 * (len(label) + 1) * (high - low)  # about 7 px a letter on a figure of 350 px
        fits = x - half >= max(free_from, low) and x + half <= high + half / 2
        texts.append(plain(label) if fits else "")
        free_from = x + half if fits else free_from
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [x for x, _ in ordered],
        "y": [0.2] * len(ordered),
        "yaxis": "y2",
        "text": texts,
        "customdata": [plain(label) for _, label in ordered],
        "textposition": "top center",
        "textfont": {"size": 11},
        "cliponaxis": False,
        "marker": {"symbol": "triangle-down", "size": 9, "color": VERMILLION},
        "hovertemplate": "%{customdata}: %{x:.3g}<extra></extra>",
        "showlegend": False,
    }


def bars(
    title: str,
    labels: Sequence[str],
    values: Sequence[float],
    *,
    x_title: str,
    y_title: str,
    lower: Sequence[float] | None = None,
    upper: Sequence[float] | None = None,
    caption: str = "",
) -> Figure:
    """Horizontal bars, the first on top, with confidence intervals where `lower` and `upper` bound them.

    Raises:
        ValueError: the sequences differ in length, or one bound comes without the other.
    """
    same_length(values=values, labels=labels, lower=lower, upper=upper)
    if (lower is None) != (upper is None):
        raise ValueError("a confidence interval needs both lower and upper")
    trace: Json = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(labels))),
        "x": [float(value) for value in values],
        "customdata": [plain(label) for label in labels],
        "marker": {"color": BLUE, "line": {"width": 0}},
        "hovertemplate": "%{customdata}: %{x:.3g}<extra></extra>",
        "showlegend": False,
    }
    if lower is not None and upper is not None:
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, float(u - v)) for u, v in zip(upper, values, strict=True)],
            "arrayminus": [max(0.0, float(v - low)) for low, v in zip(lower, values, strict=True)],
            "color": GREY,
            "thickness": 1.5,
            "width": 4,
        }
    layout = plain_layout(rows_height(len(labels)))
    layout["bargap"] = 0.3
    layout["xaxis"] = {"title": {"text": plain(x_title), "standoff": 8}, "zeroline": True}
    layout["yaxis"] = label_axis(labels, y_title)
    return Figure(title=title, caption=caption, spec={"data": [trace], "layout": layout})


def stacked_bars(
    title: str,
    rows: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    x_title: str,
    y_title: str,
    caption: str = "",
) -> Figure:
    """Horizontal bars, the first on top, each made of one part per series with its name inside where it fits.

    `series` gives for each name one value per row. Raises ValueError where it does not.
    """
    data: list[JsonValue] = []
    for n, (name, values) in enumerate(series.items()):
        same_length(values=values, labels=rows)
        shape = PATTERNS[n // len(PALETTE) % len(PATTERNS)]
        pattern: Json = {"shape": shape, "fillmode": "overlay", "fgcolor": "#ffffff", "fgopacity": 0.45, "size": 7}
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": plain(name),
                "y": list(range(len(rows))),
                "x": [float(value) for value in values],
                "text": [plain(name) if value else "" for value in values],
                "textposition": "inside",
                "insidetextanchor": "middle",
                "textangle": 0,
                "insidetextfont": {"size": 11, "color": ON_PALETTE[n % len(PALETTE)]},
                "customdata": [[plain(name), plain(row)] for row in rows],
                "marker": {"color": PALETTE[n % len(PALETTE)], "pattern": pattern, "line": {"width": 0}},
                "hovertemplate": "%{customdata[0]}: %{x:.3g} (%{customdata[1]})<extra></extra>",
            }
        )
    legend_rows = math.ceil(len(series) / 3)  # as on a narrow screen
    layout = plain_layout(rows_height(len(rows)) + 20 * legend_rows + 10)
    layout["barmode"] = "stack"
    layout["bargap"] = 0.25
    layout["uniformtext"] = {"mode": "hide", "minsize": 9}
    layout["xaxis"] = {"title": {"text": plain(x_title), "standoff": 8}, "zeroline": False}
    layout["yaxis"] = label_axis(rows, y_title)
    layout["legend"] = {
        "orientation": "h",
        "traceorder": "normal",
        "x": 0,
        "xanchor": "left",
        "y": 1.02,
        "yanchor": "bottom",
    }
    return Figure(title=title, caption=caption, spec={"data": data, "layout": layout})
