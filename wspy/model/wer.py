"""How far two transcripts are apart: word error rate, its interval over clips, and the words that changed.

Both texts pass through openai-whisper's own normalizer (spelling, numbers, contractions, punctuation), so that only
words that are heard differently count; the alignment is jiwer's. In languages written without spaces the words are
letters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wspy.blocks import escape_markdown

UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my"})
"""Languages that Whisper's authors score by letters."""
RESAMPLES = 2000
Change = Literal["same", "replaced", "removed", "added"]


@dataclass(frozen=True)
class WordErrors:
    """The errors of one transcript against another, in words of the normalized texts."""

    n_words: int
    """Words of the reference."""
    substituted: int
    inserted: int
    deleted: int

    @property
    def n_errors(self) -> int:
        """Words replaced, added and missing."""
        return self.substituted + self.inserted + self.deleted


@dataclass(frozen=True)
class Passage:
    """A stretch of words that both transcripts share, or in which they differ; words are as they were written."""

    change: Change
    before: tuple[str, ...]
    after: tuple[str, ...]


def word_errors(reference: str, transcript: str, language: str | None = "en") -> WordErrors:
    """Count the word errors of `transcript` against `reference`; either may be empty."""
    import jiwer

    normalize = _normalizer("en" if language == "en" else "unspaced" if language in UNSPACED else "other")
    expected = normalize(reference)
    found = jiwer.process_words(expected, normalize(transcript))
    return WordErrors(len(expected.split()), found.substitutions, found.insertions, found.deletions)


def pooled_wer(errors: Sequence[WordErrors]) -> float | None:
    """All errors over all words of the references; None where the references hold no word."""
    n_words = sum(error.n_words for error in errors)
    return sum(error.n_errors for error in errors) / n_words if n_words else None


def wer_interval(
    errors: Sequence[WordErrors], rng: np.random.Generator, level: float = 0.95
) -> tuple[float, float] | None:
    """A bootstrap interval of the pooled WER: clips are drawn anew, with replacement, as often as there are clips.

    None where there are fewer than two clips, or no words. An interval cannot see what no clip shows: where no clip has
    an error, it is zero wide.
    """
    return ratio_interval([error.n_errors for error in errors], [error.n_words for error in errors], rng, level)


def ratio_interval(
    parts: Sequence[float], wholes: Sequence[float], rng: np.random.Generator, level: float = 0.95
) -> tuple[float, float] | None:
    """A bootstrap interval over clips of the sum of `parts` over the sum of `wholes`, one of each per clip.

    None where there are fewer than two clips, or the wholes are all zero.
    """
    counts = np.stack([np.asarray(parts, np.float64), np.asarray(wholes, np.float64)], axis=1)
    if len(counts) < 2 or not counts[:, 1].any():
        return None
    drawn = counts[rng.integers(len(counts), size=(RESAMPLES, len(counts)))].sum(axis=1)
    drawn = drawn[drawn[:, 1] > 0]
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare_words(before: str, after: str) -> tuple[Passage, ...]:
    """Where two transcripts differ, in their own words; case and punctuation alone make no difference."""
    import jiwer

    old, new = _words(before), _words(after)
    found = jiwer.process_words(" ".join(_key(word) for word in old), " ".join(_key(word) for word in new))
    changes: dict[str, Change] = {"equal": "same", "substitute": "replaced", "delete": "removed", "insert": "added"}
    return tuple(
        Passage(
            changes[chunk.type],
            tuple(old[chunk.ref_start_idx : chunk.ref_end_idx]),
            tuple(new[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in found.alignments[0]
    )


def mark_changes(before: str, after: str, most_words: int) -> str:
    """`after` as Markdown: words that `before` does not have are bold, and those that it had struck through.

    Args:
        most_words: About how many words are written out; of a longer transcript the number of words is said.
    """
    parts: list[str] = []
    left = most_words
    for passage in compare_words(before, after):
        old, new = (escape_markdown(" ".join(words[:left])) for words in (passage.before, passage.after))
        if passage.change == "same":
            parts += [new] if new else []
        else:
            parts += [f"~~{old}~~"] if old else []
            parts += [f"**{new}**"] if new else []
        left -= max(len(passage.before), len(passage.after))
        if left < 0:
            parts.append(f"… ({len(after.split())} words in all)")
            break
    return " ".join(parts) or "(nothing)"


# --- parts ------------------------------------------------------------------------------------------------


@functools.cache
def _normalizer(kind: Literal["en", "other", "unspaced"]) -> Callable[[str], str]:
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

    normalizer: Callable[[str], str] = (
        EnglishTextNormalizer() if kind == "en" else BasicTextNormalizer(split_letters=kind == "unspaced")
    )
    return normalizer


def _words(text: str) -> list[str]:
    """The words of a text, each with its punctuation; a dash by itself is none."""
    return [word for word in text.split() if _key(word)]


def _key(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())
