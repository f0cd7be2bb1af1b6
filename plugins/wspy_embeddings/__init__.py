"""Which tokens are close to a word, and whether by sound or by meaning.

Question: which tokens lie near a word in the decoder's token embedding (section 3.2 of the post), what makes them near,
and which tokens were hardly trained?

Method: tokens are compared by the cosine of their rows of `decoder.token_embedding.weight`, which Whisper uses both to
read a token and to score it as the next one. Two words are compared in three more ways: **sound**, 1 minus the edit
distance between their phones over the longer length, the best over the pronunciations of the CMU dictionary;
**meaning**, the cosine of two vectors of a small model of written text (all-MiniLM-L6-v2), which has never heard a
sound; **spelling**, as sound but with letters, because rug and mug also look alike. Over all pairs among a seeded
sample of words, a linear regression of the cosine on the three gives R² of each alone, and what each adds to the other
two (unique R²). The intervals are the middle 95 % of 200 bootstrap samples of the words, not of the pairs, which share
words. A word sounds (means, is spelled) alike another where their similarity reaches the 99th percentile of all pairs
in the sample.

`--measure cosine` is the post's. All embeddings share a large common part, and next to it one direction that holds how
much a token was trained, so that all cosines are high and rare tokens are near to all others. `--measure cleaned`
removes the mean and the first principal direction of the words before the cosine (Mu and Viswanath 2018, arXiv
1702.01417, "all but the top").

Tokens that were hardly trained are found as in Land and Bartolo 2024 (arXiv 2405.05417): thirteen tokens are single
bytes that no valid text contains (C0, C1, F5 to FF), so no training text used them. Where training left them all at
one place, every token that lies nearer to it than a quarter of the median distance counts as hardly trained.
`--glitch` shows how well three other signs would tell them: the norm, the distance to the mean, near duplicates.

The map places words by UMAP so that near ones stay near; its groups are the leaves of HDBSCAN on the map.

How it can mislead: on the map only nearness means something, not the distance between groups, their size or direction,
and the groups are those of the picture. The meaning model knows words without context, and its similarities are noisy,
which lowers what meaning can explain; sound comes from a dictionary, nearly without noise. Words that are
alike in grammar share endings (-tion, -ing), which counts as sound and spelling here. R² speaks of all pairs, nearly
all of them unrelated: a small R² goes with lists of neighbours that are full of like-sounding words.

Example: `wspy analyze embeddings --word " rug"`, or `wspy.analyze("embeddings", word=[" rug"])`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field

import wspy
from wspy.fields import Count, Prompt
from wspy_embeddings.result import EmbeddingsResult


class Embeddings(wspy.Analysis["Embeddings.Inputs", EmbeddingsResult]):
    """Neighbours of words in the token embedding, by sound or by meaning, and tokens that were hardly trained."""

    api = 1
    name = "embeddings"
    summary = "Which tokens are close to a word, by sound or by meaning."

    class Inputs(wspy.Inputs):
        word: list[Prompt] = Field(
            [" rug"], description="One token each, kept as typed: ' rug' with its space. Repeat for several."
        )
        top: Count = Field(20, le=200, description="How many of the nearest tokens to show, 1 to 200.")
        measure: Literal["cosine", "cleaned"] = Field(
            "cosine",
            description="cosine: of the embeddings as they are, as in the post; cleaned: without their mean and "
            "their first principal direction, which hold how much a token was trained.",
        )
        vocabulary: Literal["words", "all"] = Field(
            "words",
            description="words: tokens that begin with a space and are English words, each word once; all: every "
            "token of text. Hardly trained tokens are left out of both.",
        )
        sample: int = Field(
            3000,
            ge=100,
            description="How many tokens to draw for the map, at least 100; more than there are takes all. As many "
            "words are drawn, and all pairs among them compared.",
        )
        map: bool = Field(True, description="Draw the map and find its groups, a good part of the time of a first run.")
        glitch: bool = Field(False, description="List the tokens that were hardly trained, and how they could be told.")
        keep_glitch: bool = Field(False, description="Let the hardly trained tokens be neighbours and on the map, too.")

    Result = EmbeddingsResult

    def run(self, inputs: Embeddings.Inputs, context: wspy.Context) -> EmbeddingsResult:
        from wspy_embeddings.run import run

        return run(inputs, context)

    def view(self, result: EmbeddingsResult) -> list[wspy.Block]:
        from wspy_embeddings.page import page

        return page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Embeddings)
