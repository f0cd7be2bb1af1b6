"""What a person sees of a layer: how many neurons are alike in what, where each lies, and the words of the clearest."""

from __future__ import annotations

import wspy
from wspy.figures import scatter
from wspy_semantic import MeasureCount, NeuronWords, SemanticLayerResult

N_SHOWN = 40
_KIND_NAMES = {"meaning": "meaning", "sound": "sound", "both": "meaning and sound", "neither": "neither"}


def page(result: SemanticLayerResult) -> list[wspy.Block]:
    """The counts with their controls, a map of all neurons, and those that are most alike in meaning."""
    blocks: list[wspy.Block] = [_summary(result)]
    if result.counts:
        blocks += [_count_table(result), _kind_table(result), _map(result)]
        blocks.append(_neurons(result, "meaning"))
        blocks.append(_neurons(result, "sound"))
    return blocks


def _summary(result: SemanticLayerResult) -> wspy.Text:
    side = "highest" if result.sign == "positive" else "lowest"
    lines = [
        f"# Words of {result.site} in {result.model}",
        f"For each neuron the {result.n_top} words of corpus {result.corpus!r} with the {side} activation, out of "
        f"{result.n_words:,}, next to random words of equal frequency.",
    ]
    by_measure = {count.measure: count for count in result.counts}
    control = {count.measure: count for count in result.random_weights}
    for measure in ("meaning", "sound"):
        if count := by_measure.get(measure):
            other = f"; with shuffled weights {_share(control[measure])}" if measure in control else ""
            lines.append(
                f"Alike in {measure} beyond chance: **{count.n_found} of {count.n}** neurons at a false discovery rate "
                f"of 5 %{_beyond(count)}. p is below 0.05 for {_share(count)}{other}; chance alone gives 5 %."
            )
    if not result.counts:
        lines.append("Too few words are known to compare them.")
    if result.texts != "corpus":
        lines.append("The corpus lacks texts: **Whisper's own transcripts** were read, errors included.")
    return wspy.Text(markdown="\n\n".join(lines))


def _beyond(count: MeasureCount) -> str:
    if count.n_beyond is None:
        return ""
    return f", **{count.n_beyond}** of them more alike than 95 % of the neurons with shuffled weights"


def _share(count: MeasureCount) -> str:
    return f"{count.n_p05} of {count.n} ({count.n_p05 / count.n:.1%})"


def _count_table(result: SemanticLayerResult) -> wspy.Table:
    rows = [("trained", count) for count in result.counts] + [("shuffled", count) for count in result.random_weights]
    return wspy.Table(
        title="Neurons whose top words are alike",
        columns=(
            wspy.Column(name="weights", description="Those of the model, or the same numbers shuffled: a control."),
            wspy.Column(
                name="in", description="meaning: cosine of sentence embeddings; sound, spelling: edit distance."
            ),
            wspy.Column(name="neurons", description="Neurons that could be compared."),
            wspy.Column(name="p < 0.05", description="Chance alone gives one in twenty."),
            wspy.Column(name="found", description="At a false discovery rate of 5 % over the layer."),
            wspy.Column(
                name="beyond shuffled",
                description="Of these, those more alike than 95 % of the neurons with shuffled weights.",
            ),
            wspy.Column(name="top words", decimals=3, description="Mean similarity over pairs, mean over neurons."),
            wspy.Column(name="random words", decimals=3, description="Of equal frequency."),
        ),
        rows=tuple(
            (name, c.measure, c.n, c.n_p05, c.n_found, c.n_beyond, c.top_words, c.random_words) for name, c in rows
        ),
    )


def _kind_table(result: SemanticLayerResult) -> wspy.Table:
    rows = [("trained", result.kinds)] + ([("shuffled", result.random_kinds)] if result.random_kinds else [])
    return wspy.Table(
        title="Each neuron once: in what its top words are alike at the false discovery rate",
        columns=(
            wspy.Column(name="weights"),
            *(wspy.Column(name=_KIND_NAMES[kind], description="Neurons.") for kind in result.kinds),
        ),
        rows=tuple((name, *kinds.values()) for name, kinds in rows),
    )


def _excess(unit: NeuronWords, measure: str) -> float | None:
    """How much more alike the top words are than random ones."""
    return next((each.top_words - each.random_words for each in unit.alike if each.measure == measure), None)


def _map(result: SemanticLayerResult) -> wspy.Figure:
    placed = [
        (unit, meaning, sound)
        for unit in result.units
        if (meaning := _excess(unit, "meaning")) is not None and (sound := _excess(unit, "sound")) is not None
    ]
    return scatter(
        f"The {len(placed):,} neurons of {result.site}",
        [meaning for _, meaning, _ in placed],
        [sound for *_, sound in placed],
        [f"{unit.idx}: {', '.join(unit.words[:6])}" for unit, *_ in placed],
        groups=[None if unit.kind == "neither" else _KIND_NAMES[unit.kind] for unit, *_ in placed],
        x_title="more alike in meaning than random words (cosine)",
        y_title="more alike in sound (share of phones)",
        caption="Each point is a neuron, 0 is chance; hover for its first words. Colours: alike beyond chance in what.",
    )


def _neurons(result: SemanticLayerResult, by: str) -> wspy.Table:
    known = [unit for unit in result.units if _excess(unit, by) is not None]
    ranked = sorted(known, key=lambda unit: -(_excess(unit, by) or 0.0))[:N_SHOWN]

    def p(unit: NeuronWords, measure: str) -> float | None:
        return next((each.p for each in unit.alike if each.measure == measure), None)

    return wspy.Table(
        title=f"The {len(ranked)} neurons whose words are most alike in {by}; all are in result.json",
        columns=(
            wspy.Column(name="neuron", description="Its page: wspy analyze semantic."),
            wspy.Column(name=by, decimals=3, description="Mean similarity of its top words, less that of random ones."),
            wspy.Column(name="p meaning", decimals=4, description="Share of random draws as alike in meaning."),
            wspy.Column(name="p sound", decimals=4, description="Share of random draws as alike in sound."),
            wspy.Column(name="words", description="The first ten, the most extreme first."),
        ),
        rows=tuple(
            (unit.idx, _excess(unit, by), p(unit, "meaning"), p(unit, "sound"), ", ".join(unit.words[:10]))
            for unit in ranked
        ),
    )
