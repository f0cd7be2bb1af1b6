"""What several units do along a spectrogram, one row each, on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from wspy.audio import FRAME_S
from wspy.blocks import Figure
from wspy.figures.base import LEFT, MAGMA, Json, color_scale, plain, plain_layout, typed
from wspy.figures.spectrogram import Interval, interval_rows, mel_axis, mel_trace, stacked_panels

if TYPE_CHECKING:
    from jaxtyping import Float

_UNIT_HEIGHT, _MEL_HEIGHT, _ROW_HEIGHT, _GAP = 17, 130, 22, 9  # pixels
_TOP, _BOTTOM, _RIGHT = 12, 42, 12
_LETTER = 7  # pixels, about


def activity(
    title: str,
    mel: Float[np.ndarray, "mel _"],
    values: Float[np.ndarray, "unit frame"],
    labels: Sequence[str],
    *,
    duration_s: float,
    y_title: str,
    words: Sequence[Interval] = (),
    phones: Sequence[Interval] = (),
    caption: str = "",
) -> Figure:
    """Rows of colour above a log-mel spectrogram, the first on top, each from zero to its own highest value.

    Args:
        values: From zero on, for frames of 20 ms from 0 on.
        labels: One per row.
        y_title: What the rows are.
        words, phones: Drawn as rows of labelled intervals below.

    Raises:
        ValueError: no rows, not one label for each, no spectrogram, or a duration that is not positive.
    """
    if 0 in values.shape or len(labels) != len(values):
        raise ValueError(f"{len(labels)} labels for values of the shape {values.shape}")
    if mel.ndim != 2 or 0 in mel.shape or not duration_s > 0:
        raise ValueError(f"a spectrogram needs bands x frames and a duration, not {mel.shape} and {duration_s} s")
    rows = [(name, intervals) for name, intervals in (("phones", phones), ("words", words)) if intervals]
    heights = [_ROW_HEIGHT * len(rows), _MEL_HEIGHT, _UNIT_HEIGHT * len(values)]
    rows_at, mel_at, units_at = stacked_panels(heights)
    layout = plain_layout(sum(heights) + _GAP * (1 + bool(rows)) + _TOP + _BOTTOM)
    left = max(LEFT, 40 + _LETTER * max(map(len, labels)))
    layout["margin"] = {"l": left, "r": _RIGHT, "t": _TOP, "b": _BOTTOM}
    layout["xaxis"] = {
        "title": {"text": "time (s)", "standoff": 6},
        "range": [0, duration_s],
        "anchor": "y3" if rows else "y",
        "zeroline": False,
        "showgrid": False,
        "ticks": "outside",
        "nticks": 9,
    }
    layout["yaxis"] = mel_axis(mel.shape[0], mel_at)
    layout["yaxis2"] = {
        "title": {"text": plain(y_title), "standoff": 6},
        "domain": units_at,
        "range": [len(labels) - 0.5, -0.5],
        "tickvals": list(range(len(labels))),
        "ticktext": [plain(label) for label in labels],
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
    }
    data: list[JsonValue] = [mel_trace(mel, duration_s), _rows(values, duration_s)]
    if rows:
        data += interval_rows(layout, rows, rows_at, duration_s)
    return Figure(title=title, caption=caption, spec={"data": data, "layout": layout})


def _rows(values: Float[np.ndarray, "unit frame"], duration_s: float) -> Json:
    kept = values[:, : max(1, round(duration_s / FRAME_S))].astype(np.float32)
    highest = kept.max(axis=1, keepdims=True)
    return {
        "type": "heatmap",
        "yaxis": "y2",
        "z": typed(kept / np.where(highest > 0, highest, 1)),
        "zmin": 0,
        "zmax": 1,
        "x0": 0,
        "dx": FRAME_S,
        "y0": 0,
        "dy": 1,
        "ygap": 2,
        "colorscale": color_scale(MAGMA),
        "showscale": False,
        "hovertemplate": "%{y}: %{z:.0%} of its highest at %{x:.2f} s<extra></extra>",
    }
