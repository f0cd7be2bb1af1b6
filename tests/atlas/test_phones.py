"""Phone statistics against the same numbers computed from all activations at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wspy.atlas.bins import N_BINS, ZERO_BIN, bin_edges, bins_of
from wspy.atlas.phone_arrays import LAGS, PACKED, ROWS, SHARED, STEP, unit_phones_from_arrays
from wspy.atlas.phones import LARGEST, Calibration, PhoneStatistics
from wspy.atlas.tracks import MAX_PHONES, N_GROUPS, OTHER, PhonePlan, PhoneTrack
from wspy.audio import FRAME_S, SAMPLE_RATE
from wspy.corpus import SILENCE, Alignment, Clip, Corpus, Interval
from wspy.errors import BadActivations, DifferentCalibration

PHONES = ("AA", "B", "SIL", "Z")
N_UNITS = 5


def clips(seed: int, count: int, longest: int = 60, phones: int = len(PHONES)) -> list[tuple[np.ndarray, PhoneTrack]]:
    """Activations like those after a GELU and segments of phones, some frames unaligned."""
    rng = np.random.default_rng(seed)
    made = []
    for at in range(count):
        n_frames = int(rng.integers(1, longest))
        raw = rng.normal(size=(n_frames, N_UNITS)) * rng.choice([0.1, 1, 30]) - 0.1
        segments = np.repeat(rng.integers(-1, phones, n_frames), rng.integers(1, 9, n_frames))[:n_frames]
        shuffled = segments.copy()
        shuffled[segments >= 0] = rng.permutation(segments[segments >= 0])
        track = PhoneTrack(
            segments.astype(np.int16), shuffled.astype(np.int16), int(rng.integers(N_GROUPS)), f"clip-{at}"
        )
        made.append((np.maximum(raw, -0.17).astype(np.float32), track))
    return made


def gathered(some: list[tuple[np.ndarray, PhoneTrack]], calibration: Calibration | None = None) -> PhoneStatistics:
    statistics = PhoneStatistics(N_UNITS, PHONES, calibration)
    for activations, track in some:
        statistics.update(activations, track)
    return statistics


def same(a: PhoneStatistics, b: PhoneStatistics) -> bool:
    left, right = a.arrays(), b.arrays()
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and left[name].tobytes() == right[name].tobytes() for name in left
    )


def pairs(some, lag: int):
    """Every activation with the phone `lag` frames before, the shuffled phone and the group, frame by frame."""
    for activations, track in some:
        for frame, row in enumerate(activations):
            if 0 <= frame - lag < len(track.ids) and track.ids[frame - lag] >= 0:
                yield row, int(track.ids[frame - lag]), int(track.shuffled[frame - lag]), track.group


# --- bins -------------------------------------------------------------------------------------------------


def test_every_value_lies_between_the_edges_of_its_bin():
    edges = bin_edges()
    assert len(edges) == N_BINS + 1 and (np.diff(edges) > 0).all()
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [
            (rng.normal(size=20_000) * 2.0 ** rng.integers(-30, 9, 20_000)).astype(np.float32),
            edges,
            np.nextafter(edges, np.float32(0)),
            np.float32([0, -0.0, 1e-30, -1e-30, 1e-40]),
        ]
    )
    values = values[np.abs(values) < 2**9]
    bins = bins_of(values[:, None])[:, 0].astype(int)
    magnitude, mirrored = np.abs(values), np.where(values < 0, N_BINS - 1 - bins, bins)
    assert (magnitude < edges[mirrored + 1]).all()
    assert ((magnitude >= edges[mirrored]) | (bins == ZERO_BIN)).all()


def test_values_beyond_the_edges_go_to_the_outermost_bins():
    assert bins_of(np.float32([[1e3, -1e3, np.inf, 512, -512, 511]])).tolist() == [[254, 0, 254, 254, 0, 254]]


def test_bins_are_at_most_an_eighth_of_their_edge_wide_from_an_eighth_to_64():
    edges = bin_edges()
    above = edges[(edges >= 0.125) & (edges <= 64)]
    assert (np.diff(above) / above[:-1] <= 0.1251).all()


# --- counts and sums --------------------------------------------------------------------------------------


def test_sums_at_every_lag_equal_those_of_all_frames():
    some = clips(1, 40)
    units = gathered(some).units()
    for at, lag in enumerate(LAGS):
        counts, sums = np.zeros(len(PHONES), int), np.zeros((N_UNITS, len(PHONES)))
        for row, phone, _, _ in pairs(some, lag):
            counts[phone] += 1
            sums[:, phone] += np.rint(row.astype(np.float64) / STEP)
        assert np.array_equal(units.counts[:, at], counts)
        assert np.array_equal(units.sums[:, :, at], sums)


@pytest.mark.parametrize("lag", LAGS)
def test_histograms_and_rank_sums_at_the_lag_equal_those_of_all_frames(lag):
    some = clips(2, 30)
    ranks = np.random.default_rng(3).integers(0, 256, (N_UNITS, N_BINS)).astype(np.uint8)
    units = gathered(some, Calibration(lag, ranks)).units()
    histogram = np.zeros((N_UNITS, 2, len(PHONES), N_BINS), int)
    rank_sums = np.zeros((N_UNITS, N_GROUPS, len(PHONES)), int)
    shuffled_sums = np.zeros((N_UNITS, 2, len(PHONES)), int)
    group_counts, shuffled_counts = np.zeros((N_GROUPS, len(PHONES)), int), np.zeros((2, len(PHONES)), int)
    for row, phone, shuffled, group in pairs(some, lag):
        bins = bins_of(row[None])[0]
        group_counts[group, phone] += 1
        shuffled_counts[group % 2, shuffled] += 1
        for unit in range(N_UNITS):
            histogram[unit, group % 2, phone, bins[unit]] += 1
            rank_sums[unit, group, phone] += ranks[unit, bins[unit]]
            shuffled_sums[unit, group % 2, shuffled] += ranks[unit, bins[unit]]
    assert units.lag == lag
    assert np.array_equal(units.histogram, histogram) and np.array_equal(units.rank_sums, rank_sums)
    assert np.array_equal(units.group_counts, group_counts) and np.array_equal(units.shuffled_counts, shuffled_counts)
    assert np.array_equal(units.shuffled_rank_sums, shuffled_sums)
    assert np.array_equal(units.half_counts, histogram[0].sum(axis=-1))


def test_many_frames_are_counted_in_several_goes():
    some = clips(4, 60, longest=1500)
    calibration = gathered(some[:5]).calibrate()
    units = gathered(some, calibration).units()
    frames = list(pairs(some, units.lag))
    assert units.histogram[0].sum() == len(frames) > 20_000
    assert units.counts[:, LAGS.index(units.lag)].sum() == len(frames)
    total = sum(int(calibration.ranks[0, bins_of(row[None])[0, 0]]) for row, _, _, _ in frames)
    assert units.rank_sums[0].sum() == units.shuffled_rank_sums[0].sum() == total


def test_what_is_buffered_before_calibration_is_counted_after_it():
    some = clips(5, 20)
    early = gathered(some[:12])
    assert not early.calibrated and early.n_calibration_frames == sum((t.ids >= 0).sum() for _, t in some[:12])
    calibration = early.calibrate()
    assert early.calibrated and early.n_calibration_frames == 0
    for activations, track in some[12:]:
        early.update(activations, track)
    assert same(early, gathered(some, calibration))


@pytest.mark.parametrize("planted", LAGS)
def test_the_lag_is_the_one_at_which_phones_explain_most(planted):
    rng = np.random.default_rng(6)
    statistics = PhoneStatistics(N_UNITS, PHONES)
    for _, track in clips(6, 60, longest=150):
        heard = np.roll(track.ids, planted)
        signal = (heard[:, None] == np.arange(N_UNITS) % len(PHONES)) * 1.0
        statistics.update((signal + rng.normal(size=signal.shape) * 0.5).astype(np.float32), track)
    assert statistics.calibrate().lag == planted


def test_ranks_are_mid_ranks_of_the_first_clips():
    some = clips(7, 50)
    calibration = gathered(some).calibrate()
    rows = np.array([row for row, _, _, _ in pairs(some, calibration.lag)])
    bins = bins_of(rows)[:, 2].astype(int)
    for held in np.unique(bins):
        expected = 255 * ((bins < held).mean() + (bins == held).mean() / 2)
        assert calibration.ranks[2, held] == pytest.approx(expected, abs=0.51)
    assert (np.diff(calibration.ranks.astype(int), axis=1) >= 0).all()


def test_a_unit_that_never_changes_does_not_disturb_the_lag():
    some = [(np.concatenate([a[:, :4], np.zeros((len(a), 1), np.float32)], axis=1), t) for a, t in clips(8, 20)]
    explained = gathered(some).explained()
    assert np.isfinite(explained).all() and (explained > 0).all()


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, LARGEST, -LARGEST])
def test_activations_that_cannot_be_summed_are_refused(value):
    activations, track = clips(9, 1)[0]
    track = PhoneTrack(np.zeros_like(track.ids), np.zeros_like(track.ids), 0, "clip-9")
    activations[-1, 3] = value
    with pytest.raises(BadActivations, match="clip-9"):
        PhoneStatistics(N_UNITS, PHONES).update(activations, track)


def test_shapes_that_do_not_fit_are_refused():
    activations, track = clips(10, 1)[0]
    with pytest.raises(ValueError, match="activations"):
        PhoneStatistics(N_UNITS, PHONES).update(activations[:-1], track)
    with pytest.raises(ValueError, match="sorted"):
        PhoneStatistics(N_UNITS, ("B", "A"))
    with pytest.raises(ValueError, match="calibration of 3"):
        PhoneStatistics(N_UNITS, PHONES, Calibration(0, np.zeros((3, N_BINS), np.uint8)))
    with pytest.raises(ValueError, match="merge"):
        PhoneStatistics(N_UNITS, PHONES).merge(PhoneStatistics(2, PHONES))


def test_the_largest_activations_are_summed_exactly():
    largest = np.nextafter(np.float32(LARGEST), np.float32(0))
    track = PhoneTrack(np.zeros(1500, np.int16), np.zeros(1500, np.int16), 0)
    statistics = PhoneStatistics(1, PHONES)
    for _ in range(20):
        statistics.update(np.full((1500, 1), largest), track)
    assert statistics.units().sums[0, 0, LAGS.index(0)] == 30_000 * int(float(largest) / STEP)


def test_clips_without_phones_leave_nothing():
    empty = PhoneStatistics(N_UNITS, PHONES)
    track = PhoneTrack(np.full(7, -1, np.int16), np.full(7, -1, np.int16), 0)
    empty.update(np.ones((7, N_UNITS), np.float32), track)
    assert same(empty, PhoneStatistics(N_UNITS, PHONES))
    empty.calibrate()
    assert same(PhoneStatistics.from_arrays(empty.arrays()), empty)


# --- merging and storing ----------------------------------------------------------------------------------

SOME = clips(11, 24)
CALIBRATION = gathered(SOME[:6]).calibrate()
WHOLE = gathered(SOME, CALIBRATION)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=len(SOME), max_size=len(SOME)), st.data())
def test_clips_split_and_merged_in_any_way_give_the_same_bytes(parts, data):
    # Some shards were written before they were calibrated, and all pass through their stored form.
    late = data.draw(st.sets(st.integers(1, 4)))
    shards = []
    for at in range(5):
        mine = [clip for clip, part in zip(SOME, parts, strict=True) if part == at]
        shard = gathered(mine, None if at in late else CALIBRATION)
        shards.append(PhoneStatistics.from_arrays(shard.arrays()))
    while len(shards) > 1:
        left = shards.pop(data.draw(st.integers(0, len(shards) - 1)))
        right = shards.pop(data.draw(st.integers(0, len(shards) - 1)))
        shards.append(left.merge(right))
    assert same(shards[0], WHOLE)


def test_shards_without_calibration_merge_and_calibrate_alike():
    one, other = gathered(SOME[:10]), gathered(SOME[10:])
    assert same(one.merge(other), other.merge(one))
    merged, whole = other.merge(one), gathered(SOME)
    assert same(merged, whole)
    assert merged.calibrate() == whole.calibrate()
    assert same(merged, whole)


def test_merging_leaves_both_as_they_were():
    one, other = gathered(SOME[:10], CALIBRATION), gathered(SOME[10:], CALIBRATION)
    before = one.arrays()
    merged = one.merge(other)
    merged.update(*SOME[0])
    assert all(np.array_equal(array, one.arrays()[name]) for name, array in before.items())


def test_phones_of_both_are_united():
    renamed = PhoneStatistics(N_UNITS, ("B", "M", "NG", "SIL"), CALIBRATION)
    for activations, track in SOME[10:]:
        renamed.update(activations, track)
    both = gathered(SOME[:10], CALIBRATION).merge(renamed)
    assert both.phones == ("AA", "B", "M", "NG", "SIL", "Z")
    assert same(both, renamed.merge(gathered(SOME[:10], CALIBRATION)))
    one, other, united = gathered(SOME[:10], CALIBRATION).units(), renamed.units(), both.units()
    assert np.array_equal(united.histogram[:, :, 1], one.histogram[:, :, 1] + other.histogram[:, :, 0])
    assert np.array_equal(united.rank_sums[:, :, 5], one.rank_sums[:, :, 3])
    assert np.array_equal(united.sums[:, 3], other.sums[:, 2])
    late = PhoneStatistics(N_UNITS, ("B", "M", "NG", "SIL"))
    for activations, track in SOME[10:]:
        late.update(activations, track)
    assert same(gathered(SOME[:10], CALIBRATION).merge(late), both)


def test_different_calibrations_do_not_merge():
    other_lag = Calibration(3 if CALIBRATION.lag != 3 else 2, CALIBRATION.ranks)
    other_ranks = Calibration(CALIBRATION.lag, 255 - CALIBRATION.ranks)
    for other in (other_lag, other_ranks):
        with pytest.raises(DifferentCalibration, match="calibration of the first"):
            WHOLE.merge(PhoneStatistics(N_UNITS, PHONES, other))


def test_statistics_come_back_from_their_arrays():
    for statistics in (WHOLE, gathered(SOME[:5]), PhoneStatistics(N_UNITS, PHONES), PhoneStatistics(N_UNITS, ())):
        assert same(PhoneStatistics.from_arrays(statistics.arrays()), statistics)
    resumed = PhoneStatistics.from_arrays(gathered(SOME[:5]).arrays())
    for activations, track in SOME[5:]:
        resumed.update(activations, track)
    assert same(resumed, gathered(SOME))


def test_one_unit_is_read_from_its_own_bytes():
    arrays, units = WHOLE.arrays(), WHOLE.units()
    for unit in range(N_UNITS):
        row = {name: arrays[name] for name in SHARED} | {name: arrays[name][unit] for name in ROWS}
        for name in PACKED:
            start, end = arrays[f"{name}.offset"][unit : unit + 2]
            row[f"{name}.data"] = arrays[f"{name}.data"][start:end]
        alone = unit_phones_from_arrays(row)
        assert alone.phones == PHONES and alone.lag == CALIBRATION.lag
        assert np.array_equal(alone.histogram, units.histogram[unit])
        assert np.array_equal(alone.sums, units.sums[unit])
        assert np.array_equal(alone.rank_sums, units.rank_sums[unit])
        assert np.array_equal(alone.shuffled_rank_sums, units.shuffled_rank_sums[unit])
        assert np.array_equal(alone.means, units.means[unit])


# --- tracks -----------------------------------------------------------------------------------------------


def corpus_of(alignments: dict[str, Alignment | None], speakers: list[str | None] | None = None) -> Corpus:
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    named = speakers or [None] * len(alignments)
    return Corpus.in_memory(
        "made", [(silence, Clip(id=i, speaker=s), a) for (i, a), s in zip(alignments.items(), named, strict=True)]
    )


def alignment(*phones: tuple[float, float, str]) -> Alignment:
    return Alignment((), tuple(Interval(*phone) for phone in phones), "ARPABET", "test")


def test_tracks_say_what_is_heard_at_each_frames_centre():
    heard = alignment((0.02, 0.1, "AA"), (0.1, 0.31, "sil"), (0.35, 0.58, "B"), (0.58, 1.0, "h#"), (1.0, 1.02, "AA"))
    corpus = corpus_of({"a": heard})
    plan = PhonePlan(corpus)
    assert plan.phones == ("AA", "B", SILENCE)
    track = plan.track(corpus.clips[0], 100)
    for frame in range(100):
        label = heard.phone_at(round(frame * FRAME_S, 6))
        label = SILENCE if label in ("sil", "h#") else label
        assert track.ids[frame] == (plan.phones.index(label) if label else -1), frame
    assert track.clip_id == "a"


def test_shuffled_tracks_keep_segments_and_gaps():
    rng = np.random.default_rng(0)
    cuts = np.cumsum(rng.integers(2, 9, 16)) * 0.02
    spans = [(a, b, str(rng.choice(["AA", "B", "K", "S"]))) for a, b in itertools.pairwise(cuts.round(2).tolist())]
    del spans[5]
    corpus = corpus_of({"a": alignment(*spans), "b": alignment(*spans)})
    plan = PhonePlan(corpus)
    tracks = [plan.track(clip, 100) for clip in corpus.clips]
    for track in tracks:
        assert np.array_equal(track.ids == -1, track.shuffled == -1)
        assert np.array_equal(np.bincount(track.ids + 1), np.bincount(track.shuffled + 1))
        assert not np.array_equal(track.ids, track.shuffled)
        assert np.count_nonzero(np.diff(track.shuffled)) <= len(spans) + 4
    assert not np.array_equal(tracks[0].shuffled, tracks[1].shuffled)
    again = PhonePlan(corpus).track(corpus.clips[0], 100)
    assert np.array_equal(again.shuffled, tracks[0].shuffled)


def test_groups_are_speakers_where_there_are_four_and_else_clips():
    heard = alignment((0, 1, "AA"))
    many = corpus_of({f"c{i}": heard for i in range(50)}, [f"s{i % 25:02}" for i in range(50)])
    plan = PhonePlan(many)
    assert plan.grouped_by == "speaker"
    assert [plan.group(clip) for clip in many.clips] == [i % 25 % N_GROUPS for i in range(50)]
    few = corpus_of({f"c{i}": heard for i in range(200)}, [f"s{i % 3}" for i in range(200)])
    plan = PhonePlan(few)
    groups = np.array([plan.group(clip) for clip in few.clips])
    assert plan.grouped_by == "clip" and len(np.unique(groups)) == N_GROUPS
    assert 60 < (groups % 2).sum() < 140


def test_clips_without_alignment_have_empty_tracks():
    corpus = corpus_of({"a": alignment((0, 1, "AA")), "b": None})
    plan = PhonePlan(corpus)
    track = plan.track(corpus.clips[1], 30)
    assert (track.ids == -1).all() and (track.shuffled == -1).all() and len(track.ids) == 30


def test_the_rarest_of_too_many_phones_are_one():
    spans = [(0.02 * i, 0.02 * i + (0.02 if i < 75 else 0.01), f"p{i:03}") for i in range(95)]
    corpus = corpus_of({"a": alignment(*spans)})
    plan = PhonePlan(corpus)
    assert len(plan.phones) == MAX_PHONES and plan.phones[0] == OTHER and "p074" in plan.phones
    ids = plan.track(corpus.clips[0], 95).ids
    assert (ids >= 0).all() and (ids == 0).sum() == 95 - (MAX_PHONES - 1)
