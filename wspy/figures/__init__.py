"""The figures that analyses show, as plain Plotly JSON.

Everything here builds `wspy.blocks.Figure` without importing plotly. Arrays travel in Plotly's typed base64 form, which
keeps a report of sixty spectrograms near a megabyte. Backgrounds are transparent and no font colour is set: the page
that draws a figure brings its own theme, light or dark. Labels are shown as they are; Plotly's pseudo-HTML is escaped.
"""

from __future__ import annotations

from wspy.figures.activity import activity
from wspy.figures.base import BLUE, GREEN, GREY, MAGMA, ORANGE, PALETTE, PINK, SKY, VERMILLION, plain, typed
from wspy.figures.charts import bars, histogram, stacked_bars
from wspy.figures.curves import Curve, curves
from wspy.figures.maps import Axis, heatmap
from wspy.figures.scatter import scatter
from wspy.figures.spectrogram import Interval, mel_band, spectrogram

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "MAGMA",
    "ORANGE",
    "PALETTE",
    "PINK",
    "SKY",
    "VERMILLION",
    "Axis",
    "Curve",
    "Interval",
    "activity",
    "bars",
    "curves",
    "heatmap",
    "histogram",
    "mel_band",
    "plain",
    "scatter",
    "spectrogram",
    "stacked_bars",
    "typed",
]
