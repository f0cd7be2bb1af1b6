"""Alignments: what is where, and what a cut keeps; and how a recording is divided."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.corpus.sources import Recording
from wspy.corpus.windows import MIN_WINDOW_S, check_window, cut, spans
from wspy.errors import AudioTooLong, InputError

WORDS = (Interval(0.2, 0.6, "good"), Interval(0.6, 1.0, "old"), Interval(1.5, 2.1, "fox"))
PHONES = (Interval(0.2, 0.3, "G"), Interval(0.3, 0.5, "UH"), Interval(0.5, 0.6, "D"), Interval(1.5, 2.1, "F"))
ALIGNMENT = Alignment(WORDS, PHONES, "ARPABET", "pocketsphinx")


def test_lookups_are_half_open() -> None:
    assert [ALIGNMENT.word_at(t) for t in (0.0, 0.2, 0.599, 0.6, 1.0, 1.2, 2.1)] == [
        None, "good", "good", "old", None, None, None,
    ]  # fmt: skip
    assert [ALIGNMENT.phone_at(t) for t in (0.25, 0.3, 0.59, 0.7)] == ["G", "UH", "D", None]
    assert Alignment((), (), "none", "CSV").word_at(0.0) is None
    assert ALIGNMENT.text == "good old fox"


def test_a_cut_keeps_what_has_its_middle_inside() -> None:
    part = ALIGNMENT.cut(0.5, 1.7)
    assert part.words == (Interval(0.1, 0.5, "old"),)  # "good" has its middle before, "fox" after
    assert [phone.label for phone in part.phones] == ["D"]
    assert ALIGNMENT.cut(0.5, 1.9).words[-1] == Interval(1.0, 1.4, "fox")
    assert (part.phone_set, part.source) == ("ARPABET", "pocketsphinx")


@given(st.lists(st.floats(0.01, 0.5), min_size=1, max_size=30), st.floats(0.5, 3.0))
def test_windows_give_every_word_to_one_clip(durations: list[float], window_s: float) -> None:
    ends = np.cumsum(durations)
    words = tuple(
        Interval(float(e - d), float(e), str(i)) for i, (e, d) in enumerate(zip(ends, durations, strict=True))
    )
    alignment = Alignment(words, (), "none", "CSV")
    found = [word.label for part in spans(float(ends[-1]), window_s) for word in alignment.cut(*part).words]
    lost = [w.label for w in words if w.label not in found]
    assert found == [w.label for w in words if w.label in found]
    assert all((words[int(at)].start_s + words[int(at)].end_s) / 2 > ends[-1] - MIN_WINDOW_S for at in lost)


@pytest.mark.parametrize(
    ("duration_s", "window_s", "ends"),
    [(6.0, 2.0, [2, 4, 6]), (5.0, 2.0, [2, 4, 5]), (4.4, 2.0, [2, 4]), (4.5, 2.0, [2, 4, 4.5]), (0.3, 2.0, [0.3])],
)
def test_spans(duration_s: float, window_s: float, ends: list[float]) -> None:
    assert [end for _, end in spans(duration_s, window_s)] == pytest.approx(ends)


@pytest.mark.parametrize("window_s", [0.4, 30.1, -2.0, float("nan")])
def test_impossible_windows(window_s: float) -> None:
    with pytest.raises(InputError, match=r"choose 0.5 to 30 s"):
        check_window(window_s)


def test_cut_reads_the_right_samples() -> None:
    sound = np.linspace(0.1, 1.0, 5 * 16_000, dtype=np.float32)
    recording = Recording("a", sound, "a.wav", start_s=1.0, end_s=4.0, text="all of it", speaker="s", label="l")
    alignment = Alignment((Interval(0.2, 0.6, "good"), Interval(2.1, 2.4, "fox")), (), "none", "CSV")
    made = [item for item in cut(recording, 2.0, alignment) if isinstance(item, tuple)]
    assert [clip.id for _, clip, _ in made] == ["a@0.00", "a@2.00"]
    assert [(clip.start_s, clip.end_s, clip.text) for _, clip, _ in made] == [(1.0, 3.0, "good"), (3.0, 4.0, "fox")]
    np.testing.assert_array_equal(made[1][0], sound[3 * 16_000 : 4 * 16_000])
    assert made[1][2] is not None and made[1][2].words[0].start_s == pytest.approx(0.1)
    assert made[0][1].speaker == "s" and made[0][1].label == "l"
    (whole,) = cut(recording, None, alignment)
    assert isinstance(whole, tuple) and whole[1].text == "all of it" and whole[1].id == "a"


def test_without_alignment_the_text_of_a_cut_recording_is_unknown() -> None:
    recording = Recording("a", np.full(5 * 16_000, 0.1, np.float32), text="all of it")
    assert [item[1].text for item in cut(recording, 2.0, None) if isinstance(item, tuple)] == [None, None, None]
    silent = Recording("a", np.full(5 * 16_000, 0.1, np.float32), text="")
    assert [item[1].text for item in cut(silent, 2.0, None) if isinstance(item, tuple)] == ["", "", ""]


def test_more_than_a_window_needs_one() -> None:
    with pytest.raises(AudioTooLong, match=r"long lasts 31.0 s, more than 30 s: .*--window"):
        list(cut(Recording("long", np.full(31 * 16_000, 0.1, np.float32)), None, None))


def test_some_clips_are_spread_over_the_whole_corpus() -> None:
    sound = np.full(1600, 0.1, np.float32)
    corpus = Corpus.in_memory("ten", [(sound, Clip(str(at)), None) for at in range(10)])
    assert [clip.id for clip in corpus.spread(4)] == ["0", "3", "6", "9"]
    assert corpus.spread(99) == list(corpus.clips)
