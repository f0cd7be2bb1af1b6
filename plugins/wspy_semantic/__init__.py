"""Which words a decoder neuron answers to, and whether they are alike in meaning or only in sound.

Question: does a neuron of the decoder's MLP stand for a concept, as the post found in transcripts (section 3.3)?

Method: the decoder reads each clip's text, teacher-forced over the clip's sound, and the atlas keeps for every neuron
the clips and tokens with the most extreme activations, and for every word of the corpus the mean and extremes. The
`words` with the highest activation above zero (or the lowest below it) are the neuron's top words. How alike they are
is the mean similarity over all their pairs: of meaning, by a small sentence-embedding model that read each word alone;
of sound, by the edit distance of their phones. The control draws as many words of about the same frequency at random,
many times; p is the share of draws that are as alike. `semantic-layer` asks the same of every neuron of a layer.

How it can mislead: a small corpus has few words, so the top words are the best of a poor choice. Frequent words are
heard in more places, hence the control of equal frequency. Words that look alike also sound alike, and inflections
share meaning and sound; read both numbers together. A neuron may answer to the place in the sentence rather than to the
word: the transcripts show that, the numbers do not.

Example: `wspy analyze semantic --layer 0 --idx 10`, or `wspy.analyze("semantic", layer=0, idx=10)`. For a whole
layer: `wspy analyze semantic-layer --layer 0`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import Count, Layer, Unit
from wspy.units import SignChoice, UnitResult

Measure = Literal["meaning", "sound", "spelling"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WordActivation(_Part):
    """What the neuron does at one word, over all its occurrences."""

    word: str = Field(description="In lower case, without punctuation.")
    count: int = Field(description="Occurrences in the corpus.")
    mean: float = Field(description="Mean activation; of a word of several tokens, the mean over them.")
    minimum: float = Field(description="Lowest activation.")
    maximum: float = Field(description="Highest activation.")


class Alikeness(_Part):
    """How alike the top words are, next to random words of equal frequency."""

    measure: Measure = Field(description="What is compared.")
    n_words: int = Field(description="Top words that the measure knows.")
    top_words: float = Field(description="Mean similarity over all pairs of top words, at most 1.")
    random_words: float = Field(description="The same for random words of equal frequency, mean over draws.")
    low: float = Field(description="2.5 % quantile of the draws.")
    high: float = Field(description="97.5 % quantile of the draws.")
    p: float = Field(description="Share of draws that are as alike as the top words.")


class Opposite(_Part):
    """The words in the other direction."""

    top_words: tuple[WordActivation, ...] = Field(description="The words with the most extreme activation.")
    mean_words: tuple[WordActivation, ...] = Field(
        description="The words with the most extreme mean activation among those that occur at least twice."
    )
    alike: tuple[Alikeness, ...] = Field(description="One per measure; empty where fewer than three words are known.")


class SemanticResult(UnitResult):
    """What a decoder neuron responds to, word by word."""

    texts: Literal["corpus", "whisper", "mixed"] = Field(
        description="Where the texts come from: the corpus, Whisper's own transcripts where it has none, or both."
    )
    top_words: tuple[WordActivation, ...] = Field(
        description="The words with the highest activation above zero; with sign negative, the lowest below."
    )
    mean_words: tuple[WordActivation, ...] = Field(
        description="The words with the most extreme mean in that direction among those that occur at least twice."
    )
    n_words: int = Field(description="Distinct words that were heard.")
    alike: tuple[Alikeness, ...] = Field(description="One per measure; empty where fewer than three words are known.")
    opposite: Opposite | None = Field(
        None, description="The words with the lowest activation below zero, where both directions were asked for."
    )


class Semantic(wspy.Analysis["Semantic.Inputs", SemanticResult]):
    """Top words of a decoder neuron, with their transcripts and sounds, and how alike they are."""

    api = 1
    name = "semantic"
    summary = "Which words a decoder neuron responds to, and whether they share meaning or sound."

    class Inputs(wspy.Inputs):
        layer: Layer = Field(description="Block of the decoder, counted from 0.")
        idx: Unit = Field(description="Neuron within the block's MLP, counted from 0.")
        top: Count = Field(10, le=25, description="How many of the strongest clips to show, 1 to 25.")
        words: Count = Field(20, le=100, description="How many top words to list and compare, 1 to 100.")
        sign: SignChoice = Field("both", description="Listen to the highest activations, the lowest, or both.")

    Result = SemanticResult

    def run(self, inputs: Semantic.Inputs, context: wspy.Context) -> SemanticResult:
        from wspy_semantic.words import read

        return read(inputs, context)

    def view(self, result: SemanticResult) -> list[wspy.Block]:
        from wspy_semantic.page import page

        return page(result)


Kind = Literal["meaning", "sound", "both", "neither"]


class NeuronWords(_Part):
    """One neuron's top words, and in what they are alike."""

    idx: int = Field(description="Neuron within the block's MLP.")
    words: tuple[str, ...] = Field(description="Its top words, the most extreme first.")
    alike: tuple[Alikeness, ...] = Field(description="One per measure that knows at least three of them.")
    kind: Kind = Field(
        description="In which of meaning and sound the top words are alike beyond chance, at the false discovery rate."
    )


class MeasureCount(_Part):
    """How many neurons have top words that are alike in one measure."""

    measure: Measure = Field(description="What is compared.")
    n: int = Field(description="Neurons that could be compared: beyond zero at three words that the measure knows.")
    n_p05: int = Field(description="Those with p below 0.05, of which chance alone gives one in twenty.")
    n_found: int = Field(description="Those that count at a false discovery rate of 5 % over the layer.")
    top_words: float = Field(description="Mean similarity of top words, over these neurons.")
    random_words: float = Field(description="The same for random words of equal frequency.")
    excess_95: float = Field(description="How much more alike than random words: 95th percentile over these neurons.")
    n_beyond: int | None = Field(
        description="Of those found, the neurons that lie beyond that percentile of the neurons with shuffled weights; "
        "null without them."
    )


class SemanticLayerResult(wspy.Result):
    """In what the top words of each neuron of a layer are alike, and how many neurons that makes."""

    model: str = Field(description="Name of the model.")
    corpus: str = Field(description="Name of the corpus.")
    site: str = Field(description="Module path of the neurons.")
    texts: Literal["corpus", "whisper", "mixed"] = Field(description="Where the texts come from.")
    sign: Literal["positive", "negative"] = Field(description="Which activations were looked at.")
    n_words: int = Field(description="Distinct words that were heard.")
    n_top: int = Field(description="Top words that were compared.")
    units: tuple[NeuronWords, ...] = Field(description="Every neuron that could be compared, in order.")
    counts: tuple[MeasureCount, ...] = Field(description="One per measure.")
    random_weights: tuple[MeasureCount, ...] = Field(
        description="The same for the model with its weights shuffled; empty where it was not asked for."
    )
    kinds: dict[Kind, int] = Field(description="How many neurons are alike in what, each counted once.")
    random_kinds: dict[Kind, int] = Field(description="The same with shuffled weights; empty without them.")


class SemanticLayer(wspy.Analysis["SemanticLayer.Inputs", SemanticLayerResult]):
    """Of a layer of the decoder: how many neurons have top words that share a meaning, beyond chance."""

    api = 1
    name = "semantic-layer"
    summary = "How many decoder neurons of a layer respond to words that share meaning or sound."

    class Inputs(wspy.Inputs):
        layer: Layer = Field(0, description="Block of the decoder, counted from 0.")
        neurons: Count | None = Field(None, description="Look at so many, the first ones; at all if left out.")
        words: Count = Field(20, le=100, description="How many top words of each neuron to compare, 1 to 100.")
        sign: Literal["positive", "negative"] = Field(
            "positive", description="Words with the highest activations, or with the lowest."
        )
        random_weights: bool = Field(
            True, description="Do the same with the model's weights shuffled: what the method finds where nothing is."
        )

    Result = SemanticLayerResult

    def run(self, inputs: SemanticLayer.Inputs, context: wspy.Context) -> SemanticLayerResult:
        from wspy_semantic.layer import read_layer

        return read_layer(inputs, context)

    def view(self, result: SemanticLayerResult) -> list[wspy.Block]:
        from wspy_semantic.layer_page import page

        return page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Semantic)
    register(SemanticLayer)
