"""Labels against planted detectors, and every measure against the same one computed from all activations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from wspy.atlas.bins import N_BINS, bin_edges, bins_of
from wspy.atlas.labels import (
    CLASSES,
    auroc,
    auroc_table,
    average_precision,
    beats_control,
    benjamini_hochberg,
    broad_class,
    broad_classes,
    class_mix,
    label_units,
    leading_classes,
    mix_entropy,
    permuted_auroc_table,
    permuted_values,
    range_mix,
    rank_auroc,
    student_quantile,
)
from wspy.atlas.phone_arrays import UnitPhones
from wspy.atlas.phones import PhoneStatistics
from wspy.atlas.tracks import N_GROUPS, PhoneTrack

PHONES = ("AA", "B", "IY", "K", "M", "S", "SIL", "Z")
N_DETECTORS, N_NOISE = 24, 200
LAG = 2


@dataclass
class Planted:
    """A toy site: units that answer to one phone two frames after it, in all strengths, and units of pure noise."""

    units: UnitPhones
    activations: np.ndarray
    """Of the frames that are aligned at the lag."""
    ids: np.ndarray
    shuffled: np.ndarray
    groups: np.ndarray
    strength: np.ndarray


def phone_of(unit: int) -> int:
    return unit % len(PHONES)


@pytest.fixture(scope="module")
def planted() -> Planted:
    rng = np.random.default_rng(0)
    n_units = N_DETECTORS + N_NOISE
    strength = np.concatenate([np.tile(np.repeat([0.7, 1.5, 4.0], len(PHONES)), 1), np.zeros(N_NOISE)])
    statistics = PhoneStatistics(n_units, PHONES)
    kept = []
    for clip in range(160):
        segments = rng.choice(len(PHONES), 60, p=np.array([4, 1, 3, 1, 2, 2, 5, 2]) / 20)
        durations = rng.integers(2, 8, 60)
        ids = np.repeat(segments, durations)[:150].astype(np.int16)
        order = rng.permutation(60)
        shuffled = np.repeat(segments[order], durations[order])[:150].astype(np.int16)
        track = PhoneTrack(ids, shuffled, clip % N_GROUPS, f"clip-{clip}")
        heard = np.concatenate([rng.integers(0, len(PHONES), LAG), ids[:-LAG]])
        signal = (heard[:, None] == np.arange(n_units) % len(PHONES)) * strength
        raw = rng.normal(size=signal.shape) * 0.8 + signal - 0.4
        activations = (raw / (1 + np.exp(-1.702 * raw))).astype(np.float32)  # the shape of a GELU
        statistics.update(activations, track)
        kept.append((activations[LAG:], ids[:-LAG], shuffled[:-LAG], np.full(150 - LAG, track.group)))
        if clip == 39:
            statistics.calibrate()
    return Planted(statistics.units(), *(np.concatenate(part) for part in zip(*kept, strict=True)), strength)


# --- measures ---------------------------------------------------------------------------------------------


def test_auroc_and_average_precision_equal_those_of_all_activations(planted):
    found = auroc_table(planted.units)
    halves = planted.units.histogram.astype(np.int64)
    halves = np.concatenate([halves, halves.sum(axis=1, keepdims=True)], axis=1)
    precise = average_precision(halves, halves.sum(axis=2, keepdims=True) - halves)
    masks = [planted.groups % 2 == 0, planted.groups % 2 == 1, planted.groups >= 0]
    for unit in [*range(0, N_DETECTORS, 3), N_DETECTORS + 3]:
        for half, mask in enumerate(masks):
            for phone in {phone_of(unit), 3}:
                truth, values = planted.ids[mask] == phone, planted.activations[mask, unit]
                assert found[unit, half, phone] == pytest.approx(roc_auc_score(truth, values), abs=0.01)
                assert precise[unit, half, phone] == pytest.approx(average_precision_score(truth, values), abs=0.01)


@pytest.mark.parametrize("scale", [0.01, 0.03, 1.0, 20.0])
def test_measures_hold_at_any_scale_and_for_rare_phones(scale):
    rng = np.random.default_rng(1)
    truth = rng.random(30_000) < 0.01
    values = (np.exp(rng.normal(size=len(truth))) * (1 + 3 * truth) * scale).astype(np.float32)
    bins = bins_of(values[:, None])[:, 0]
    phone, rest = np.bincount(bins[truth], minlength=N_BINS), np.bincount(bins[~truth], minlength=N_BINS)
    assert auroc(phone, rest) == pytest.approx(roc_auc_score(truth, values), abs=0.01)
    assert average_precision(phone, rest) == pytest.approx(average_precision_score(truth, values), abs=0.01)


@pytest.mark.parametrize("mean", [-6.0, -5.0, -4.0, -3.0, -1.0])
def test_auroc_holds_in_the_tail_of_a_gelu(mean):
    rng = np.random.default_rng(7)
    truth = rng.random(20_000) < 0.05
    raw = rng.normal(size=len(truth)) * 0.6 + mean + 0.5 * truth
    # As float32 computes it: beyond -5.5 the tail becomes zero.
    erf = np.array([math.erf(x / math.sqrt(2)) for x in raw], np.float32)
    values = raw.astype(np.float32) * np.float32(0.5) * (np.float32(1) + erf)
    bins = bins_of(values[:, None])[:, 0]
    phone, rest = np.bincount(bins[truth], minlength=N_BINS), np.bincount(bins[~truth], minlength=N_BINS)
    assert auroc(phone, rest) == pytest.approx(roc_auc_score(truth, values), abs=0.01)


def test_measures_of_hand_made_histograms():
    phone, rest = np.array([0, 0, 0, 4]), np.array([3, 2, 1, 0])
    assert auroc(phone, rest) == 1 and average_precision(phone, rest) == 1
    assert auroc(rest, phone) == 0
    assert auroc(rest, rest) == 0.5
    flat = np.array([0, 5, 0, 0])
    assert auroc(flat, 3 * flat) == 0.5  # all in one bin: ties count half
    assert average_precision(100 * flat, 300 * flat) == pytest.approx(0.25, abs=0.01)
    assert np.isnan(auroc(0 * phone, rest)) and np.isnan(average_precision(0 * phone, rest))


def test_auroc_from_ranks_agrees_with_brute_force(planted):
    by_half = np.stack([planted.units.rank_sums[:, half::2].sum(axis=1) for half in range(2)], axis=1)
    found = rank_auroc(by_half, planted.units.half_counts)
    permuted = permuted_auroc_table(planted.units)
    for unit in [*range(1, N_DETECTORS, 3), N_DETECTORS + 7]:
        for half in range(2):
            mask = planted.groups % 2 == half
            for phone in {phone_of(unit), 6}:
                values = planted.activations[mask, unit]
                assert found[unit, half, phone] == pytest.approx(
                    roc_auc_score(planted.ids[mask] == phone, values), abs=0.01
                )
                assert permuted[unit, half, phone] == pytest.approx(
                    roc_auc_score(planted.shuffled[mask] == phone, values), abs=0.01
                )


# --- labels -----------------------------------------------------------------------------------------------


def test_planted_detectors_are_found_with_their_lag(planted):
    labels = label_units(planted.units, np.random.default_rng(0))
    assert planted.units.lag == LAG and len(labels) == N_DETECTORS + N_NOISE
    counts = np.bincount(planted.ids[planted.groups % 2 == 1], minlength=len(PHONES))
    for label in labels[:N_DETECTORS]:
        assert label.phone == PHONES[phone_of(label.unit)] and label.lag == LAG
        assert label.broad_class == broad_class(label.phone)
        assert label.count == counts[phone_of(label.unit)]
        assert label.base_rate == pytest.approx(label.count / counts.sum())
        assert label.auroc_low < label.auroc < label.auroc_high
        assert label.auroc == pytest.approx(auroc_table(planted.units)[label.unit, 1, phone_of(label.unit)])
        assert label.average_precision > 1.3 * label.base_rate
    for weak, strong in zip(labels[:8], labels[16:24], strict=True):
        assert strong.auroc > weak.auroc and strong.auroc > 0.99


def test_noise_gets_no_label_beyond_the_false_discovery_rate(planted):
    labels = label_units(planted.units, np.random.default_rng(0))
    q = benjamini_hochberg(beats_control(np.array([label.auroc for label in labels]), permuted_values(planted.units)))
    assert (q[:N_DETECTORS] < 0.05).all()
    discoveries = int((q < 0.05).sum())
    assert (q[N_DETECTORS:] < 0.05).sum() <= 0.1 * discoveries


def test_the_choice_makes_half_a_look_better_than_half_b_for_noise(planted):
    noise = label_units(planted.units, np.random.default_rng(0))[N_DETECTORS:]
    assert np.mean([label.chosen_auroc for label in noise]) > 0.505
    assert np.mean([label.auroc for label in noise]) == pytest.approx(0.5, abs=0.003)


def test_phones_with_too_few_frames_are_no_labels(planted):
    fewest = PHONES[int(planted.units.half_counts.min(axis=0).argmin())]
    minimum = int(planted.units.half_counts.min()) + 1
    labels = label_units(planted.units, np.random.default_rng(0), minimum=minimum)
    assert labels and fewest not in {label.phone for label in labels}
    assert label_units(planted.units, np.random.default_rng(0), minimum=10**9) == []
    assert len(permuted_values(planted.units, minimum=10**9)) == 0


@pytest.mark.parametrize(("n_groups", "expected"), [(20, 0.95), (8, 0.95)])
def test_bootstrap_intervals_cover_the_truth(n_groups, expected):
    rng = np.random.default_rng(2)
    # Many units at once: a phone with a shift of 1, and groups (speakers) with shifts of their own for that phone.
    n_units, per_group = 300, 60
    statistics = PhoneStatistics(n_units, ("AA", "B"))
    for group in range(n_groups):
        ids = np.repeat(np.arange(2), per_group).astype(np.int16)
        shift = 1 + 0.5 * rng.normal(size=n_units)
        values = rng.normal(size=(len(ids), n_units)) + (ids == 1)[:, None] * shift
        statistics.update(values.astype(np.float32), PhoneTrack(ids, ids, group))
    statistics.calibrate()
    labels = label_units(statistics.units(), rng)
    truth = 0.5 * (1 + math.erf(1 / np.sqrt(2 + 0.25) / np.sqrt(2)))  # P(B > A) over all groups
    at_b = [label if label.phone == "B" else None for label in labels]
    covered = np.mean([label.auroc_low <= truth <= label.auroc_high for label in at_b if label])
    assert covered == pytest.approx(expected, abs=0.05)


def test_fewer_than_two_groups_give_no_interval():
    statistics = PhoneStatistics(2, ("AA", "B"))
    rng = np.random.default_rng(3)
    for group in (0, 1):
        ids = np.repeat([0, 1], 80).astype(np.int16)
        statistics.update(rng.normal(size=(160, 2)).astype(np.float32), PhoneTrack(ids, ids, group))
    statistics.calibrate()
    label = label_units(statistics.units(), rng)[0]
    assert np.isnan(label.auroc_low) and np.isnan(label.auroc_high) and 0 < label.auroc < 1


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (5, 2.5706), (9, 2.2622), (100, 1.9840)]
)
def test_student_quantiles_equal_those_of_the_tables(degrees, expected):
    assert student_quantile(degrees) == pytest.approx(expected, rel=0.01)


# --- controls ---------------------------------------------------------------------------------------------


def test_p_counts_the_value_itself_as_one_of_the_controls():
    p = beats_control(np.array([0.9, 0.5, 0.1]), np.array([0.2, 0.5, np.nan, 0.6, 0.3]))
    assert p.tolist() == [1 / 5, 3 / 5, 1.0]


def test_benjamini_hochberg_by_hand():
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.8])
    assert benjamini_hochberg(p) == pytest.approx([0.025, 0.05, 0.05, 0.025, 0.8])
    assert len(benjamini_hochberg(np.zeros(0))) == 0
    assert benjamini_hochberg(np.array([0.9, 1.0])).max() == 1


def test_controls_alone_are_not_discovered():
    rng = np.random.default_rng(4)
    found = [
        (benjamini_hochberg(beats_control(rng.normal(size=500), rng.normal(size=500))) < 0.05).any() for _ in range(60)
    ]
    assert np.mean(found) < 0.15


# --- classes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        ("P B T D K G bcl dcl gcl pcl tcl kcl dx q", "stops"),
        ("F V TH DH S Z SH ZH HH hv", "fricatives"),
        ("CH jh", "affricates"),
        ("M N NG em en eng nx", "nasals"),
        ("L R el", "liquids"),
        ("W Y", "glides"),
        ("AA AE0 AH1 ao AW AY2 EH ER ey IH IY OW OY UH UW axr ix ux ax ax-h", "vowels"),
        ("SIL pau epi h#", "silence"),
    ],
)
def test_classes_of_arpabet_and_timit(symbols, expected):
    assert {broad_class(symbol) for symbol in symbols.split()} == {expected}


def test_other_alphabets_have_no_classes_even_where_letters_are_shared():
    assert broad_class("a +hoe") is None and broad_class("zz") is None and broad_class("1") is None
    assert broad_classes(("B", "NOISE", "SIL", "S")) == ("stops", None, "silence", "fricatives")
    assert broad_classes(("SIL", "a", "b", "zz")) == ("silence", None, None, None)


# --- polysemanticity --------------------------------------------------------------------------------------


def test_range_mix_counts_frames_by_tenth_of_the_maximum():
    rng = np.random.default_rng(5)
    ids = rng.integers(0, 3, 60_000)
    # A unit that answers to phone 0 most, to phone 1 half as much, and to phone 2 not.
    values = (np.abs(rng.normal(size=len(ids)) * 0.1 + np.array([4.0, 2.0, 0.3])[ids])).astype(np.float32)
    bins = bins_of(values[:, None])[:, 0]
    histogram = np.stack([np.bincount(bins[ids == phone], minlength=N_BINS) for phone in range(3)])
    mix = range_mix(histogram, float(values.max()))
    assert mix.sum() == pytest.approx(len(ids), rel=1e-3)
    which = np.minimum((values / values.max() * 10).astype(int), 9)
    exact = np.stack([np.bincount(ids[which == i], minlength=3) for i in range(10)])
    assert np.abs(mix - exact).sum() / (2 * len(ids)) < 0.1  # misplaced, by the width of bins
    entropy = mix_entropy(mix)
    assert entropy[9] < 0.01 and mix[9].argmax() == 0 and mix[4].argmax() == 1 and mix[0].argmax() == 2
    phones = ("AA", "S", "SIL")
    assert leading_classes(mix, phones)[9] == "vowels" and leading_classes(mix, phones)[4] == "fricatives"
    by_class = class_mix(mix, phones)
    assert by_class[:, CLASSES.index("vowels")] == pytest.approx(mix[:, 0])


def test_range_mix_splits_bins_that_reach_over_a_range():
    edges = bin_edges()
    at = int(bins_of(np.float32([[1.0]]))[0, 0])  # from 1 to 1.125
    histogram = np.zeros((1, N_BINS), int)
    histogram[0, at] = 90
    assert edges[at] == 1 and edges[at + 1] == 1.125
    assert range_mix(histogram, 2.1, n_ranges=2)[:, 0] == pytest.approx([36, 54])  # the border is 1.05
    assert range_mix(histogram, 1.05, n_ranges=1)[:, 0] == pytest.approx([90])  # nothing lies above the maximum
    assert range_mix(histogram[:, ::-1], 2.1).sum() == 0
    assert range_mix(histogram, 0.0).sum() == 0
    histogram[0, int(bins_of(np.float32([[0.0]]))[0, 0])] = 1000  # a unit that is mostly zero
    assert range_mix(histogram, 2.1, n_ranges=2)[:, 0] == pytest.approx([36, 54])
    beyond = np.zeros((1, N_BINS), int)
    beyond[0, -1] = 10
    assert range_mix(beyond, 3000.0).sum() == pytest.approx(10)


def test_entropy_of_ranges():
    mix = np.array([[1.0, 1, 1, 1], [5, 0, 0, 0], [0, 0, 0, 0]])
    entropy = mix_entropy(mix)
    assert entropy[:2] == pytest.approx([2, 0]) and np.isnan(entropy[2])
    assert leading_classes(mix[1:], ("AA", "B", "M", "S")) == ["vowels", None]
