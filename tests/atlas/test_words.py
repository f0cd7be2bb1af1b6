"""Word statistics of decoder units: against a count by hand, in any order and grouping."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wspy.atlas.store import Token
from wspy.atlas.words import QUANTUM, UnitWords, WordStatistics, frequent_words, occurrences, plain_word, words_of
from wspy.corpus import Clip, Corpus
from wspy.errors import BadActivations

N_UNITS = 3
TOKENS = [Token(" The", "The", 0.1), Token(" rug", "rugged,", 0.2), Token("ged", "rugged,", 0.3), Token(",", ",", 0.3)]


def clip(seed: int) -> tuple[np.ndarray, list[Token]]:
    rng = np.random.default_rng(seed)
    words = rng.choice(["the", "cat", "sat"], size=rng.integers(1, 6))
    tokens = [Token(f" {word}", str(word), 0.0) for word in words]
    return rng.normal(size=(len(tokens), N_UNITS)).astype(np.float32), tokens


def statistics(seeds: list[int]) -> WordStatistics:
    made = WordStatistics(N_UNITS, ("cat", "sat", "the"))
    for seed in seeds:
        made.update(*clip(seed), f"clip-{seed}")
    return made


def test_tokens_make_words_and_punctuation_is_none():
    assert occurrences(TOKENS) == [("the", slice(0, 1)), ("rugged", slice(1, 3))]
    assert plain_word(" “Don't!”") == "don't" and plain_word(" ...") == ""


def test_a_word_of_two_tokens_has_their_mean_and_their_extremes():
    made = WordStatistics(1, ("rugged", "the"))
    made.update(np.array([[1.0], [2.0], [5.0], [9.0]], np.float32), TOKENS, "clip")
    assert made.counts.tolist() == [1, 1]
    assert (made.sum * QUANTUM).tolist() == [[3.5, 1.0]]
    assert (made.maximum.tolist(), made.minimum.tolist()) == ([[5.0, 1.0]], [[2.0, 1.0]])


def test_the_most_frequent_words_of_a_corpus_get_columns(monkeypatch):
    monkeypatch.setattr("wspy.atlas.words.MOST_WORDS", 2)
    silence = np.zeros(1600, np.float32)
    corpus = Corpus.in_memory(
        "c", [(silence, Clip("a", text="The cat. The dog"), None), (silence, Clip("b", text="a cat"), None)]
    )
    assert frequent_words(corpus) == ("cat", "the")


def test_one_unit_lists_only_words_that_were_heard():
    made = statistics([1])
    made.counts[0] = 0
    unit = UnitWords(made.words, made.counts, made.sum[0], made.maximum[0], made.minimum[0])
    assert unit.words == [word for word, n in zip(made.words, made.counts, strict=True) if n]
    assert np.isfinite(unit.mean).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=8, unique=True), st.data())
def test_any_order_and_grouping_gives_the_same_bits(seeds, data):
    whole = statistics(seeds).arrays()
    shuffled = data.draw(st.permutations(seeds))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(seeds) - 1), max_size=3)))
    parts = [statistics(list(shuffled[a:b])) for a, b in itertools.pairwise([0, *cuts, len(seeds)])]
    merged = parts[0]
    for part in parts[1:]:
        merged = part.merge(merged) if data.draw(st.booleans()) else merged.merge(part)
    for name, array in merged.arrays().items():
        assert array.tobytes() == whole[name].tobytes(), name
    again = WordStatistics.from_arrays(merged.arrays())
    assert words_of(again.arrays()["words"]) == list(merged.words)


def growing(numbers: list[int]) -> WordStatistics:
    made = WordStatistics(1)
    for n in numbers:
        made.update(np.full((1, 1), n, np.float32), [Token(f" w{n}", f"w{n}", 0.0)], "clip")
    return made


def test_words_that_nobody_knew_before_are_sampled_whatever_their_order(monkeypatch):
    monkeypatch.setattr("wspy.atlas.words.MOST_WORDS", 40)
    numbers = [*range(50), *range(0, 50, 3)]
    whole = growing(numbers).arrays()
    assert len(words_of(whole["words"])) == 40
    parts = [growing(numbers[:20]), growing(numbers[20:45]), growing(numbers[45:])]
    merged = parts[2].merge(parts[0]).merge(parts[1])
    for made in (growing(numbers[::-1]), merged, WordStatistics.from_arrays(merged.arrays())):
        for name, array in made.arrays().items():
            assert array.tobytes() == whole[name].tobytes(), name
    words = words_of(whole["words"])
    assert whole["maximum"][0].tolist() == [int(word[1:]) for word in words]
    assert whole["counts"].tolist() == [2 if int(word[1:]) % 3 == 0 else 1 for word in words]


def test_no_tokens_make_no_words():
    assert occurrences([]) == []


def test_broken_activations_are_refused():
    with pytest.raises(BadActivations, match="clip-9"):
        statistics([]).update(np.full((1, N_UNITS), np.nan, np.float32), [Token(" the", "the", 0.0)], "clip-9")
