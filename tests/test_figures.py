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


def full_activity(label: str = "7 S") -> Figure:
    values = np.zeros((3, 60), np.float32)
    values[0, 10:15], values[1, 40] = 2.5, 0.1
    mel = np.random.default_rng(0).random((80, 120), dtype=np.float32)
    return figures.activity(
        "a", mel, values, [label, "8", "9"], duration_s=1.0, y_title="feature", words=WORDS, phones=PHONES
    )


ALL = [
    full_spectrogram(),
    figures.histogram("h", [0, 1, 2], [4, 5], x_title="peak", marks=[(0.5, "#1"), (9.0, "#2")], log_y=True),
    figures.bars("b", ["a", "b"], [1, 2], x_title="n", y_title="phone", lower=[0.5, 1], upper=[2, 3]),
    figures.stacked_bars("s", ["a", "b"], {str(n): [n, 1.0] for n in range(9)}, x_title="share", y_title="range"),
    figures.curves(
        "c",
        [
            figures.Curve("<b>one</b>", [1, 10, 100], [0.5, None, 0.1], [0.4, None, 0.0], [0.6, None, 0.2]),
            figures.Curve("two", [1, 10], [1.0, 2.0]),
        ],
        x_title="k (frames)",
        y_title="WER",
        log_x=True,
        x_labels=[(1, "1"), (10, "10"), (100, "full")],
    ),
    full_activity(),
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


def test_each_row_of_activity_reaches_its_own_highest_and_shares_the_time_axis() -> None:
    data, layout = parts(full_activity())
    rows = unpacked(data[1]["z"])
    assert rows.shape == (3, 50)  # what lies past the sound is left out
    assert rows[0].nonzero()[0].tolist() == [*range(10, 15)] and rows.max(axis=1).tolist() == [1, 1, 0]
    assert (data[1]["x0"], data[1]["dx"], layout["xaxis"]["range"]) == (0, 0.02, [0, 1.0])
    assert layout["yaxis2"]["domain"][0] > layout["yaxis"]["domain"][1] > layout["yaxis3"]["domain"][1]
    with pytest.raises(ValueError, match="labels"):
        figures.activity("a", np.zeros((80, 5)), np.zeros((2, 5)), ["one"], duration_s=1, y_title="unit")


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
        full_activity(NASTY),
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


def test_curves_keep_gaps_and_shade_each_stretch_between_its_bounds() -> None:
    curve = figures.Curve(NASTY, [1, 2, 3, 4], [1, 2, None, 4], [0, 1, None, 3], [2, 3, None, 5])
    data, layout = parts(figures.curves("c", [curve], x_title="k", y_title="WER"))
    first, second, line = data
    assert (first["x"], first["y"]) == ([1, 2, 2, 1], [2, 3, 1, 0])
    assert (second["x"], second["y"]) == ([4, 4], [5, 3])
    assert line["y"] == [1, 2, None, 4] and line["customdata"][0] == " (0 to 2)" and line["customdata"][2] == ""
    assert "<" not in line["name"] and not line["showlegend"]
    assert layout["yaxis"]["rangemode"] == "tozero"


@pytest.mark.parametrize(
    ("curve", "log_x"),
    [
        (figures.Curve("c", [1, 2], [1.0]), False),
        (figures.Curve("c", [1], [1.0], lower=[0.0]), False),
        (figures.Curve("c", [0], [1.0]), True),
    ],
)
def test_curves_refuse_what_cannot_be_drawn(curve: figures.Curve, log_x: bool) -> None:
    with pytest.raises(ValueError, match="c:"):
        figures.curves("c", [curve], x_title="x", y_title="y", log_x=log_x)


# --- maps -------------------------------------------------------------------------------------------------


SECONDS = figures.Axis("looked at: time (s)", step=0.02)


@pytest.mark.parametrize("signed", [False, True])
def test_heatmap_keeps_every_peak_when_it_is_downsampled(signed: bool) -> None:
    values = np.random.default_rng(0).random((1500, 700), dtype=np.float32)
    values[1234, 567] = -9.0 if signed else 9.0
    figure = figures.heatmap("m", values, x=SECONDS, y=SECONDS, value="relevance", diverging=signed)
    data, layout = parts(figure)
    cells = unpacked(data[0]["z"])
    assert cells.shape == (300, 234)
    assert cells[1234 // 5, 567 // 3] == (-9.0 if signed else 9.0)
    block = values[5:10, 6:9]
    assert cells[1, 2] == block.max()
    # The middle of the first block of five frames and three frames.
    assert data[0]["y0"] == pytest.approx(0.04) and data[0]["dy"] == pytest.approx(0.1)
    assert data[0]["x0"] == pytest.approx(0.02) and data[0]["dx"] == pytest.approx(0.06)
    assert (data[0]["zmin"], data[0]["zmax"]) == ((-9.0, 9.0) if signed else (pytest.approx(cells.min()), 9.0))
    assert layout["yaxis"]["autorange"] == "reversed" and not layout["xaxis"].get("fixedrange")
    assert "up to" in data[0]["hovertemplate"] and len(json.dumps(figure.spec)) < 600_000


def test_heatmap_with_labels_keeps_every_line_and_writes_its_numbers() -> None:
    heads = figures.Axis("head", labels=["0", "1", NASTY])
    layers = figures.Axis("layer", labels=["a", "b"])
    values = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]])
    data, layout = parts(figures.heatmap("m", values, x=heads, y=layers, value=NASTY))
    np.testing.assert_array_equal(unpacked(data[0]["z"]), values.astype(np.float32))
    assert layout["xaxis"]["range"] == [-0.5, 2.5] and layout["yaxis"]["range"] == [1.5, -0.5]
    assert data[0]["texttemplate"] and (data[0]["zmin"], data[0]["zmax"]) == (1.0, 6.0)
    assert "<b>" not in json.dumps([data, layout])


def test_heatmap_of_nothing_but_one_value_or_none_has_a_range() -> None:
    for value in (0.0, np.nan):
        data, _ = parts(figures.heatmap("m", np.full((2, 2), value), x=SECONDS, y=SECONDS, value="v"))
        assert data[0]["zmin"] < data[0]["zmax"]


def test_heatmap_contrast_gives_small_values_more_of_the_colours() -> None:
    data, _ = parts(figures.heatmap("m", np.eye(3), x=SECONDS, y=SECONDS, value="v", contrast=2.0))
    stops = [at for at, _ in data[0]["colorscale"]]
    assert stops[0] == 0 and stops[-1] == 1 and stops[3] == pytest.approx((3 / 9) ** 2)


@pytest.mark.parametrize("figure_of", [(300, 4), (2, 1500)])
def test_plotly_takes_maps(figure_of: tuple[int, int]) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    figure = figures.heatmap("m", np.ones(figure_of), x=SECONDS, y=SECONDS, value="v", contrast=3.0)
    graph_objects.Figure(figure.spec)
    _, layout = parts(figure)
    assert layout["xaxis"]["title"]["text"] and layout["yaxis"]["title"]["text"]


def test_heatmap_refuses_what_is_no_matrix() -> None:
    with pytest.raises(ValueError, match="rows and columns"):
        figures.heatmap("m", np.zeros((0, 3)), x=SECONDS, y=SECONDS, value="v")
    with pytest.raises(ValueError, match="3 lines, but 2 labels"):
        figures.heatmap("m", np.zeros((2, 3)), x=figures.Axis("h", labels=["a", "b"]), y=SECONDS, value="v")


# --- scatter ----------------------------------------------------------------------------------------------


def points(n: int, n_groups: int) -> Figure:
    return figures.scatter(
        "p",
        np.arange(n),
        np.arange(n) * 2.0,
        [f"point {at}" for at in range(n)],
        x_title="UMAP 1 (no unit)",
        y_title="UMAP 2 (no unit)",
        groups=[None if at % 5 == 0 else f"group {at % n_groups}" for at in range(n)],
        highlights={"word": [3], "none of these": [], "near": [4, 5]},
    )


@pytest.mark.parametrize(("n", "n_groups"), [(30, 3), (30, 12), (60, 40), (2500, 3)])
def test_scatter_shows_every_point_once_and_the_highlights_above(n: int, n_groups: int) -> None:
    figure = points(n, n_groups)
    test_plotly_takes_every_specification(figure)
    test_every_axis_says_what_it_shows(figure)
    data, _ = parts(figure)
    *crowd, near, word = data  # the first highlight lies on top
    assert [word["name"], near["name"]] == ["word", "near"] and near["customdata"] == ["point 4", "point 5"]
    assert word["legendrank"] < near["legendrank"]
    np.testing.assert_array_equal(unpacked(word["x"]), [3])
    np.testing.assert_array_equal(np.sort(np.concatenate([unpacked(trace["x"]) for trace in crowd])), np.arange(n))
    texts = sorted(text.partition(" (")[0] for trace in crowd for text in trace["text"])
    assert texts == sorted(f"point {at}" for at in range(n))
    assert {trace["type"] for trace in data} == {"scatter"}  # WebGL is not everywhere
    assert len(crowd) == (1 if n_groups > 12 else n_groups + 1)


def test_scatter_escapes_labels_and_refuses_what_does_not_fit() -> None:
    figure = figures.scatter(
        NASTY, [0], [0], [NASTY], x_title=NASTY, y_title=NASTY, groups=[NASTY], highlights={NASTY: [0]}
    )
    text = json.dumps(figure.spec)
    assert "<b>" not in text and "<a " not in text and "&lt;b&gt;" in text
    with pytest.raises(ValueError, match="2 points"):
        figures.scatter("p", [0, 1], [0, 1], ["a"], x_title="x", y_title="y")
    with pytest.raises(ValueError, match="does not exist"):
        figures.scatter("p", [0], [0], ["a"], x_title="x", y_title="y", highlights={"h": [1]})


def test_scatter_writes_labels_that_have_room_most_important_first() -> None:
    places = [0.0, 0.001, 0.5, 1.0]
    figure = figures.scatter(
        "p", places, places, list("abcd"), x_title="x", y_title="y", highlights={"first": [1], "then": [0, 2]}
    )
    data, _ = parts(figure)
    assert {trace["name"]: trace["text"] for trace in data[1:]} == {"first": ["b"], "then": ["", "c"]}
