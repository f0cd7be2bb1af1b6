"""Word errors: known answers, empty texts, and what is marked as changed."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest

from wspy.blocks import escape_markdown
from wspy.model import (
    WordErrors,
    compare_words,
    mark_changes,
    pooled_wer,
    ratio_interval,
    wer_interval,
    word_errors,
)


def test_errors_are_counted_by_kind_and_spelling_is_none() -> None:
    assert word_errors("a b c d", "a x c d e") == WordErrors(4, substituted=1, inserted=1, deleted=0)
    assert word_errors("the cat sat down", "cat sat") == WordErrors(4, 0, 0, 2)
    assert word_errors(
        "Mr. Brown likes the colour, doesn't he? Twenty!", "mister brown likes the color does not he 20"
    ) == (WordErrors(9, 0, 0, 0))
    reference, heard = "one two three four five", "one too three for five six"
    counted = word_errors(reference, heard, "de")
    assert counted.n_errors / counted.n_words == pytest.approx(jiwer.wer(reference, heard))


def test_empty_texts_divide_by_nothing() -> None:
    assert word_errors("", "you") == WordErrors(0, 0, 1, 0)
    assert word_errors("yes sir", "") == WordErrors(2, 0, 0, 2)
    assert word_errors("", "") == WordErrors(0, 0, 0, 0)
    assert pooled_wer([word_errors("", "you")]) is None and pooled_wer([]) is None
    rng = np.random.default_rng(0)
    assert wer_interval([word_errors("", "you")] * 3, rng) is None
    assert wer_interval([word_errors("a b", "a")], rng) is None and wer_interval([], rng) is None


def test_languages_without_spaces_are_counted_by_letters() -> None:
    assert word_errors("今天天气", "今天天汽", "zh") == WordErrors(4, 1, 0, 0)
    assert word_errors("今天天气", "今天天汽", "de").n_words == 1


def test_pooling_weighs_clips_by_their_words() -> None:
    errors = [WordErrors(9, 0, 0, 0), WordErrors(1, 1, 0, 0)]
    assert pooled_wer(errors) == pytest.approx(0.1)


def test_the_interval_is_that_of_a_bootstrap_over_clips() -> None:
    rng = np.random.default_rng(1)
    errors = [WordErrors(10, int(n), 0, 0) for n in rng.binomial(10, 0.3, size=200)]
    interval = wer_interval(errors, np.random.default_rng(2))
    assert interval is not None and interval == wer_interval(errors, np.random.default_rng(2))
    rates = np.array([error.n_errors / 10 for error in errors])
    half = 1.96 * rates.std() / len(rates) ** 0.5
    assert interval == pytest.approx((rates.mean() - half, rates.mean() + half), abs=0.004)
    assert ratio_interval([0, 0], [3, 4], rng) == (0.0, 0.0)


def test_changed_words_keep_their_own_spelling() -> None:
    passages = compare_words("The show, where we ask - hot questions.", "the show where you ask hot hot questions")
    assert [(p.change, p.before, p.after) for p in passages] == [
        ("same", ("The", "show,", "where"), ("the", "show", "where")),
        ("replaced", ("we",), ("you",)),
        ("same", ("ask",), ("ask",)),
        ("added", (), ("hot",)),
        ("same", ("hot", "questions."), ("hot", "questions")),
    ]
    assert [p.change for p in compare_words("", "you")] == ["added"]
    assert [p.change for p in compare_words("gone", " . ")] == ["removed"]
    assert compare_words("", "") == ()


def test_changes_are_marked_and_nothing_in_a_transcript_is_a_mark() -> None:
    assert mark_changes("The cat sat.", "the hat sat down", 60) == "the ~~cat~~ **hat** sat **down**"
    assert mark_changes("a *b*", "a", 60) == r"a ~~\*b\*~~"
    assert mark_changes("", "", 60) == "(nothing)"
    assert mark_changes("", "no " * 9, 3) == "**no no no** … (9 words in all)"
    assert escape_markdown("<b> a|b\n _c_ d_e") == r"\<b\> a\|b \_c\_ d_e"
