"""Streaming statistics against the same numbers computed from all activations at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wspy.atlas.statistics import (
    EMPTY,
    PER_RANGE,
    RANGES,
    SAMPLES,
    SIGNS,
    TOP,
    TRACE,
    Examples,
    SiteStatistics,
    _bin_of,
    clip_hash,
    peak_bin_edges,
    trace_start,
    unit_from_arrays,
)
from wspy.errors import BadActivations

N_UNITS = 5


def clips(seed: int, count: int, longest: int = 140) -> list[np.ndarray]:
    """Activations like those after a GELU: a few large ones, many near zero; some exact ties between clips."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        raw = rng.normal(size=(rng.integers(1, longest), N_UNITS)) * rng.choice([0.1, 1, 5]) - 0.5
        made.append(np.maximum(raw, -0.17).round(2).astype(np.float32))
    return made


def gathered(activations: list[np.ndarray], which: list[int], top: int = TOP) -> SiteStatistics:
    statistics = SiteStatistics(N_UNITS, top)
    for at in which:
        statistics.update(activations[at], at, f"clip-{at}")
    return statistics


def unit_of(statistics: SiteStatistics, idx: int, whole: bool = False):
    """One unit, read as the store reads it."""
    row = {}
    arrays = statistics.arrays(whole=whole)
    for name, array in arrays.items():
        if name == "counts":
            row[name] = array
        elif ".samples." not in name:
            row[name] = array[idx]
        elif name.endswith("offset"):
            start, stop = array[idx : idx + 2]
            for field in Examples.FIELDS:
                key = name.replace("offset", field)
                row[key] = arrays[key][start:stop]
    return unit_from_arrays(row)


def same(a: SiteStatistics, b: SiteStatistics) -> bool:
    left, right = a.arrays(), b.arrays()
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def many() -> list[np.ndarray]:
    return clips(0, 200)


def test_moments_equal_those_of_all_frames(many):
    statistics = gathered(many, list(range(len(many))))
    everything = np.concatenate(many).astype(np.float64)
    for idx in range(N_UNITS):
        unit = unit_of(statistics, idx)
        assert unit.n_clips == len(many) and unit.n_frames == len(everything)
        assert unit.mean == pytest.approx(everything[:, idx].mean(), abs=1e-5)
        assert unit.std == pytest.approx(everything[:, idx].std(), abs=1e-4)
        assert unit.minimum == everything[:, idx].min().astype(np.float32)
        assert unit.maximum == everything[:, idx].max().astype(np.float32)
        assert unit.density == (everything[:, idx] > 0).mean()


@pytest.mark.parametrize("sign", SIGNS)
def test_top_clips_are_those_with_the_most_extreme_peaks(many, sign):
    unit = unit_of(gathered(many, list(range(len(many)))), 3)
    peaks = [(sign * activations[:, 3]).max() for activations in many]
    order = sorted(range(len(many)), key=lambda at: (-peaks[at], int(clip_hash(f"clip-{at}"))))[:TOP]
    assert unit.top[sign].clip.tolist() == order
    assert unit.top[sign].value.tolist() == [peaks[at] for at in order]
    for at, frame in zip(unit.top[sign].clip, unit.top[sign].frame, strict=True):
        assert frame == (sign * many[at][:, 3]).argmax()


def test_histogram_counts_every_clip_once_and_in_the_right_bin(many):
    unit = unit_of(gathered(many, list(range(len(many)))), 0)
    peaks = np.array([activations[:, 0].max() for activations in many])
    expected, _ = np.histogram(np.maximum(peaks, 0), bins=peak_bin_edges())
    assert unit.histogram[1].sum() == len(many)
    assert unit.histogram[1].tolist() == expected.tolist()


def test_values_beyond_the_octaves_fall_into_the_outer_bins():
    edges = peak_bin_edges()
    assert _bin_of(np.array([-1.0, 0.0, 1e-9, 1e9], np.float32), 16).tolist() == [0, 0, 0, len(edges) - 2]


@pytest.mark.parametrize("n_frames", [5, TRACE, TRACE + 39])
def test_traces_hold_the_activation_around_the_peak(n_frames):
    activations = np.random.default_rng(1).normal(size=(n_frames, N_UNITS)).astype(np.float32)
    statistics = SiteStatistics(N_UNITS)
    statistics.update(activations, 0, "only")
    for idx in range(N_UNITS):
        kept = unit_of(statistics, idx).top[1]
        start = int(trace_start(int(kept.frame[0]), n_frames))
        expected = activations[start : start + TRACE, idx]
        trace = kept.activations()[0]
        step = float(np.abs(expected).max()) / 127
        assert np.abs(trace[: len(expected)] - expected).max() <= step * 0.51
        assert trace[int(kept.frame[0]) - start] == pytest.approx(float(kept.value[0]), abs=step)


def test_ranges_between_zero_and_the_peak_show_clips_of_that_range(many):
    unit = unit_of(gathered(many, list(range(len(many)))), 2)
    height = float(unit.top[1].value[0])
    found = unit.range_examples(1)
    assert len(found) == 10
    for i, examples in enumerate(found):
        assert len(examples.value) <= 2
        assert all(height * i / 10 <= value <= height * (i + 1) / 10 * (1 + 1e-6) for value in examples.value)
    peaks = np.array([activations[:, 2].max() for activations in many])
    filled = np.histogram(peaks[peaks > 0], bins=np.linspace(0, height, 11))[0] > 0
    assert [len(examples.value) > 0 for examples in found] == filled.tolist()


def test_a_finished_atlas_keeps_the_samples_that_ranges_show_and_no_others(many):
    statistics = gathered(many, list(range(len(many))))
    whole, finished = statistics.arrays(), statistics.arrays(whole=True)
    for sign, name in ((1, "positive"), (-1, "negative")):
        n_kept, n_all = (len(arrays[f"{name}.samples.hash"]) for arrays in (finished, whole))
        assert n_kept < 0.7 * n_all if sign > 0 else n_kept == n_all  # all lows are alike
        assert np.diff(finished[f"{name}.samples.offset"]).max() <= RANGES * PER_RANGE
        for idx in range(statistics.n_units):
            before, after = (unit_of(statistics, idx, whole=each).range_examples(sign) for each in (False, True))
            assert [shown.hash.tolist() for shown in before] == [shown.hash.tolist() for shown in after]


def test_samples_do_not_prefer_a_clip_for_its_place():
    """Bottom-k sampling is uniform: over many equal clips every tenth of the corpus is drawn about equally often."""
    statistics = SiteStatistics(400)
    rng = np.random.default_rng(2)
    for at in range(200):
        # 400 units with independent bins, so that each is a draw of its own among the clips of its bin.
        statistics.update(rng.uniform(0.01, 100, size=(1, 400)).astype(np.float32), at, f"clip-{at}")
    arrays = statistics.arrays()
    drawn = np.histogram(arrays["positive.samples.clip"], bins=10, range=(0, 200))[0]
    assert drawn.min() > 0.4 * drawn.mean()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_order_and_grouping_of_merges_gives_the_same_to_the_bit(data):
    activations, top = clips(data.draw(st.integers(0, 5)), 40, longest=20), data.draw(st.sampled_from([1, 3, TOP, 60]))
    whole = gathered(activations, list(range(40)), top)
    order = data.draw(st.permutations(range(40)))
    n_cuts = data.draw(st.integers(1, 6))
    cuts = sorted(data.draw(st.lists(st.integers(0, 40), min_size=n_cuts, max_size=n_cuts)))
    parts = [gathered(activations, list(order[a:b]), top) for a, b in zip([0, *cuts], [*cuts, 40], strict=True)]
    while len(parts) > 1:
        i = data.draw(st.integers(0, len(parts) - 2))
        first, second = parts.pop(i), parts.pop(i)
        parts.insert(i, first.merge(second) if data.draw(st.booleans()) else second.merge(first))
    assert same(parts[0], whole)


def test_statistics_that_keep_another_number_of_clips_do_not_merge(many):
    with pytest.raises(ValueError, match="cannot merge"):
        gathered(many, [0], top=3).merge(gathered(many, [1], top=4))


def test_arrays_round_trip(many):
    statistics = gathered(many, list(range(60)))
    again = SiteStatistics.from_arrays(statistics.arrays())
    assert same(again, statistics)
    again.update(many[60], 60, "clip-60")  # arrays read from a file can be added to
    assert same(again, gathered(many, list(range(61))))


def test_free_slots_never_look_like_clips():
    unit = unit_of(gathered(clips(3, 2), [0, 1]), 0)
    assert len(unit.top[1].clip) == 2 and (unit.top[1].hash != EMPTY).all()
    assert len(unit.samples[1].clip) <= 2 * SAMPLES and (unit.samples[1].clip >= 0).all()


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1.0, 1e3, 1e6])
def test_moments_hold_for_tiny_and_huge_activations(scale):
    activations = [(scale * clip).astype(np.float32) for clip in clips(5, 30)]
    unit = unit_of(gathered(activations, list(range(30))), 2)
    together = np.concatenate(activations)[:, 2].astype(np.float64)
    assert unit.mean == pytest.approx(together.mean(), rel=1e-6)
    assert unit.std == pytest.approx(together.std(), rel=1e-6)


def test_a_small_spread_around_a_large_mean_is_kept():
    activations = [np.full((50, N_UNITS), 1000 + 0.5 * (n % 2), np.float32) for n in range(20)]
    unit = unit_of(gathered(activations, list(range(20))), 0)
    assert unit.mean == 1000.25 and unit.std == 0.25


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e12])
def test_activations_of_a_broken_model_are_refused_by_clip(bad):
    with pytest.raises(BadActivations, match="clip 'x'"):
        SiteStatistics(N_UNITS).update(np.full((3, N_UNITS), bad, np.float32), 0, "x")


@pytest.mark.parametrize("bad", [np.zeros((0, N_UNITS)), np.zeros((3, N_UNITS + 1))])
def test_activations_that_are_no_evidence_are_refused(bad):
    with pytest.raises(ValueError, match="clip 'x'"):
        SiteStatistics(N_UNITS).update(bad.astype(np.float32), 0, "x")
