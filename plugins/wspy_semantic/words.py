"""Top words of a neuron, and how alike they are next to random words of equal frequency."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

import wspy
from wspy.errors import MissingExtra
from wspy.units import Sign, mlp_site, unit_result
from wspy.words import meaning_similarity, sound_similarity, spelling_similarity
from wspy_semantic import Alikeness, Semantic, SemanticResult, WordActivation

if TYPE_CHECKING:
    from wspy.atlas import UnitWords

DRAWS = 1000
NEAREST = 200  # words: twice the most that can be asked for
MEASURES: dict[str, Callable[[list[str]], np.ndarray]] = {
    "meaning": meaning_similarity,
    "sound": sound_similarity,
    "spelling": spelling_similarity,
}
_SIGNS: dict[str, tuple[Sign, ...]] = {
    "positive": ("positive",),
    "negative": ("negative",),
    "both": ("positive", "negative"),
}


def read(inputs: Semantic.Inputs, context: wspy.Context) -> SemanticResult:
    """Everything about one neuron of the decoder, from its layer's atlas."""
    site = mlp_site(context, "decoder", inputs.layer, inputs.idx)
    shown = unit_result(context, site, inputs.idx, top=inputs.top, signs=_SIGNS[inputs.sign])
    atlas = context.atlas(site)
    words = atlas.unit_words(inputs.idx)
    sign = -1 if inputs.sign == "negative" else 1
    extreme = words.maximum if sign > 0 else -words.minimum
    top = np.argsort(-extreme, kind="stable")[: inputs.words]
    often = np.flatnonzero(words.counts >= 2)
    mean = often[np.argsort(-sign * words.mean[often], kind="stable")][: inputs.words]
    return SemanticResult(
        **{name: getattr(shown, name) for name in type(shown).model_fields},
        texts=atlas.about.texts or "corpus",
        top_words=_activations(words, top),
        mean_words=_activations(words, mean),
        n_words=len(words.words),
        alike=_alike(words, top, context),
    )


def _activations(words: UnitWords, chosen: np.ndarray) -> tuple[WordActivation, ...]:
    return tuple(
        WordActivation(
            word=words.words[at],
            count=int(words.counts[at]),
            mean=float(words.mean[at]),
            minimum=float(words.minimum[at]),
            maximum=float(words.maximum[at]),
        )
        for at in chosen.tolist()
    )


def _alike(words: UnitWords, top: np.ndarray, context: wspy.Context) -> tuple[Alikeness, ...]:
    found = []
    for measure, similarity in MEASURES.items():
        try:
            matrix = similarity(words.words)
        except MissingExtra as error:
            context.progress.note(str(error))
            continue
        known = ~np.isnan(np.diagonal(matrix))  # the pronouncing dictionary does not have every word
        chosen = top[known[top]]
        if len(chosen) < 3:
            continue
        draws = np.array(
            [_mean_of_pairs(matrix, _equally_frequent(words, chosen, known, context.rng)) for _ in range(DRAWS)]
        )
        value = _mean_of_pairs(matrix, chosen)
        low, high = np.quantile(draws, [0.025, 0.975])
        found.append(
            Alikeness.model_validate(
                {
                    "measure": measure,
                    "n_words": len(chosen),
                    "top_words": value,
                    "random_words": float(draws.mean()),
                    "low": float(low),
                    "high": float(high),
                    "p": float((1 + (draws >= value).sum()) / (1 + DRAWS)),
                }
            )
        )
    return tuple(found)


def _mean_of_pairs(matrix: np.ndarray, chosen: np.ndarray) -> float:
    square = matrix[np.ix_(chosen, chosen)]
    return float(square[np.triu_indices(len(chosen), 1)].mean())


def _equally_frequent(words: UnitWords, chosen: np.ndarray, known: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each chosen word one of the `NEAREST` words nearest to it in frequency, itself among them; none twice."""
    order = np.flatnonzero(known)[np.argsort(words.counts[known], kind="stable")]
    place = {word: at for at, word in enumerate(order.tolist())}
    drawn: list[int] = []
    for word in rng.permutation(chosen).tolist():
        start = min(max(place[word] - NEAREST // 2, 0), max(len(order) - NEAREST, 0))
        free = np.setdiff1d(order[start : start + NEAREST], drawn)
        drawn.append(int(rng.choice(free)))
    return np.array(drawn)
