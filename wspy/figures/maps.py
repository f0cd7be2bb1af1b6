"""Matrices as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from wspy.blocks import Figure
from wspy.figures.base import MAGMA, Json, color_scale, label_axis, plain, plain_layout, rows_height, typed

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

MOST_CELLS = 300  # along an axis; a browser draws 300 x 300 cells at once, and 1500 x 1500 make it freeze
_MOST_WRITTEN = 240  # cells that carry their number
BLUE_TO_RED = ("#0072B2", "#7fb8d8", "#f7f7f7", "#eaae7f", "#D55E00")


@dataclass(frozen=True)
class Axis:
    """What runs along one side of a matrix: labels, one for each line, or numbers at equal steps.

    `title` has the unit. `start` is where the first line lies, `step` what lies between two. An axis with labels is
    never downsampled.
    """

    title: str
    labels: Sequence[str] | None = None
    start: float = 0.0
    step: float = 1.0


def heatmap(
    title: str,
    values: Shaped[np.ndarray, "row column"],
    *,
    x: Axis,
    y: Axis,
    value: str,
    low: float | None = None,
    high: float | None = None,
    diverging: bool = False,
    contrast: float = 1.0,
    caption: str = "",
) -> Figure:
    """A matrix in colours, the first row on top, to be zoomed into; hovering names the cell and its value.

    An axis of numbers with more than `MOST_CELLS` lines is downsampled, and each cell then shows the largest of its
    values (with `diverging`, the one farthest from zero), so that no peak is lost. Few cells carry their number.

    Args:
        values: NaN leaves a cell empty.
        x: What the columns are.
        y: What the rows are.
        value: What the values are, with their unit.
        low: Value of the first colour; the smallest value without it, and minus `high` with `diverging`.
        high: Value of the last colour, which larger values share; the largest without it.
        diverging: Colours that part at zero, for values of both signs.
        contrast: Above 1, small values take more of the colours: the colour follows the value to the power
            1 / contrast. For values from zero on.

    Raises:
        ValueError: no matrix, an empty one, or not one label for each line.
    """
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"a heatmap needs rows and columns, not {values.shape}")
    for axis, length in ((y, values.shape[0]), (x, values.shape[1])):
        if axis.labels is not None and len(axis.labels) != length:
            raise ValueError(f"{length} lines, but {len(axis.labels)} labels")
    steps = [
        1 if axis.labels is not None else -(-n // MOST_CELLS) for axis, n in zip((y, x), values.shape, strict=True)
    ]
    cells = downsample(np.asarray(values, dtype=np.float32), steps[0], steps[1], signed=diverging)
    lowest, highest = _range(cells, low, high, diverging)
    colors = color_scale(BLUE_TO_RED if diverging else MAGMA)
    if contrast != 1.0 and not diverging:
        colors = [[(i / (len(MAGMA) - 1)) ** contrast, color] for i, color in enumerate(MAGMA)]
    trace: Json = {
        "type": "heatmap",
        "z": typed(cells),
        "zmin": lowest,
        "zmax": highest,
        "colorscale": colors,
        "colorbar": {"title": {"text": plain(value), "side": "right"}, "thickness": 12, "outlinewidth": 0},
        "hoverongaps": False,
        "hovertemplate": _hover(x, y, value, steps),
        **_positions("x", x, cells.shape[1], steps[1]),
        **_positions("y", y, cells.shape[0], steps[0]),
    }
    if cells.size <= _MOST_WRITTEN:
        trace["texttemplate"] = "%{z:.3~g}"
    layout = plain_layout(rows_height(cells.shape[0]) if y.labels is not None else 520)
    layout["xaxis"] = _layout_axis(x, "x")
    layout["yaxis"] = _layout_axis(y, "y")
    return Figure(title=title, caption=caption, spec={"data": [trace], "layout": layout})


def downsample(
    values: Float[np.ndarray, "row column"], rows: int, columns: int, *, signed: bool = False
) -> Float[np.ndarray, "_ _"]:
    """Blocks of `rows` x `columns` cells, each shown by its largest value, or if `signed`, by the one farthest from 0.

    NaN counts only where a block has nothing else.
    """

    def most(cells: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "_ _"]:
        down = np.fmax.reduceat(cells, range(0, cells.shape[0], rows), axis=0)
        found: Float[np.ndarray, "_ _"] = np.fmax.reduceat(down, range(0, cells.shape[1], columns), axis=1)
        return found

    if rows == columns == 1:
        return values
    highest = most(values)
    if not signed:
        return highest
    lowest = -most(-values)
    return np.where(-lowest > highest, lowest, highest)


def _range(
    cells: Float[np.ndarray, "row column"], low: float | None, high: float | None, diverging: bool
) -> tuple[float, float]:
    known = cells[np.isfinite(cells)]
    if high is None:
        high = float((np.abs(known) if diverging else known).max(initial=-math.inf)) if len(known) else 1.0
    if low is None:
        low = -high if diverging else float(known.min()) if len(known) else 0.0
    return low, high if high > low else low + 1.0  # a matrix of one value has the first colour


def _positions(letter: str, axis: Axis, n_cells: int, step: int) -> Json:
    """Where the cells lie: those of labels at whole numbers, those of numbers at the middle of their block."""
    if axis.labels is not None:
        return {letter: list(range(n_cells))}
    return {f"{letter}0": axis.start + axis.step * (step - 1) / 2, f"d{letter}": axis.step * step}


def _hover(x: Axis, y: Axis, value: str, steps: Sequence[int]) -> str:
    """The text at a cell; where an axis has labels, Plotly puts the label in the place of the number."""
    said = [
        f"{plain(axis.title)}: %{{{letter}{'' if axis.labels is not None else ':.4~g'}}}"
        for letter, axis in (("y", y), ("x", x))
    ]
    most = "up to " if max(steps) > 1 else ""
    return f"{'<br>'.join(said)}<br>{plain(value)}: {most}%{{z:.3~g}}<extra></extra>"


def _layout_axis(axis: Axis, letter: str) -> Json:
    if axis.labels is None:
        plain_axis: Json = {"title": {"text": plain(axis.title), "standoff": 6}, "showgrid": False, "zeroline": False}
        if letter == "y":
            plain_axis["autorange"] = "reversed"
        return plain_axis
    labelled = label_axis(axis.labels, axis.title)
    del labelled["fixedrange"]  # to be zoomed into, as the other kind
    if letter == "x":
        ends: list[JsonValue] = [-0.5, len(axis.labels) - 0.5]
        labelled["range"] = ends
    return labelled
