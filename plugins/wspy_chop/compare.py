"""The words before and after a cut, told apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

import jiwer

from wspy_chop import Pair


def normal(word: str) -> str:
    """A word without case and punctuation: its letters, marks and digits."""
    return "".join(c for c in unicodedata.normalize("NFC", word.casefold()) if unicodedata.category(c)[0] in "LMN")


def spoken(words: Sequence[str]) -> list[str]:
    """The words that are more than punctuation."""
    return [word for word in words if normal(word)]


def compare(before: Sequence[str], after: Sequence[str]) -> tuple[Pair, ...]:
    """The words of two transcripts, aligned with as few changes as possible (jiwer), as they were written."""
    before, after = spoken(before), spoken(after)
    if not before:  # jiwer aligns to something
        return tuple(Pair(before="", after=word, outcome="invented") for word in after)
    output = jiwer.process_words(" ".join(map(normal, before)), " ".join(map(normal, after)))
    pairs: list[Pair] = []
    for chunk in output.alignments[0]:
        old = before[chunk.ref_start_idx : chunk.ref_end_idx]
        new = after[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "delete":
            pairs += [Pair(before=word, after="", outcome="removed") for word in old]
        elif chunk.type == "insert":
            pairs += [Pair(before="", after=word, outcome="invented") for word in new]
        else:
            outcome = "kept" if chunk.type == "equal" else "changed"
            pairs += [Pair(before=a, after=b, outcome=outcome) for a, b in zip(old, new, strict=True)]
    return tuple(pairs)


def exactly_gone(before: Sequence[str], after: Sequence[str], targets: Collection[int]) -> bool:
    """Whether the words at some places of `before` disappeared, and every other stays, with none added."""
    left = [normal(word) for i, word in enumerate(before) if i not in targets]
    return list(filter(None, left)) == [normal(word) for word in spoken(after)]


def find_words(words: Sequence[str], wanted: str) -> list[range]:
    """Where a word, or several in a row, stand among others; none overlaps the one before."""
    phrase = [normal(word) for word in spoken(wanted.split())]
    heard = [normal(word) for word in words]
    found: list[range] = []
    at = 0
    while phrase and at + len(phrase) <= len(heard):
        if heard[at : at + len(phrase)] == phrase:
            found.append(range(at, at + len(phrase)))
            at += len(phrase)
        else:
            at += 1
    return found
