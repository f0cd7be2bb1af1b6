"""The top words of every neuron of a layer: how many are alike in meaning, in sound, and what chance gives."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from wspy.atlas import benjamini_hochberg
from wspy.units import mlp_site
from wspy_semantic import Alikeness, Kind, MeasureCount, NeuronWords, SemanticLayer, SemanticLayerResult
from wspy_semantic.alike import MEASURES, similarities
from wspy_semantic.words import most_extreme

if TYPE_CHECKING:
    from wspy.analysis import Context
    from wspy.atlas import SiteAtlas

RATE = 0.05  # of false discoveries among what is found
KINDS: tuple[Kind, ...] = ("meaning", "sound", "both", "neither")


def read_layer(inputs: SemanticLayer.Inputs, context: Context) -> SemanticLayerResult:
    """Compare the top words of each neuron, and of each neuron of the model that learned nothing."""
    site = mlp_site(context, "decoder", inputs.layer, 0)
    atlas = context.atlas(site)
    units = _neurons(atlas, inputs, context)
    shuffled: list[NeuronWords] | None = None
    if inputs.random_weights and atlas.about.texts != "corpus":
        context.progress.note("No control with shuffled weights: such a model cannot write the texts that are missing.")
    elif inputs.random_weights:
        (control,) = context.atlases([site], random_weights=True)
        shuffled = _neurons(control, inputs, context)
    return SemanticLayerResult(
        model=context.reference.name,
        corpus=context.corpus.name,
        site=site,
        texts=atlas.about.texts or "corpus",
        sign=inputs.sign,
        n_words=len(atlas.unit_words(0).words),
        n_top=inputs.words,
        units=tuple(units),
        counts=_counts(units, shuffled),
        random_weights=() if shuffled is None else _counts(shuffled, None),
        kinds=_kinds(units),
        random_kinds={} if shuffled is None else _kinds(shuffled),
    )


def _neurons(atlas: SiteAtlas, inputs: SemanticLayer.Inputs, context: Context) -> list[NeuronWords]:
    """Every neuron that goes to that side of zero at three words or more, with its top words compared."""
    first = atlas.unit_words(0)
    measures = similarities(first.words, first.counts, context)
    compared: list[tuple[int, tuple[str, ...], tuple[Alikeness, ...]]] = []
    n_units = min(inputs.neurons or atlas.about.n_units, atlas.about.n_units)
    what = f"Comparing the words of {atlas.about.model}"
    for idx in context.progress.track(range(n_units), what, n_units, "neurons"):
        words = atlas.unit_words(idx)
        top = most_extreme(words, inputs.sign, inputs.words)
        found = [measure.compare(top, context.rng, precise=True) for measure in measures]
        alike = tuple(each for each in found if each)
        if alike:
            compared.append((idx, tuple(words.words[at] for at in top.tolist()), alike))
    passes = {measure: _discovered(measure, [alike for _, _, alike in compared]) for measure in ("meaning", "sound")}
    return [
        NeuronWords(idx=idx, words=words, alike=alike, kind=_kind(passes["meaning"][at], passes["sound"][at]))
        for at, (idx, words, alike) in enumerate(compared)
    ]


def _of(measure: str, alike: tuple[Alikeness, ...]) -> Alikeness | None:
    return next((each for each in alike if each.measure == measure), None)


def _discovered(measure: str, all_alike: list[tuple[Alikeness, ...]]) -> list[bool]:
    """Which neurons count at the false discovery rate; one that the measure does not know does not."""
    found = [_of(measure, alike) for alike in all_alike]
    q = iter(benjamini_hochberg(np.array([each.p for each in found if each])).tolist())
    return [each is not None and next(q) <= RATE for each in found]


def _kind(meaning: bool, sound: bool) -> Kind:
    return ("both" if sound else "meaning") if meaning else ("sound" if sound else "neither")


def _kinds(units: list[NeuronWords]) -> dict[Kind, int]:
    counts = Counter(unit.kind for unit in units)
    return {kind: counts[kind] for kind in KINDS}


def _excess(measure: str, units: list[NeuronWords]) -> np.ndarray:
    """How much more alike the words of each neuron are than random ones; NaN where the measure does not know them."""
    found = [_of(measure, unit.alike) for unit in units]
    return np.array([each.top_words - each.random_words if each else np.nan for each in found])


def _counts(units: list[NeuronWords], control: list[NeuronWords] | None) -> tuple[MeasureCount, ...]:
    counted = []
    for measure in MEASURES:
        found = [each for unit in units if (each := _of(measure, unit.alike))]
        if found:
            excess, discovered = _excess(measure, units), _discovered(measure, [unit.alike for unit in units])
            chance = _excess(measure, control) if control else np.array([np.nan])
            limit = None if np.isnan(chance).all() else float(np.nanquantile(chance, 0.95))
            counted.append(
                MeasureCount(
                    measure=measure,
                    n=len(found),
                    n_p05=sum(each.p < 0.05 for each in found),
                    n_found=sum(discovered),
                    top_words=float(np.mean([each.top_words for each in found])),
                    random_words=float(np.mean([each.random_words for each in found])),
                    excess_95=float(np.nanquantile(excess, 0.95)),
                    n_beyond=None if limit is None else int((np.array(discovered) & (excess > limit)).sum()),
                )
            )
    return tuple(counted)
