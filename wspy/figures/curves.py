"""Lines over a common axis, each with the interval around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from pydantic import JsonValue

from wspy.blocks import Figure
from wspy.figures.base import PALETTE, Json, plain, plain_layout

DASHES = ("solid", "dash", "dot", "dashdot")  # the palette comes round again with another dash
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")


@dataclass(frozen=True)
class Curve:
    """One line: a value for each `x`, with an interval where `lower` and `upper` bound it; None leaves a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    lower: Sequence[float | None] | None = None
    upper: Sequence[float | None] | None = None


def curves(
    title: str,
    series: Sequence[Curve],
    *,
    x_title: str,
    y_title: str,
    log_x: bool = False,
    x_labels: Sequence[tuple[float, str]] = (),
    caption: str = "",
) -> Figure:
    """Lines with markers, one colour and symbol each; intervals as shaded bands.

    Args:
        x_title, y_title: what is drawn, with its unit.
        log_x: draw x by its logarithm; all of it must be above zero.
        x_labels: where ticks stand and what they say; Plotly's own where there are none.

    Raises:
        ValueError: sequences that differ in length, one bound without the other, or an x that has no logarithm.
    """
    for curve in series:
        _check(curve, log_x)
    data: list[JsonValue] = []
    for n, curve in enumerate(series):
        color = PALETTE[n % len(PALETTE)]
        data += _bands(curve, color)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": plain(curve.name),
                "x": [float(x) for x in curve.x],
                "y": [None if y is None else float(y) for y in curve.y],
                "customdata": _intervals(curve),
                "line": {"color": color, "width": 2, "dash": DASHES[n // len(PALETTE) % len(DASHES)]},
                "marker": {"color": color, "size": 7, "symbol": SYMBOLS[n % len(SYMBOLS)]},
                "hovertemplate": "%{fullData.name}: %{y:.3g}%{customdata} at %{x}<extra></extra>",
                "showlegend": len(series) > 1,
            }
        )
    layout = plain_layout(340)
    horizontal: Json = {"title": {"text": plain(x_title), "standoff": 8}, "zeroline": False, "automargin": True}
    if log_x:
        horizontal["type"] = "log"
    if x_labels:
        horizontal |= {"tickvals": [x for x, _ in x_labels], "ticktext": [plain(label) for _, label in x_labels]}
    layout["xaxis"] = horizontal
    layout["yaxis"] = {"title": {"text": plain(y_title)}, "rangemode": "tozero", "zeroline": True, "automargin": True}
    layout["legend"] = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
    return Figure(title=title, caption=caption, spec={"data": data, "layout": layout})


def _check(curve: Curve, log_x: bool) -> None:
    for name, values in (("y", curve.y), ("lower", curve.lower), ("upper", curve.upper)):
        if values is not None and len(values) != len(curve.x):
            raise ValueError(f"{curve.name}: {len(curve.x)} x, but {len(values)} {name}")
    if (curve.lower is None) != (curve.upper is None):
        raise ValueError(f"{curve.name}: an interval needs both lower and upper")
    if log_x and any(x <= 0 for x in curve.x):
        raise ValueError(f"{curve.name}: an x of zero or below has no logarithm")


def _bounds(curve: Curve) -> list[tuple[float | None, float | None]]:
    if curve.lower is None or curve.upper is None:
        return [(None, None)] * len(curve.x)
    return list(zip(curve.lower, curve.upper, strict=True))


def _intervals(curve: Curve) -> list[JsonValue]:
    """What the hover text says of the interval."""
    return ["" if low is None or up is None else f" ({low:.3g} to {up:.3g})" for low, up in _bounds(curve)]


def _bands(curve: Curve, color: str) -> list[JsonValue]:
    """A polygon for each stretch without a gap: there along the upper bounds and back along the lower."""
    stretches: list[list[tuple[float, float, float]]] = [[]]
    for x, (low, up) in zip(curve.x, _bounds(curve), strict=True):
        if low is None or up is None:
            stretches.append([])
        else:
            stretches[-1].append((float(x), float(low), float(up)))
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [x for x, _, _ in chain(stretch, reversed(stretch))],
            "y": [*(up for _, _, up in stretch), *(low for _, low, _ in reversed(stretch))],
            "fill": "toself",
            "fillcolor": _faint(color),
            "line": {"width": 0},
            "hoverinfo": "skip",
            "showlegend": False,
        }
        for stretch in stretches
        if stretch
    ]


def _faint(color: str) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
