"""Top words of a neuron in both directions, and how alike they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import wspy
from wspy.units import CHOSEN_SIGNS, Sign, mlp_site, unit_result
from wspy_semantic import Opposite, Semantic, SemanticResult, WordActivation
from wspy_semantic.alike import Similarities, similarities

if TYPE_CHECKING:
    from jaxtyping import Int64

    from wspy.atlas import UnitWords


def read(inputs: Semantic.Inputs, context: wspy.Context) -> SemanticResult:
    """Everything about one neuron of the decoder, from its layer's atlas."""
    site = mlp_site(context, "decoder", inputs.layer, inputs.idx)
    signs = CHOSEN_SIGNS[inputs.sign]
    shown = unit_result(context, site, inputs.idx, top=inputs.top, signs=signs)
    atlas = context.atlas(site)
    words = atlas.unit_words(inputs.idx)
    measures = similarities(words.words, words.counts, context)
    first, *second = [_one_direction(words, sign, inputs.words, measures, context.rng) for sign in signs]
    return SemanticResult(
        **{name: getattr(shown, name) for name in type(shown).model_fields},
        texts=atlas.about.texts or "corpus",
        top_words=first.top_words,
        mean_words=first.mean_words,
        n_words=len(words.words),
        alike=first.alike,
        opposite=second[0] if second else None,
    )


def most_extreme(words: UnitWords, sign: Sign, n: int) -> Int64[np.ndarray, " word"]:
    """The words at which the unit goes furthest beyond zero in one direction, the most extreme first.

    GELU gives -0.000 for what the unit is strongly against, which would rank above all that it is mildly against: so
    the highest words of a unit that fires for three are these three.
    """
    extreme = words.maximum if sign == "positive" else -words.minimum
    order = np.argsort(-extreme, kind="stable")[:n]
    beyond: Int64[np.ndarray, " word"] = order[extreme[order] > 0]
    return beyond


def _one_direction(
    words: UnitWords, sign: Sign, n: int, measures: list[Similarities], rng: np.random.Generator
) -> Opposite:
    top = most_extreme(words, sign, n)
    often = np.flatnonzero(words.counts >= 2)
    towards = words.mean[often] if sign == "positive" else -words.mean[often]
    order = np.argsort(-towards, kind="stable")[:n]
    mean = often[order[towards[order] > 0]]
    compared = [measure.compare(top, rng) for measure in measures]
    return Opposite(
        top_words=activations(words, top),
        mean_words=activations(words, mean),
        alike=tuple(found for found in compared if found),
    )


def activations(words: UnitWords, chosen: Int64[np.ndarray, " word"]) -> tuple[WordActivation, ...]:
    """What the unit does at some words."""
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
