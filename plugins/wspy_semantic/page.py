"""What a person sees of a decoder neuron: its words first, then the page that every unit has."""

from __future__ import annotations

import wspy
from wspy.figures import bars
from wspy.units import unit_page
from wspy_semantic import Alikeness, SemanticResult, WordActivation

_DIRECTION = {"positive": "highest", "negative": "lowest"}
_SOURCES = {
    "corpus": "The texts are those of the corpus.",
    "whisper": "The corpus has no texts: **these are Whisper's own transcripts**, errors included.",
    "mixed": "Where the corpus has no text, Whisper's own transcript was used, errors included.",
}


def page(result: SemanticResult) -> list[wspy.Block]:
    """The summary of the unit's page, then words and transcripts, then the rest of that page."""
    summary, *rest = unit_page(result)
    first, *second = (_DIRECTION[sign.sign] for sign in result.signs)
    blocks: list[wspy.Block] = [summary, _verdict(result, first)]
    if result.alike:
        blocks.append(_alike("How alike the top words are", result.alike))
    blocks += _direction(result, first, result.top_words, result.mean_words)
    blocks.append(_transcripts(result, result.signs[0].sign))
    if result.opposite and second:
        if result.opposite.alike:
            blocks.append(_alike(f"How alike the words with the {second[0]} activation are", result.opposite.alike))
        blocks += _direction(result, second[0], result.opposite.top_words, result.opposite.mean_words)
        blocks.append(_transcripts(result, result.signs[1].sign))
    return [*blocks, *rest]


def _direction(
    result: SemanticResult, direction: str, top: tuple[WordActivation, ...], mean: tuple[WordActivation, ...]
) -> list[wspy.Block]:
    if not top:
        return []
    blocks: list[wspy.Block] = [_words(f"Words with the {direction} activation", top)]
    if mean:
        blocks.append(_words(f"Words with the {direction} mean, of those that occur at least twice", mean))
    return [*blocks, _mean_figure(result, f"Mean activation at the words with the {direction} activation", top)]


def _verdict(result: SemanticResult, direction: str) -> wspy.Text:
    named = ", ".join(word.word for word in result.top_words)
    beyond = "above" if direction == "highest" else "below"
    told = [
        f"Of {result.n_words:,} words, those with the {direction} activation: {named}."
        if named
        else f"None of {result.n_words:,} words takes it {beyond} zero.",
        _SOURCES[result.texts],
    ]
    for found in result.alike:
        verb = "more alike" if found.p < 0.05 else "not more alike"
        told.append(
            f"In {found.measure} they are {verb} than random words of equal frequency: {found.top_words:.2f} against "
            f"{found.random_words:.2f} ({found.low:.2f} to {found.high:.2f}), p = {found.p:.3f}."
        )
    if not result.alike:
        told.append("Too few of them are known to compare them.")
    return wspy.Text(markdown="\n\n".join(told))


def _alike(title: str, alike: tuple[Alikeness, ...]) -> wspy.Table:
    return wspy.Table(
        title=title,
        columns=(
            wspy.Column(
                name="in", description="meaning: cosine of sentence embeddings; sound, spelling: edit distance."
            ),
            wspy.Column(name="words", description="Top words that the measure knows."),
            wspy.Column(name="top words", decimals=3, description="Mean similarity over their pairs."),
            wspy.Column(name="random words", decimals=3, description="Of equal frequency, mean over draws."),
            wspy.Column(name="from", decimals=3, description="2.5 % quantile of the draws."),
            wspy.Column(name="to", decimals=3, description="97.5 % quantile."),
            wspy.Column(name="p", decimals=3, description="Share of draws as alike as the top words."),
        ),
        rows=tuple((f.measure, f.n_words, f.top_words, f.random_words, f.low, f.high, f.p) for f in alike),
    )


def _words(title: str, words: tuple[WordActivation, ...]) -> wspy.Table:
    return wspy.Table(
        title=title,
        columns=(
            wspy.Column(name="word"),
            wspy.Column(name="count", description="Occurrences in the corpus."),
            wspy.Column(name="mean", decimals=3, description="Mean activation over its occurrences."),
            wspy.Column(name="lowest", decimals=3),
            wspy.Column(name="highest", decimals=3),
        ),
        rows=tuple((word.word, word.count, word.mean, word.minimum, word.maximum) for word in words),
    )


def _mean_figure(result: SemanticResult, title: str, words: tuple[WordActivation, ...]) -> wspy.Figure:
    return bars(
        title,
        [f"{word.word} ({word.count})" for word in words],
        [word.mean for word in words],
        lower=[word.minimum for word in words],
        upper=[word.maximum for word in words],
        x_title=f"activation of neuron {result.idx} of {result.site}",
        y_title="word (occurrences)",
        caption="Whiskers: the lowest and highest activation of any of its tokens, not an interval of confidence.",
    )


def _transcripts(result: SemanticResult, sign: str) -> wspy.Table:
    found = next(each for each in result.signs if each.sign == sign)
    return wspy.Table(
        title=f"Transcripts at the {_DIRECTION[sign]} activations",
        columns=(
            wspy.Column(name="activation", decimals=3),
            wspy.Column(name="transcript", description="The word at the peak stands in brackets."),
            wspy.Column(name="clip"),
        ),
        rows=tuple((each.activation, "".join(each.around or ()), each.clip) for each in found.examples),
    )
