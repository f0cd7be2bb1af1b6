"""Which words a decoder neuron answers to, and whether they are alike in meaning or only in sound.

Question: does a neuron of the decoder's MLP stand for a concept, as the post found in transcripts (section 3.3)?

Method: the decoder reads each clip's text, teacher-forced over the clip's sound, and the atlas keeps for every neuron
the clips and tokens with the most extreme activations, and for every word of the corpus the mean and extremes. The
`words` with the highest (or lowest) activation are the neuron's top words. How alike they are is the mean similarity
over all their pairs: of meaning, by a small sentence-embedding model that read each word alone; of sound, by the edit
distance of their phones. The control draws as many words of about the same frequency at random, many times; p is the
share of draws that are as alike.

How it can mislead: a small corpus has few words, so the top words are the best of a poor choice. Frequent words are
heard in more places, hence the control of equal frequency. Words that look alike also sound alike, and inflections
share meaning and sound; read both numbers together. A neuron may answer to the place in the sentence rather than to the
word: the transcripts show that, the numbers do not.

Example: `wspy analyze semantic --layer 0 --idx 10`, or `wspy.analyze("semantic", layer=0, idx=10)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import Count, Layer, Unit
from wspy.units import UnitResult


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

    measure: Literal["meaning", "sound", "spelling"] = Field(description="What is compared.")
    n_words: int = Field(description="Top words that the measure knows.")
    top_words: float = Field(description="Mean similarity over all pairs of top words, at most 1.")
    random_words: float = Field(description="The same for random words of equal frequency, mean over draws.")
    low: float = Field(description="2.5 % quantile of the draws.")
    high: float = Field(description="97.5 % quantile of the draws.")
    p: float = Field(description="Share of draws that are as alike as the top words.")


class SemanticResult(UnitResult):
    """What a decoder neuron responds to, word by word."""

    texts: Literal["corpus", "whisper", "mixed"] = Field(
        description="Where the texts come from: the corpus, Whisper's own transcripts where it has none, or both."
    )
    top_words: tuple[WordActivation, ...] = Field(description="The words with the most extreme activation.")
    mean_words: tuple[WordActivation, ...] = Field(
        description="The words with the most extreme mean activation among those that occur at least twice."
    )
    n_words: int = Field(description="Distinct words that were heard.")
    alike: tuple[Alikeness, ...] = Field(description="One per measure; empty where fewer than three words are known.")


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
        sign: Literal["positive", "negative", "both"] = Field(
            "both", description="Listen to the highest activations, the lowest, or both."
        )

    Result = SemanticResult

    def run(self, inputs: Semantic.Inputs, context: wspy.Context) -> SemanticResult:
        from wspy_semantic.words import read

        return read(inputs, context)

    def view(self, result: SemanticResult) -> list[wspy.Block]:
        from wspy_semantic.page import page

        return page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Semantic)
