"""How much of one similarity of word pairs others explain: R² over all pairs, with a bootstrap over words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float32, Float64

N_BOOTSTRAP = 200
_TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Explanation:
    """R² of all predictors together, of each alone, and what each adds to the others."""

    r2: Estimate
    alone: tuple[Estimate, ...]
    unique: tuple[Estimate, ...]


class Moments:
    """Sums over all pairs of different words from blocks of rows, so that no whole matrix need be in memory.

    A bootstrap sample draws words with replacement; a pair counts as often as the product of its words' counts. So all
    sums over pairs are quadratic forms in those counts, computed for all samples at once.
    """

    def __init__(self, n_words: int, n_targets: int, n_predictors: int, rng: np.random.Generator) -> None:
        drawn = rng.multinomial(n_words, np.full(n_words, 1 / n_words), size=N_BOOTSTRAP)
        self.counts: Float32[np.ndarray, "sample token"] = np.vstack([np.ones(n_words), drawn]).astype(np.float32)
        self.n_targets, self.n = n_targets, n_targets + n_predictors
        self.centres: list[float] = []
        self.sums = np.zeros((len(self.counts), self.n))
        self.products = np.zeros((len(self.counts), self.n, self.n))

    def add(self, first: int, variables: Sequence[Float32[np.ndarray, "query key"]]) -> None:
        """Take in some words against all: targets, then predictors, with `first` the place of the first row's word."""
        n_rows = len(variables[0])
        rows = np.arange(n_rows)
        if not self.centres:  # any constant will do that is near the mean
            self.centres = [float(values.mean(dtype=np.float64)) for values in variables]
        centred = []
        for values, centre in zip(variables, self.centres, strict=True):
            own = values - np.float32(centre)
            own[rows, first + rows] = 0  # a word is no pair with itself
            centred.append(own)
        for i in range(self.n):
            self.sums[:, i] += self._sum(first, centred[i])
            for j in range(i, self.n):
                self.products[:, i, j] += self._sum(first, centred[i] * centred[j])

    def _sum(self, first: int, values: Float32[np.ndarray, "query key"]) -> np.ndarray:
        of_rows = self.counts[:, first : first + len(values)]
        total: np.ndarray = np.einsum("st,st->s", self.counts @ values.T, of_rows, dtype=np.float64)
        return total

    def explanations(self) -> list[Explanation]:
        """What the predictors explain of each target, once all words have been taken in."""
        squares = self.counts.astype(np.float64)
        pairs = squares.sum(axis=1) ** 2 - (squares**2).sum(axis=1)
        means = self.sums / pairs[:, None]
        upper = self.products / pairs[:, None, None]
        moments = np.triu(upper) + np.swapaxes(np.triu(upper, 1), 1, 2)
        covariance = moments - means[:, :, None] * means[:, None, :]
        every = list(range(self.n_targets, self.n))
        found = []
        for target in range(self.n_targets):
            whole = _r2(covariance, target, every)
            alone = tuple(_estimate(_r2(covariance, target, [one])) for one in every)
            unique = tuple(
                _estimate(whole - _r2(covariance, target, [other for other in every if other != one])) for one in every
            )
            found.append(Explanation(_estimate(whole), alone, unique))
        return found


def _r2(covariance: Float64[np.ndarray, "sample _ _"], target: int, predictors: Sequence[int]) -> np.ndarray:
    at = list(predictors)
    within, across = covariance[:, at][:, :, at], covariance[:, at, target]
    solved = np.linalg.solve(within + 1e-12 * np.eye(len(at)), across[:, :, None])[:, :, 0]
    explained: np.ndarray = (across * solved).sum(axis=1) / np.maximum(covariance[:, target, target], 1e-30)
    return explained


def _estimate(values: np.ndarray) -> Estimate:
    """The first value with the interval of the others, which are its bootstrap."""
    low, high = np.quantile(values[1:], _TAILS)
    return Estimate(float(values[0]), float(low), float(high))


def mean_with_interval(values: Float64[np.ndarray, " token"], rng: np.random.Generator) -> Estimate:
    """The mean over words, with its bootstrap interval."""
    drawn = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=N_BOOTSTRAP) @ values / len(values)
    low, high = np.quantile(drawn, _TAILS)
    return Estimate(float(values.mean()), float(low), float(high))
