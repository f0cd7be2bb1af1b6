"""The figures that analyses show, as plain Plotly JSON.

Everything here builds `wspy.blocks.Figure` without importing plotly. Arrays travel in Plotly's typed base64 form, which
keeps a report of sixty spectrograms near a megabyte. Backgrounds are transparent and no font colour is set: the page
that draws a figure brings its own theme, light or dark. Labels are shown as they are; Plotly's pseudo-HTML is escaped.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from pydantic import JsonValue

from wspy.audio import FRAME_S, HOP_SAMPLES, SAMPLE_RATE
from wspy.blocks import Figure

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

Json = dict[str, JsonValue]

MEL_FRAME_S = HOP_SAMPLES / SAMPLE_RATE
MEL_TOP_HZ = 8000.0

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
_ON_PALETTE = ("#ffffff", "#111111", "#ffffff", "#111111", "#111111", "#ffffff")
_PATTERNS = ("", "/", ".", "x")  # the palette comes round again with another pattern
_MAGMA = ("#000004", "#180f3d", "#440f76", "#721f81", "#9e2f7f", "#cd4071", "#f1605d", "#fd9668", "#feca8d", "#fcfdbf")
_WORD_TINTS, _PHONE_TINTS, _AT_PEAK = ("#a9cfea", "#c9e1f2"), ("#ead3a4", "#f4e6c8"), "#f5a36b"
_ON_TINT = "#1b1b1b"

_LEFT, _RIGHT = 62, 12  # pixels; the same in every spectrogram, so that time axes line up down a page
_TOP, _BOTTOM, _GAP = 20, 42, 9
_ACTIVATION_HEIGHT, _MEL_HEIGHT, _ROW_HEIGHT = 78, 140, 22


class Interval(Protocol):
    """A labelled stretch of time, such as `wspy.corpus.Interval`."""

    @property
    def start_s(self) -> float: ...

    @property
    def end_s(self) -> float: ...

    @property
    def label(self) -> str: ...


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


def mel_band(hz: float, n_mels: int) -> float:
    """Where a frequency lies among Whisper's mel bands: Slaney's scale, 0 to 8 kHz, band 0 the lowest."""

    def mel(f: float) -> float:
        return f * 3 / 200 if f < 1000 else 15 + math.log(f / 1000) * 27 / math.log(6.4)

    return mel(hz) / mel(MEL_TOP_HZ) * (n_mels + 1) - 1


def spectrogram(
    title: str,
    mel: Float[np.ndarray, "mel _"],
    *,
    duration_s: float,
    activation: Float[np.ndarray, " _"] | None = None,
    activation_s: Float[np.ndarray, " _"] | None = None,
    activation_label: str = "",
    words: Sequence[Interval] = (),
    phones: Sequence[Interval] = (),
    peak_s: float | None = None,
    caption: str = "",
) -> Figure:
    """A log-mel spectrogram with what happens along it, all on one time axis in seconds.

    Args:
        mel: Log-mel values, bands by mel frames of 10 ms; frames past `duration_s` are left out, and values are
            quantised to 256 steps.
        activation: Drawn above; `activation_label` names its axis.
        activation_s: The time of each of its values; without it, they are frames of 20 ms from 0 on.
        words: Drawn as a row of labelled intervals below, like `phones`.
        peak_s: A time to mark across the whole figure.

    Raises:
        ValueError: `mel` has no frames or no bands, or the duration is not positive.
    """
    if mel.ndim != 2 or 0 in mel.shape or not duration_s > 0:
        raise ValueError(f"a spectrogram needs bands x frames and a duration, not {mel.shape} and {duration_s} s")
    rows = [(name, intervals) for name, intervals in (("phones", phones), ("words", words)) if intervals]
    heights = [
        _ROW_HEIGHT * len(rows),
        _MEL_HEIGHT,
        _ACTIVATION_HEIGHT if activation is not None else 0,
    ]
    rows_at, mel_at, activation_at = _stack(heights)
    layout = _layout(sum(heights) + _GAP * (sum(h > 0 for h in heights) - 1) + _TOP + _BOTTOM)
    layout["margin"] = {"l": _LEFT, "r": _RIGHT, "t": _TOP, "b": _BOTTOM}
    lowest = "y3" if rows else "y"
    layout["xaxis"] = {
        "title": {"text": "time (s)", "standoff": 6},
        "range": [0, duration_s],
        "anchor": lowest,
        "zeroline": False,
        "showgrid": False,
        "ticks": "outside",
        "nticks": 9,
    }
    layout["yaxis"] = _mel_axis(mel.shape[0], mel_at)
    data: list[JsonValue] = [_mel_trace(mel, duration_s)]
    if activation is not None:
        layout["yaxis2"] = {
            "title": {"text": plain(activation_label) or "activation", "standoff": 4},
            "domain": activation_at,
            "fixedrange": True,
            "nticks": 4,
            "zeroline": True,
        }
        data.append(_activation_trace(activation, activation_s, duration_s))
    if rows:
        layout["uniformtext"] = {"mode": "hide", "minsize": 9}
        layout["barmode"] = "overlay"
        layout["yaxis3"] = {
            "domain": rows_at,
            "range": [-0.5, len(rows) - 0.5],
            "tickvals": list(range(len(rows))),
            "ticktext": [name for name, _ in rows],
            "fixedrange": True,
            "showgrid": False,
            "zeroline": False,
        }
        for y, (name, intervals) in enumerate(rows):
            data += [_boxes(name, y, intervals, peak_s), _box_labels(y, intervals, duration_s)]
    if peak_s is not None:
        bottom = mel_at[0] if rows else 0  # the boxes show the peak by colour; a line would cross their labels
        _mark_peak(layout, peak_s, duration_s, bottom)
    return Figure(title=title, caption=caption, spec={"data": data, "layout": layout})


def _stack(heights: Sequence[int]) -> list[list[JsonValue]]:
    """The domain of each panel, bottom to top, with a gap between those that are there."""
    total = sum(heights) + _GAP * (sum(h > 0 for h in heights) - 1)
    domains: list[list[JsonValue]] = []
    at = 0
    for height in heights:
        domains.append([at / total, (at + height) / total])
        at += height + _GAP if height else 0
    return domains


def _mel_axis(n_mels: int, domain: list[JsonValue]) -> Json:
    ticks = {200: "200", 1000: "1k", 2000: "2k", 4000: "4k"}
    return {
        "title": {"text": "Hz (mel scale)", "standoff": 4},
        "domain": domain,
        "range": [-0.5, n_mels - 0.5],
        "tickvals": [round(mel_band(hz, n_mels), 2) for hz in ticks],
        "ticktext": list(ticks.values()),
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
    }


def _mel_trace(mel: Float[np.ndarray, "mel _"], duration_s: float) -> Json:
    kept = np.nan_to_num(mel[:, : max(1, math.ceil(duration_s / MEL_FRAME_S))].astype(np.float32))
    low, high = float(kept.min()), float(kept.max())
    steps = np.round((kept - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    return {
        "type": "heatmap",
        "z": typed(steps),
        "zmin": 0,
        "zmax": 255,
        "x0": 0,
        "dx": MEL_FRAME_S,
        "colorscale": [[n / (len(_MAGMA) - 1), colour] for n, colour in enumerate(_MAGMA)],
        "showscale": False,
        "hoverinfo": "skip",
    }


def _activation_trace(
    activation: Float[np.ndarray, " _"], activation_s: Float[np.ndarray, " _"] | None, duration_s: float
) -> Json:
    times = np.arange(len(activation)) * FRAME_S if activation_s is None else activation_s
    kept = times <= duration_s
    return {
        "type": "scatter",
        "mode": "lines",
        "x": typed(np.asarray(times[kept], dtype=np.float32)),
        "y": typed(np.asarray(activation[kept], dtype=np.float32)),
        "yaxis": "y2",
        "fill": "tozeroy",
        "fillcolor": "rgba(213, 94, 0, 0.18)",
        "line": {"color": VERMILLION, "width": 1.6},
        "hovertemplate": "%{y:.3f} at %{x:.2f} s<extra></extra>",
        "showlegend": False,
    }


def _boxes(name: str, row: int, intervals: Sequence[Interval], peak_s: float | None) -> Json:
    """A row of boxes, neighbours in different tints, the one at the peak in its own."""
    tints = _WORD_TINTS if name == "words" else _PHONE_TINTS
    colours: list[JsonValue] = [
        _AT_PEAK if peak_s is not None and i.start_s <= peak_s < i.end_s else tints[n % 2]
        for n, i in enumerate(intervals)
    ]
    return {
        "type": "bar",
        "orientation": "h",
        "yaxis": "y3",
        "y": [row] * len(intervals),
        "base": [round(float(i.start_s), 4) for i in intervals],
        "x": [round(float(i.end_s - i.start_s), 4) for i in intervals],
        "width": 0.92,
        "marker": {"color": colours, "line": {"width": 0}},
        "customdata": [[plain(i.label), round(float(i.start_s), 3), round(float(i.end_s), 3)] for i in intervals],
        "hovertemplate": "%{customdata[0]}  %{customdata[1]:.2f} to %{customdata[2]:.2f} s<extra></extra>",
        "showlegend": False,
    }


def _box_labels(row: int, intervals: Sequence[Interval], duration_s: float) -> Json:
    """The labels of a row of boxes, each hidden where it does not fit.

    They sit in invisible bars a little wider than the boxes, for Plotly keeps 3 px free on either side of a text, and
    that is half of a short phone.
    """
    air = 0.008 * min(duration_s, 2.0)  # about 3 px on a figure of 2 s, less on a longer one, where boxes are narrow
    return {
        "type": "bar",
        "orientation": "h",
        "yaxis": "y3",
        "y": [row] * len(intervals),
        "base": [round(float(i.start_s) - air, 4) for i in intervals],
        "x": [round(float(i.end_s - i.start_s) + 2 * air, 4) for i in intervals],
        "width": 0.92,
        "marker": {"color": "rgba(0,0,0,0)", "line": {"width": 0}},
        "text": [plain(i.label) for i in intervals],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "insidetextfont": {"color": _ON_TINT, "size": 11},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _mark_peak(layout: Json, peak_s: float, duration_s: float, bottom: JsonValue) -> None:
    layout["shapes"] = [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": peak_s,
            "x1": peak_s,
            "y0": bottom,
            "y1": 1,
            "line": {"color": SKY, "width": 1.5, "dash": "dot"},
        }
    ]
    share = peak_s / duration_s
    layout["annotations"] = [
        {
            "text": f"peak {peak_s:.2f} s",
            "x": peak_s,
            "xref": "x",
            "xanchor": "left" if share < 0.2 else "right" if share > 0.8 else "center",
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"size": 11},
        }
    ]


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
    layout = _layout(300)
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
    _same_length(values=values, labels=labels, lower=lower, upper=upper)
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
    layout = _layout(_rows_height(len(labels)))
    layout["bargap"] = 0.3
    layout["xaxis"] = {"title": {"text": plain(x_title), "standoff": 8}, "zeroline": True}
    layout["yaxis"] = _label_axis(labels, y_title)
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
        _same_length(values=values, labels=rows)
        shape = _PATTERNS[n // len(PALETTE) % len(_PATTERNS)]
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
                "insidetextfont": {"size": 11, "color": _ON_PALETTE[n % len(PALETTE)]},
                "customdata": [[plain(name), plain(row)] for row in rows],
                "marker": {"color": PALETTE[n % len(PALETTE)], "pattern": pattern, "line": {"width": 0}},
                "hovertemplate": "%{customdata[0]}: %{x:.3g} (%{customdata[1]})<extra></extra>",
            }
        )
    legend_rows = math.ceil(len(series) / 3)  # as on a narrow screen
    layout = _layout(_rows_height(len(rows)) + 20 * legend_rows + 10)
    layout["barmode"] = "stack"
    layout["bargap"] = 0.25
    layout["uniformtext"] = {"mode": "hide", "minsize": 9}
    layout["xaxis"] = {"title": {"text": plain(x_title), "standoff": 8}, "zeroline": False}
    layout["yaxis"] = _label_axis(rows, y_title)
    layout["legend"] = {
        "orientation": "h",
        "traceorder": "normal",
        "x": 0,
        "xanchor": "left",
        "y": 1.02,
        "yanchor": "bottom",
    }
    return Figure(title=title, caption=caption, spec={"data": data, "layout": layout})


def _label_axis(labels: Sequence[str], title: str) -> Json:
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


def _same_length(*, labels: Sequence[str], **others: Sequence[float] | None) -> None:
    for name, values in others.items():
        if values is not None and len(values) != len(labels):
            raise ValueError(f"{len(labels)} labels, but {len(values)} {name}")


def _rows_height(rows: int) -> int:
    return 22 * max(rows, 2) + 70


def _layout(height: int) -> Json:
    return {
        "height": height,
        "margin": {"l": _LEFT, "r": 16, "t": 16, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "hovermode": "closest",
        "showlegend": True,
    }
