"""What the analysis finds, part by part."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy

Kind = Literal["sounds alike", "means alike", "both", "neither", "same word", "no word"]
KINDS: tuple[Kind, ...] = ("sounds alike", "means alike", "both", "neither", "same word", "no word")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Neighbour(_Part):
    """A token near a word."""

    token: int = Field(description="Place in the vocabulary.")
    text: str = Field(description="What it writes; bytes that are no whole character show as \\xNN.")
    similarity: float = Field(description="Cosine by the chosen measure.")
    sound: float | None = Field(
        description="1 - edit distance / longer length, in phones; None for no dictionary word."
    )
    meaning: float | None = Field(description="Cosine by the model of written text; None for no dictionary word.")
    spelling: float = Field(description="1 - edit distance / longer length, in letters.")
    kind: Kind = Field(
        description="Which of sound and meaning reach their threshold; same word: differs in case or space only; no "
        "word: one of the two is not in the dictionary."
    )


class WordResult(_Part):
    """The neighbours of one word."""

    token: int = Field(description="Place in the vocabulary.")
    text: str = Field(description="The word as typed.")
    hardly_trained: bool = Field(description="Whether it is itself one of the hardly trained tokens.")
    group: int | None = Field(description="Its group on the map; None where it is in none, or there is no map.")
    neighbours: tuple[Neighbour, ...] = Field(description="Nearest first.")
    otherwise: tuple[str, ...] = Field(description="The ten nearest by the measure that was not chosen.")


class Threshold(_Part):
    """From where on two words count as alike."""

    name: Literal["sound", "meaning", "spelling"] = Field(description="In what they are alike.")
    value: float = Field(
        description="The 99th percentile of that similarity over all pairs of the sample, or of 3,000 words of it."
    )
    base: float = Field(description="Share of those pairs that reach it; above 1 % where many are equal.")
    nearest: float = Field(description="Share that reaches it among the ten nearest, within the sample, of each word.")
    low: float = Field(description="Lower end of the 95 % interval of that share.")
    high: float = Field(description="Upper end of the 95 % interval of that share.")


class Explained(_Part):
    """How much of the cosine of word pairs one similarity explains."""

    name: Literal["sound", "meaning", "spelling"] = Field(description="The similarity.")
    alone: float = Field(description="R² with this similarity alone.")
    alone_low: float = Field(description="Lower end of its 95 % interval.")
    alone_high: float = Field(description="Upper end of its 95 % interval.")
    unique: float = Field(description="R² with all three, minus R² with the other two.")
    unique_low: float = Field(description="Lower end of its 95 % interval.")
    unique_high: float = Field(description="Upper end of its 95 % interval.")


class Regression(_Part):
    """Sound, meaning and spelling as causes of the cosine over all pairs of the sample."""

    measure: Literal["cosine", "cleaned"] = Field(description="Which cosine is explained.")
    r2: float = Field(description="R² with all three.")
    low: float = Field(description="Lower end of its 95 % interval.")
    high: float = Field(description="Upper end of its 95 % interval.")
    parts: tuple[Explained, ...] = Field(description="Sound, meaning, spelling.")


class Pairs(_Part):
    """What pairs of random words are like, and what their cosine follows."""

    n_words: int = Field(description="Words drawn; all pairs among them are compared.")
    median: float = Field(description="Median cosine of these pairs, by the chosen measure.")
    p99: float = Field(description="99th percentile of that cosine.")
    thresholds: tuple[Threshold, ...] = Field(description="For sound, meaning and spelling.")
    regressions: tuple[Regression, ...] = Field(description="For the plain and the cleaned cosine.")


class GlitchToken(_Part):
    """A token that was hardly trained."""

    token: int = Field(description="Place in the vocabulary.")
    text: str = Field(description="What it writes; bytes that are no whole character show as \\xNN.")
    distance: float = Field(description="To the place of unused tokens, in median distances; 0: never moved away.")
    norm: float = Field(description="Length of its embedding.")
    mean_distance: float = Field(description="To the mean of all embeddings, in median distances.")
    duplicates: int = Field(description="Other tokens nearer to it than a twentieth of the median distance.")


class OtherSign(_Part):
    """Something else by which one might know hardly trained tokens, and how well it tells them from others."""

    name: Literal["norm", "distance to the mean", "near duplicates"] = Field(description="The sign.")
    hardly_trained: float = Field(description="Its median among the hardly trained tokens.")
    others: float = Field(description="Its median among 2,000 others at random.")
    auroc: float = Field(
        description="Chance that it is higher for a hardly trained token than for another: 0.5 tells nothing, 0 and 1 "
        "tell them all."
    )


class Glitch(_Part):
    """The rule for hardly trained tokens, and how many it finds."""

    crowded: bool = Field(description="Whether tokens that no text contains lie at one place; if not, none is found.")
    n_tokens: int = Field(description="How many tokens of text count as hardly trained.")
    n_words: int = Field(description="How many of them begin with a space and are English words.")
    limit: float = Field(description="The distance below which a token counts, in units of the embedding.")
    norm: float = Field(description="Length of the embedding at the place of unused tokens.")
    norm_rank: float = Field(description="Share of the tokens of text with a shorter embedding than that.")
    listed: tuple[GlitchToken, ...] = Field(description="All of them, nearest to that place first; only with --glitch.")
    signs: tuple[OtherSign, ...] = Field((), description="How well other signs tell them; only with --glitch.")


class Group(_Part):
    """A group of tokens on the map."""

    group: int = Field(description="Its number, counted from 0.")
    n_tokens: int = Field(description="How many tokens it has.")
    examples: tuple[str, ...] = Field(description="Those nearest to its centre, by the chosen measure.")
    sound: float | None = Field(description="Share of pairs within it that sound alike; None for under two words.")
    meaning: float | None = Field(description="Share of pairs within it that mean alike; None for under two words.")


class Map(_Part):
    """Where the tokens lie in the plane."""

    media: wspy.Media = Field(description="Arrays `tokens`, `texts`, `places` [token, 2] and `groups` (-1: none).")
    n_tokens: int = Field(description="Tokens on the map: the sample, the words and their neighbours.")
    n_groups: int = Field(description="How many groups HDBSCAN finds.")
    n_grouped: int = Field(description="How many of the tokens are in one.")
    groups: tuple[Group, ...] = Field(description="Those of the words, then the largest.")


class EmbeddingsResult(wspy.Result):
    model: str = Field(description="Name of the model.")
    measure: Literal["cosine", "cleaned"] = Field(description="How tokens were compared.")
    vocabulary: Literal["words", "all"] = Field(description="Which tokens were candidates.")
    n_text: int = Field(description="Tokens of text in the vocabulary, special tokens left out.")
    n_candidates: int = Field(description="Tokens among which neighbours were looked for.")
    kept_glitch: bool = Field(False, description="Whether the hardly trained tokens were among them.")
    first_direction: float = Field(description="Share of the candidates' variance along the first direction.")
    words: tuple[WordResult, ...] = Field(description="One for each word given.")
    pairs: Pairs = Field(description="What random pairs of words are like.")
    glitch: Glitch = Field(description="The hardly trained tokens.")
    map: Map | None = Field(description="None with --no-map.")
