"""Figures: what their specifications hold, and that Plotly's own schema takes them."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from wspy import figures
from wspy.blocks import Figure
from wspy.figures.spectrogram import AT_PEAK


@dataclass(frozen=True)
class Interval:
    start_s: float
    end_s: float
    label: str


NASTY = "<b>sh</b> & <a href='javascript:alert(1)'>x</a>"
WORDS = [Interval(0.1, 0.5, "she"), Interval(0.5, 0.9, NASTY)]
PHONES = [Interval(0.1, 0.3, "sh"), Interval(0.3, 0.5, "iy"), Interval(0.5, 0.9, "hv")]


def unpacked(array: Mapping[str, object]) -> np.ndarray:
    """The array behind Plotly's base64 form, decoded as plotly.js does."""
    flat = np.frombuffer(base64.b64decode(str(array["bdata"])), dtype=f"<{array['dtype']}")
    return flat.reshape([int(n) for n in str(array["shape"]).split(", ")]) if "shape" in array else flat


def parts(figure: Figure) -> tuple[list[Any], dict[str, Any]]:
    spec: dict[str, Any] = json.loads(json.dumps(figure.spec, allow_nan=False))
    return spec["data"], spec["layout"]


def full_spectrogram() -> Figure:
    rng = np.random.default_rng(0)
    return figures.spectrogram(
        "Clip 1",
        rng.random((80, 100), dtype=np.float32),
        duration_s=1.0,
        activation=rng.random(50, dtype=np.float32),
        words=WORDS,
        phones=PHONES,
        peak_s=0.42,
    )


ALL = [
    full_spectrogram(),
    figures.histogram("h", [0, 1, 2], [4, 5], x_title="peak", marks=[(0.5, "#1"), (9.0, "#2")], log_y=True),
    figures.bars("b", ["a", "b"], [1, 2], x_title="n", y_title="phone", lower=[0.5, 1], upper=[2, 3]),
    figures.stacked_bars("s", ["a", "b"], {str(n): [n, 1.0] for n in range(9)}, x_title="share", y_title="range"),
]


@pytest.mark.parametrize("dtype", ["u1", "<i4", ">f4", "<f8"])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_typed_arrays_decode_to_the_original(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(6) * 7).reshape(shape).astype(dtype)
    np.testing.assert_array_equal(unpacked(figures.typed(array)), array)


def test_transposed_array_keeps_its_order() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3).T
    np.testing.assert_array_equal(unpacked(figures.typed(array)), array)


@pytest.mark.parametrize("figure", ALL, ids=lambda figure: str(figure.title))
def test_plotly_takes_every_specification(figure: Figure) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    graph_objects.Figure(figure.spec)  # raises on a property or a value that Plotly does not know


@pytest.mark.parametrize("figure", ALL, ids=lambda figure: str(figure.title))
def test_every_axis_says_what_it_shows(figure: Figure) -> None:
    _, layout = parts(figure)
    for name, axis in layout.items():
        if name.startswith(("xaxis", "yaxis")) and axis.get("visible", True):
            assert axis.get("title", {}).get("text") or set(axis["ticktext"]) == {"phones", "words"}, name


def test_spectrogram_cuts_what_is_past_the_sound_and_quantises_within_half_a_step() -> None:
    mel = np.linspace(-1, 1.5, 80 * 300, dtype=np.float32).reshape(80, 300)
    data, layout = parts(figures.spectrogram("t", mel, duration_s=2.0, activation=np.arange(150, dtype=np.float32)))
    kept = mel[:, :200]
    steps = unpacked(data[0]["z"])
    assert steps.shape == (80, 200) and steps.dtype == np.uint8
    step = (kept.max() - kept.min()) / 255
    np.testing.assert_allclose(steps * step + kept.min(), kept, atol=step * 0.51)
    np.testing.assert_array_equal(unpacked(data[1]["y"]), np.arange(101))
    np.testing.assert_allclose(unpacked(data[1]["x"]), np.arange(101) * 0.02, rtol=1e-6)
    assert data[0]["dx"] == 0.01 and layout["xaxis"]["range"] == [0, 2.0]


def test_activation_may_have_times_of_its_own() -> None:
    times, values = np.array([0.1, 0.7, 2.5]), np.array([1.0, 2.0, 3.0])
    mel = np.zeros((80, 200), np.float32)
    data, _ = parts(figures.spectrogram("t", mel, duration_s=2.0, activation=values, activation_s=times))
    np.testing.assert_allclose(unpacked(data[1]["x"]), [0.1, 0.7], rtol=1e-6)
    np.testing.assert_array_equal(unpacked(data[1]["y"]), [1, 2])


def test_spectrogram_panels_share_one_time_axis_and_do_not_overlap() -> None:
    data, layout = parts(full_spectrogram())
    assert {trace.get("xaxis", "x") for trace in data} == {"x"}
    domains = sorted(layout[axis]["domain"] for axis in ("yaxis", "yaxis2", "yaxis3"))
    assert domains[0][0] == 0 and domains[-1][1] == 1
    assert all(lower[1] < upper[0] for lower, upper in itertools.pairwise(domains))


def test_spectrogram_without_extras_is_one_panel() -> None:
    data, layout = parts(figures.spectrogram("t", np.zeros((128, 5), np.float32), duration_s=0.05))
    assert len(data) == 1 and layout["yaxis"]["domain"] == [0, 1] and "shapes" not in layout
    assert not unpacked(data[0]["z"]).any()


def test_interval_under_the_peak_stands_out() -> None:
    data, _ = parts(full_spectrogram())
    phones, words = (trace for trace in data if trace["type"] == "bar" and "hovertemplate" in trace)
    assert [c == AT_PEAK for c in words["marker"]["color"]] == [True, False]
    assert [c == AT_PEAK for c in phones["marker"]["color"]] == [False, True, False]
    assert phones["base"] == [0.1, 0.3, 0.5] and phones["x"] == pytest.approx([0.2, 0.2, 0.4])


def test_mel_axis_follows_whispers_filters() -> None:
    whisper_audio = pytest.importorskip("whisper.audio")
    filters = whisper_audio.mel_filters("cpu", 80).numpy()
    for hz in (400, 1000, 2000, 4000, 7000):
        loudest = int(filters[:, round(hz * 400 / 16000)].argmax())
        assert figures.mel_band(hz, 80) == pytest.approx(loudest, abs=0.51)


@pytest.mark.parametrize(
    "figure",
    [
        full_spectrogram(),
        figures.histogram("h", [0, 1], [1], x_title=NASTY, y_title=NASTY, marks=[(0.5, NASTY)]),
        figures.bars("b", [NASTY], [1], x_title=NASTY, y_title=NASTY),
        figures.stacked_bars("s", [NASTY], {NASTY: [1.0]}, x_title=NASTY, y_title=NASTY),
    ],
    ids=lambda figure: str(figure.title),
)
def test_labels_are_no_markup_for_plotly(figure: Figure) -> None:
    text = json.dumps(figure.spec)
    assert "<b>" not in text and "<a " not in text and "&lt;b&gt;" in text


def test_histogram_marks_that_would_collide_show_on_hover_only() -> None:
    marks = [(0.50, "#1"), (0.501, "#2"), (0.9, "#3")]
    data, layout = parts(figures.histogram("h", [0, 0.5, 1], [3, 1], x_title="peak", marks=marks))
    assert data[1]["text"] == ["#1", "", "#3"] and data[1]["customdata"] == ["#1", "#2", "#3"]
    np.testing.assert_array_equal(unpacked(data[0]["x"]), [0.25, 0.75])
    assert layout["xaxis"]["range"][0] < 0 and layout["xaxis"]["range"][1] > 1


def test_bars_draw_the_interval_around_the_value() -> None:
    data, layout = parts(ALL[2])
    assert data[0]["error_x"]["arrayminus"] == [0.5, 1] and data[0]["error_x"]["array"] == [1, 1]
    low, high = layout["yaxis"]["range"]
    assert low > high  # the first label is on top


def test_stacked_bars_tell_every_series_apart() -> None:
    data, _ = parts(ALL[3])
    assert len({(trace["marker"]["color"], trace["marker"]["pattern"]["shape"]) for trace in data}) == 9


def test_mismatched_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="3 edges"):
        figures.histogram("h", [0, 1], [1, 2], x_title="x")
    with pytest.raises(ValueError, match="2 labels, but 1 values"):
        figures.bars("b", ["a", "b"], [1], x_title="x", y_title="y")
    with pytest.raises(ValueError, match="both lower and upper"):
        figures.bars("b", ["a"], [1], x_title="x", y_title="y", lower=[0])
    with pytest.raises(ValueError, match="bands x frames"):
        figures.spectrogram("t", np.zeros((80, 0), np.float32), duration_s=1)
