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


def explain(
    targets: Sequence[Float32[np.ndarray, "query key"]],
    predictors: Sequence[Float32[np.ndarray, "query key"]],
    rng: np.random.Generator,
) -> list[Explanation]:
    """Regress each target on the predictors over all pairs of different words.

    A bootstrap sample draws words with replacement; a pair counts as often as the product of its words' counts. So all
    sums over pairs are quadratic forms in those counts, computed for all samples at once.

    Args:
        targets, predictors: Symmetric matrices over the same words.
    """
    n = len(predictors[0])
    counts = np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=N_BOOTSTRAP)]).astype(np.float32)
    covariance = _covariances([*targets, *predictors], counts)
    every = list(range(len(targets), len(targets) + len(predictors)))
    found = []
    for target in range(len(targets)):
        whole = _r2(covariance, target, every)
        alone = tuple(_estimate(_r2(covariance, target, [one])) for one in every)
        unique = tuple(
            _estimate(whole - _r2(covariance, target, [other for other in every if other != one])) for one in every
        )
        found.append(Explanation(_estimate(whole), alone, unique))
    return found


def _covariances(
    variables: Sequence[Float32[np.ndarray, "query key"]], counts: Float32[np.ndarray, "sample token"]
) -> Float64[np.ndarray, "sample _ _"]:
    n_words, n = counts.shape[1], len(variables)
    centred = []
    for values in variables:
        own = values - float(values.sum(dtype=np.float64) - np.trace(values)) / (n_words * (n_words - 1))
        np.fill_diagonal(own, 0)  # a word is no pair with itself
        centred.append(own)
    squares = counts.astype(np.float64)
    pairs = squares.sum(axis=1) ** 2 - (squares**2).sum(axis=1)
    means = np.stack([_sum(values, counts) / pairs for values in centred], axis=1)
    covariance = np.empty((len(counts), n, n))
    for i in range(n):
        for j in range(i, n):
            moment = _sum(centred[i] * centred[j], counts) / pairs - means[:, i] * means[:, j]
            covariance[:, i, j] = covariance[:, j, i] = moment
    return covariance


def _sum(values: Float32[np.ndarray, "query key"], counts: Float32[np.ndarray, "sample token"]) -> np.ndarray:
    total: np.ndarray = np.einsum("st,st->s", counts @ values, counts, dtype=np.float64)
    return total


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
