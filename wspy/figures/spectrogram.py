"""A spectrogram with what happens along it, on one time axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from pydantic import JsonValue

from wspy.audio import FRAME_S, HOP_SAMPLES, SAMPLE_RATE
from wspy.blocks import Figure
from wspy.figures.base import LEFT, MAGMA, SKY, VERMILLION, Json, color_scale, plain, plain_layout, typed

if TYPE_CHECKING:
    from jaxtyping import Float

MEL_FRAME_S = HOP_SAMPLES / SAMPLE_RATE
MEL_TOP_HZ = 8000.0
_WORD_TINTS, _PHONE_TINTS, AT_PEAK = ("#a9cfea", "#c9e1f2"), ("#ead3a4", "#f4e6c8"), "#f5a36b"
_ON_TINT = "#1b1b1b"
_RIGHT = 12  # pixels
_TOP, _BOTTOM, _GAP = 20, 42, 9
_ACTIVATION_HEIGHT, _MEL_HEIGHT, _ROW_HEIGHT = 78, 140, 22


class Interval(Protocol):
    """A labelled stretch of time, such as `wspy.corpus.Interval`."""

    @property
    def start_s(self) -> float:
        """Where it begins, in seconds."""

    @property
    def end_s(self) -> float:
        """Where it ends, in seconds."""

    @property
    def label(self) -> str:
        """What it is."""


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
    spans: Sequence[Interval] = (),
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
        spans: Stretches to shade above the words and phones, with their labels above; what lies past the end is not
            drawn.

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
    rows_at, mel_at, activation_at = stacked_panels(heights)
    layout = plain_layout(sum(heights) + _GAP * (sum(h > 0 for h in heights) - 1) + _TOP + _BOTTOM)
    layout["margin"] = {"l": LEFT, "r": _RIGHT, "t": _TOP, "b": _BOTTOM}
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
    layout["yaxis"] = mel_axis(mel.shape[0], mel_at)
    data: list[JsonValue] = [mel_trace(mel, duration_s)]
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
        data += interval_rows(layout, rows, rows_at, duration_s, peak_s)
    if peak_s is not None:
        bottom = mel_at[0] if rows else 0  # the boxes show the peak by colour; a line would cross their labels
        _mark_peak(layout, peak_s, duration_s, bottom)
    if spans:
        _shade(layout, spans, duration_s, mel_at[0] if rows else 0)
    return Figure(title=title, caption=caption, spec={"data": data, "layout": layout})


def stacked_panels(heights: Sequence[int]) -> list[list[JsonValue]]:
    """The domain of each panel, bottom to top, with a gap between those that are there."""
    total = sum(heights) + _GAP * (sum(h > 0 for h in heights) - 1)
    domains: list[list[JsonValue]] = []
    at = 0
    for height in heights:
        domains.append([at / total, (at + height) / total])
        at += height + _GAP if height else 0
    return domains


def interval_rows(
    layout: Json,
    rows: Sequence[tuple[str, Sequence[Interval]]],
    domain: list[JsonValue],
    duration_s: float,
    peak_s: float | None = None,
) -> list[JsonValue]:
    """The panel of words and phones, on the axis `y3`: its traces, and its axis in the layout."""
    layout["uniformtext"] = {"mode": "hide", "minsize": 9}
    layout["barmode"] = "overlay"
    layout["yaxis3"] = {
        "domain": domain,
        "range": [-0.5, len(rows) - 0.5],
        "tickvals": list(range(len(rows))),
        "ticktext": [name for name, _ in rows],
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
    }
    traces: list[JsonValue] = []
    for y, (name, intervals) in enumerate(rows):
        traces += [_boxes(name, y, intervals, peak_s), _box_labels(y, intervals, duration_s)]
    return traces


def mel_axis(n_mels: int, domain: list[JsonValue]) -> Json:
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


def mel_trace(mel: Float[np.ndarray, "mel _"], duration_s: float) -> Json:
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
        "colorscale": color_scale(MAGMA),
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
        AT_PEAK if peak_s is not None and i.start_s <= peak_s < i.end_s else tints[n % 2]
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


def _shade(layout: Json, spans: Sequence[Interval], duration_s: float, bottom: JsonValue) -> None:
    """Whiten stretches of the picture and frame them; a label that would run into the one before is left out."""
    shapes, annotations = list(_items(layout, "shapes")), list(_items(layout, "annotations"))
    free_from = 0.0
    for span in spans:
        if span.start_s >= duration_s:
            continue
        end_s = min(span.end_s, duration_s)
        shapes.append(
            {
                "type": "rect",
                "xref": "x",
                "yref": "paper",
                "x0": span.start_s,
                "x1": end_s,
                "y0": bottom,
                "y1": 1,
                "fillcolor": "rgba(255, 255, 255, 0.55)",
                "line": {"color": SKY, "width": 1.5},
            }
        )
        if span.start_s >= free_from:
            share = span.start_s / duration_s
            annotations.append(
                {
                    "text": plain(span.label),
                    "x": end_s if share > 0.8 else span.start_s,
                    "xref": "x",
                    "xanchor": "right" if share > 0.8 else "left",
                    "y": 1,
                    "yref": "paper",
                    "yanchor": "bottom",
                    "showarrow": False,
                    "font": {"size": 11},
                }
            )
            free_from = span.start_s + 0.02 * (len(span.label) + 1) * duration_s  # about 7 px a letter on 350 px
    layout["shapes"], layout["annotations"] = shapes, annotations


def _items(layout: Json, name: str) -> list[JsonValue]:
    found = layout.get(name, [])
    return found if isinstance(found, list) else []
