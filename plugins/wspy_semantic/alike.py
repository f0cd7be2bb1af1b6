"""How alike some words are, next to random words of equal frequency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wspy.errors import MissingExtra
from wspy.words import meaning_similarity, sound_similarity, spelling_similarity
from wspy_semantic import Alikeness, Measure

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from wspy.analysis import Context

DRAWS = 1000
MORE_DRAWS, FEW = 9000, 10  # for a whole layer, where fewer than ten of the first are as alike: small p need many draws
NEAREST = 50  # words; in a small corpus a wider choice would put rare words in the place of "the"
FEWEST = 3  # words that make a mean over pairs worth looking at
MEASURES: dict[Measure, Callable[[list[str]], np.ndarray]] = {
    "meaning": meaning_similarity,
    "sound": sound_similarity,
    "spelling": spelling_similarity,
}


@dataclass(frozen=True, eq=False)
class Similarities:
    """One measure between all words of a corpus, and what chance gives for some of them."""

    measure: Measure
    matrix: Float32[np.ndarray, "query key"]
    known: np.ndarray
    """Which words the measure knows: the pronouncing dictionary does not have every one."""
    counts: Int64[np.ndarray, " word"]

    def compare(
        self, top: Int64[np.ndarray, " word"], rng: np.random.Generator, *, precise: bool = False
    ) -> Alikeness | None:
        """How alike the words at some places are; None where fewer than `FEWEST` are known.

        Args:
            precise: draw ten times as often where p is small, to tell the small ones apart.
        """
        chosen = top[self.known[top]]
        if len(chosen) < FEWEST:
            return None
        value = float(self._means(chosen[None])[0])
        random = self._means(equally_frequent(self.counts, chosen, self.known, DRAWS, rng))
        if precise and (random >= value).sum() < FEW:
            more = equally_frequent(self.counts, chosen, self.known, MORE_DRAWS, rng)
            random = np.concatenate([random, self._means(more)])
        low, high = np.quantile(random, [0.025, 0.975])
        return Alikeness(
            measure=self.measure,
            n_words=len(chosen),
            top_words=value,
            random_words=float(random.mean()),
            low=float(low),
            high=float(high),
            p=float((1 + (random >= value).sum()) / (1 + len(random))),
        )

    def _means(self, rows: Int64[np.ndarray, "draw word"]) -> np.ndarray:
        """For each row the mean over the pairs of its words."""
        first, second = np.triu_indices(rows.shape[1], 1)
        means: np.ndarray = self.matrix[rows[:, first], rows[:, second]].mean(axis=1, dtype=np.float64)
        return means


def similarities(words: Sequence[str], counts: Int64[np.ndarray, " word"], context: Context) -> list[Similarities]:
    """Every measure whose packages are installed; the others are named."""
    found = []
    for measure, similarity in MEASURES.items():
        try:
            matrix = similarity(list(words))
        except MissingExtra as error:
            context.progress.note(str(error))
            continue
        found.append(Similarities(measure, matrix, ~np.isnan(np.diagonal(matrix)), counts))
    return found


def equally_frequent(
    counts: Int64[np.ndarray, " word"],
    chosen: Int64[np.ndarray, " word"],
    known: np.ndarray,
    n_draws: int,
    rng: np.random.Generator,
) -> Int64[np.ndarray, "draw word"]:
    """In each draw for each chosen word one of the known words nearest to it in frequency, none twice.

    They are `NEAREST` words, or twice as many as are chosen where that is more. A chosen word may be drawn again. Words
    of one frequency come in an order that is new for each call: in that of the alphabet, a word's neighbours would look
    and sound like it.
    """
    places = np.flatnonzero(known)
    order = places[np.lexsort((rng.random(len(places)), counts[places]))]
    place_of = np.empty(len(counts), np.int64)
    place_of[order] = np.arange(len(order))
    width = min(max(NEAREST, 2 * len(chosen)), len(order))
    drawn = np.empty((n_draws, len(chosen)), np.int64)
    for column, word in enumerate(rng.permutation(chosen).tolist()):
        start = min(max(int(place_of[word]) - width // 2, 0), len(order) - width)
        todo = np.arange(n_draws)
        while len(todo):
            drawn[todo, column] = order[rng.integers(start, start + width, len(todo))]
            taken = (drawn[todo, :column] == drawn[todo, column, None]).any(axis=1)
            todo = todo[taken]
    return drawn
