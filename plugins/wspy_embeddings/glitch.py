"""The hardly trained tokens, and what else would tell them: their norm, their distance to the mean, near duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wspy_embeddings.result import Glitch, GlitchToken, OtherSign
from wspy_embeddings.tokens import HardlyTrained, Vocabulary, whole_words

if TYPE_CHECKING:
    from jaxtyping import Float32, Int

DUPLICATE = 0.05  # of the median distance
OTHERS = 2000  # tokens that are not hardly trained, to compare with
BLOCK = 512


def describe_glitch(vocabulary: Vocabulary, untrained: HardlyTrained, listed: bool, rng: np.random.Generator) -> Glitch:
    """How many tokens the rule finds, and where it was asked for, each of them next to other signs."""
    norms = np.linalg.norm(vocabulary.embeddings, axis=1)
    norm = float(np.linalg.norm(untrained.place))
    tokens, signs = _listed(vocabulary, untrained, norms, rng) if listed else ((), ())
    return Glitch(
        crowded=untrained.crowded,
        n_tokens=len(untrained.tokens),
        n_words=len(np.intersect1d(whole_words(vocabulary.texts), untrained.tokens)),
        limit=untrained.limit,
        norm=norm,
        norm_rank=float((norms < norm).mean()),
        listed=tokens,
        signs=signs,
    )


def _listed(
    vocabulary: Vocabulary, untrained: HardlyTrained, norms: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[GlitchToken, ...], tuple[OtherSign, ...]]:
    n = len(untrained.tokens)
    if not n:
        return (), ()
    rest = np.setdiff1d(np.arange(len(vocabulary.texts)), untrained.tokens)
    others = rng.choice(rest, min(OTHERS, len(rest)), replace=False)
    both = np.concatenate([untrained.tokens, others])
    centred = vocabulary.embeddings[both] - vocabulary.embeddings.mean(axis=0, dtype=np.float64)
    from_mean = np.linalg.norm(centred, axis=1) / untrained.median
    duplicates = near_duplicates(vocabulary.embeddings, both, DUPLICATE * untrained.median)
    tokens = tuple(
        GlitchToken(
            token=int(token),
            text=vocabulary.texts[token],
            distance=float(untrained.distance[token] / untrained.median),
            norm=float(norms[token]),
            mean_distance=float(from_mean[at]),
            duplicates=int(duplicates[at]),
        )
        for at, token in enumerate(untrained.tokens)
    )
    values = {"norm": norms[both], "distance to the mean": from_mean, "near duplicates": duplicates}
    signs = tuple(
        OtherSign(
            name=name,
            hardly_trained=float(np.median(value[:n])),
            others=float(np.median(value[n:])),
            auroc=auroc(value[:n], value[n:]),
        )
        for name, value in values.items()
    )
    return tokens, signs


def near_duplicates(
    embeddings: Float32[np.ndarray, "token d_model"], tokens: Int[np.ndarray, " token"], radius: float
) -> Int[np.ndarray, " token"]:
    """For some tokens how many others of all lie within a distance."""
    mean = embeddings.mean(axis=0, dtype=np.float64)
    centred = (embeddings - mean).astype(np.float32)  # for the precision of small distances
    squares = (centred.astype(np.float64) ** 2).sum(axis=1)
    found = np.empty(len(tokens), dtype=np.int64)
    for first in range(0, len(tokens), BLOCK):
        rows = tokens[first : first + BLOCK]
        apart = squares[rows][:, None] + squares[None] - 2 * (centred[rows] @ centred.T)
        found[first : first + BLOCK] = (apart < radius**2).sum(axis=1) - 1
    return found


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """The chance that one of the first is higher than one of the second; equals count half."""
    ordered = np.sort(negative)
    below, upto = np.searchsorted(ordered, positive, "left"), np.searchsorted(ordered, positive, "right")
    return float((below + upto).mean() / (2 * len(negative)))
