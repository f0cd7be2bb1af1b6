"""The tokens of text and their embeddings; which are English words, and which were hardly trained."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wspy.errors import EmptyWord, NotOneToken
from wspy.words import plain_word, pronunciations

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int
    from whisper.tokenizer import Tokenizer

    from wspy import Model

NEVER_IN_TEXT = (0xC0, 0xC1, *range(0xF5, 0x100))
"""Bytes that UTF-8 never uses, so that no text on which a model was trained has their tokens."""
LIMIT = 0.25  # of the median distance to the place of unused tokens
ONE_PLACE = 0.05  # of the median distance: unused tokens further apart than this do not crowd


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens of text, numbered as in the model, which has them before all special ones."""

    texts: tuple[str, ...]
    unused: tuple[int, ...]
    embeddings: Float32[np.ndarray, "token d_model"]
    tokenizer: Tokenizer

    def find(self, word: str) -> int:
        """The token that writes exactly this.

        Raises:
            EmptyWord, NotOneToken: there is none.
        """
        if not word.strip():
            raise EmptyWord
        ids = self.tokenizer.encoding.encode(word, disallowed_special=())
        if len(ids) == 1:
            return int(ids[0])
        known = [text for text in self.texts if text.startswith(" ")]
        near = [f" {word}"] if f" {word}" in known else difflib.get_close_matches(word, known, n=3)
        raise NotOneToken(word, [self.texts[token] for token in ids], near)


def read_vocabulary(model: Model) -> Vocabulary:
    """The tokens of text of a model, and their rows of the token embedding."""
    tokenizer = model.tokenizer()
    pieces = [tokenizer.encoding.decode_single_token_bytes(token) for token in range(tokenizer.eot)]
    weight = model.whisper.decoder.token_embedding.weight[: tokenizer.eot]
    return Vocabulary(
        texts=tuple(piece.decode("utf-8", "backslashreplace") for piece in pieces),
        unused=tuple(token for token, piece in enumerate(pieces) if len(piece) == 1 and piece[0] in NEVER_IN_TEXT),
        embeddings=weight.detach().float().cpu().numpy(),
        tokenizer=tokenizer,
    )


def whole_words(texts: tuple[str, ...]) -> list[int]:
    """Tokens that begin with a space and are English words, each word once, if possible in lower case."""
    known, best = pronunciations(), dict[str, int]()
    for token, text in enumerate(texts):
        plain = plain_word(text)
        if not (text.startswith(" ") and text[1:].lower() == plain and plain in known):
            continue
        if plain not in best or _case(text) < _case(texts[best[plain]]):
            best[plain] = token
    return sorted(best.values())


def _case(text: str) -> int:
    word = text[1:]
    return 0 if word == word.lower() else 1 if word == word.capitalize() else 2


@dataclass(frozen=True, eq=False)
class HardlyTrained:
    """Distances from the place of unused tokens, and who is near enough to count."""

    crowded: bool
    place: Float64[np.ndarray, " d_model"]
    median: float
    distance: Float64[np.ndarray, " token"]
    tokens: Int[np.ndarray, " token"]

    @property
    def limit(self) -> float:
        return LIMIT * self.median


def hardly_trained(vocabulary: Vocabulary) -> HardlyTrained:
    """Tokens that training left where it left those that no text contains, nearest first.

    Every step moves all rows a little, by the softmax and weight decay, and rows that never occur all alike; so they
    end at one place whatever its norm. Where the unused tokens are apart (random weights), nothing is found.
    """
    rows = vocabulary.embeddings.astype(np.float64)
    place = np.median(rows[list(vocabulary.unused)], axis=0)
    distance = np.linalg.norm(rows - place, axis=1)
    median = float(np.median(distance))
    crowded = bool(np.median(distance[list(vocabulary.unused)]) <= ONE_PLACE * median)
    near = np.flatnonzero(distance < LIMIT * median) if crowded else np.zeros(0, dtype=int)
    return HardlyTrained(crowded, place, median, distance, near[np.argsort(distance[near], kind="stable")])
