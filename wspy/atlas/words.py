"""What a decoder unit does at each word of a corpus: counts, mean and extremes, streaming and mergeable.

A word may be several tokens: its activation is their mean, its extremes are theirs. Only the most frequent words of the
corpus have a column of their own, so that memory does not grow with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wspy.atlas.statistics import clip_hash
from wspy.atlas.store import Token
from wspy.errors import BadActivations

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64

    from wspy.corpus import Corpus

MOST_WORDS = 2000
QUANTUM = 2.0**-20  # sums are whole multiples of it: adding integers does not depend on order
LARGEST = 2.0**20
_EDGES = ".,;:!?\"'()[]{}-–—…“”‘’«»¿¡"


def plain_word(word: str) -> str:
    """A word as it is counted: lower case, without punctuation around it; "" for punctuation alone."""
    return word.strip().strip(_EDGES).lower()


def frequent_words(corpus: Corpus) -> tuple[str, ...]:
    """The words that get a column, in alphabetical order."""
    counts = Counter(
        plain for clip in corpus.clips for word in (corpus.text(clip) or "").split() if (plain := plain_word(word))
    )
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_WORDS]
    return tuple(sorted(word for word, _ in most))


def whole_words(tokens: Sequence[Token]) -> list[tuple[str, slice]]:
    """What some tokens make together, in order, each with its tokens: words, and punctuation by itself."""
    if not tokens:
        return []
    starts = [
        at
        for at, token in enumerate(tokens)
        if at == 0 or token.text.startswith(" ") or token.word != tokens[at - 1].word
    ]
    spans = zip(starts, [*starts[1:], len(tokens)], strict=True)
    return [(tokens[start].word, slice(start, end)) for start, end in spans]


def occurrences(tokens: Sequence[Token]) -> list[tuple[str, slice]]:
    """The words that some tokens make, as they are counted; punctuation alone is left out."""
    return [(plain, span) for word, span in whole_words(tokens) if (plain := plain_word(word))]


class WordStatistics:
    """The statistics of all units of a decoder site at each word."""

    def __init__(self, n_units: int, words: Sequence[str] | None = None) -> None:
        """Without `words`, for texts that nobody knows before, words get their columns as they are heard; where they
        are more than `MOST_WORDS`, those with the smallest hashes stay, a sample that does not depend on order."""
        self.n_units, self.grows = n_units, words is None
        self._column = {word: at for at, word in enumerate(words or ())}
        self._allocate(max(len(self._column), 16 if self.grows else 0))

    def _allocate(self, capacity: int) -> None:
        self.counts: Int64[np.ndarray, " word"] = np.zeros(capacity, np.int64)
        self.sum: Int64[np.ndarray, "unit word"] = np.zeros((self.n_units, capacity), np.int64)
        self.maximum: Float32[np.ndarray, "unit word"] = np.full(self.sum.shape, -np.inf, np.float32)
        self.minimum: Float32[np.ndarray, "unit word"] = np.full(self.sum.shape, np.inf, np.float32)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that have a column."""
        return tuple(self._column)

    def update(self, activations: Float32[np.ndarray, "token unit"], tokens: Sequence[Token], clip_id: str) -> None:
        """Take in one clip.

        Raises:
            BadActivations: a value is not finite, or so large that sums leave 64 bits.
        """
        if not (np.abs(activations) < LARGEST).all():  # NaN, too
            raise BadActivations(clip_id, "NaN, infinite or beyond 10^6")
        for word, span in occurrences(tokens):
            column = self._column.get(word)
            if column is None and self.grows:
                column = self._add(word)
            if column is not None:
                values = activations[span]
                self.counts[column] += 1
                self.sum[:, column] += np.rint(values.mean(axis=0, dtype=np.float64) / QUANTUM).astype(np.int64)
                np.maximum(self.maximum[:, column], values.max(axis=0), out=self.maximum[:, column])
                np.minimum(self.minimum[:, column], values.min(axis=0), out=self.minimum[:, column])

    def _add(self, word: str) -> int | None:
        """A column for a new word; None where all are taken by words with smaller hashes.

        A word that lost its column never gets it back, since the largest hash that stays only falls: so every word
        that has one was counted from its first time on.
        """
        at = len(self._column)
        if at == MOST_WORDS:
            last = max(self._column, key=clip_hash)
            if clip_hash(word) > clip_hash(last):
                return None
            at = self._column.pop(last)
            self.counts[at] = self.sum[:, at] = 0
            self.maximum[:, at], self.minimum[:, at] = -np.inf, np.inf
        elif at == len(self.counts):
            before = (self.counts, self.sum, self.maximum, self.minimum)
            self._allocate(max(2 * at, 16))
            for new, old in zip((self.counts, self.sum, self.maximum, self.minimum), before, strict=True):
                new[..., :at] = old
        self._column[word] = at
        return at

    def merge(self, other: WordStatistics) -> WordStatistics:
        """The statistics of the clips of both, over the words of both: associative, and the same in either order."""
        words = {*self.words, *other.words}
        grows = self.grows or other.grows
        if grows:
            words = set(sorted(words, key=clip_hash)[:MOST_WORDS])
        both = WordStatistics(self.n_units, sorted(words))
        both.grows = grows
        for part in (self, other):
            kept = [word for word in part.words if word in words]
            at = np.array([both._column[word] for word in kept], np.intp)
            of = np.array([part._column[word] for word in kept], np.intp)
            both.counts[at] += part.counts[of]
            both.sum[:, at] += part.sum[:, of]
            both.maximum[:, at] = np.maximum(both.maximum[:, at], part.maximum[:, of])
            both.minimum[:, at] = np.minimum(both.minimum[:, at], part.minimum[:, of])
        return both

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as named arrays, one row per unit, words in alphabetical order as UTF-8 lines."""
        order = sorted(self._column)
        at = np.array([self._column[word] for word in order], np.intp)
        return {
            "words": np.frombuffer("\n".join(order).encode(), np.uint8),
            "grows": np.array([self.grows], np.uint8),
            "counts": self.counts[at],
            "sum": self.sum[:, at],
            "maximum": self.maximum[:, at],
            "minimum": self.minimum[:, at],
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> WordStatistics:
        """The inverse of `arrays`."""
        new = cls(len(arrays["sum"]), words_of(arrays["words"]))
        new.grows = bool(arrays["grows"][0])
        new.counts, new.sum = arrays["counts"].copy(), arrays["sum"].copy()
        new.maximum, new.minimum = arrays["maximum"].copy(), arrays["minimum"].copy()
        return new


def words_of(stored: np.ndarray) -> list[str]:
    """The words of `arrays`."""
    return [word for word in stored.tobytes().decode().split("\n") if word]


class UnitWords:
    """What one unit does at each word."""

    def __init__(
        self,
        words: Iterable[str],
        counts: Int64[np.ndarray, " word"],
        total: Int64[np.ndarray, " word"],
        maximum: Float32[np.ndarray, " word"],
        minimum: Float32[np.ndarray, " word"],
    ) -> None:
        heard = np.flatnonzero(counts)
        words = list(words)
        self.words = [words[at] for at in heard]
        self.counts = counts[heard]
        self.mean: Float64[np.ndarray, " word"] = total[heard] * QUANTUM / counts[heard]
        self.maximum, self.minimum = maximum[heard], minimum[heard]
