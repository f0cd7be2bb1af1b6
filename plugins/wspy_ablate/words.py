"""Which tokens make which word, which phones are in it, and how two transcripts differ."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wspy.corpus import Alignment
    from wspy.model import Model, TokenSequence

_PIECE = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_STRESSED = re.compile(r"([A-Z]{2})[012]")  # ARPABET vowels only: in X-SAMPA a digit is a vowel of its own


@dataclass(frozen=True)
class Word:
    """A word of a text, by spaces, and the places of its tokens in the text; punctuation tokens are left out."""

    text: str
    tokens: tuple[int, ...]


def words_of(model: Model, sequence: TokenSequence, language: str | None) -> list[Word]:
    """The words of a text, in order. Whisper's tokens carry the space before their word."""
    encoding = model.tokenizer(language if model.is_multilingual else None).encoding
    spelled: list[list[bytes]] = []  # the bytes of each token of each word: a token may hold a part of a letter only
    for token_id in sequence.ids[sequence.n_prompt : -1]:
        token: bytes = encoding.decode_single_token_bytes(token_id)
        if token.startswith(b" ") or not spelled:
            spelled.append([])
        spelled[-1].append(token)
    words, first = [], 0
    for tokens in spelled:
        text = b"".join(tokens).decode("utf-8", "replace")
        is_sound = [char.isalnum() for char in text for _ in char.encode()]
        ends = list(itertools.accumulate(len(token) for token in tokens))
        kept = [at for at, (start, end) in enumerate(itertools.pairwise([0, *ends])) if any(is_sound[start:end])]
        words.append(Word(text.strip(), tuple(first + at for at in kept)))
        first += len(tokens)
    return words


def without_stress(phone: str) -> str:
    """An ARPABET phone without the digit of its stress; any other as it is."""
    stressed = _STRESSED.fullmatch(phone)
    return stressed[1] if stressed else phone


def phones_of_words(alignment: Alignment) -> list[frozenset[str]]:
    """For each aligned word the phones with their middle inside it, ARPABET also without stress."""
    found: list[frozenset[str]] = []
    for word in alignment.words:
        inside = {p.label for p in alignment.phones if word.start_s <= (p.start_s + p.end_s) / 2 < word.end_s}
        found.append(frozenset(inside | {without_stress(phone) for phone in inside}))
    return found


def place_words(words: Sequence[str], alignment: Alignment) -> list[frozenset[str] | None]:
    """The phones of each written word, found in the alignment by spelling and order; None where it is not there.

    Where spellings differ, words stand for one another if there are as many on both sides ("Mr." and "mister"), or one
    written word for several that are spoken ("42").
    """
    phones = phones_of_words(alignment)
    written = [(piece, at) for at, word in enumerate(words) for piece in _pieces(word) or [""]]
    spoken = [(piece, at) for at, word in enumerate(alignment.words) for piece in _pieces(word.label) or [""]]
    placed: list[set[str] | None] = [None] * len(words)

    def join(at: int, spoken_at: int) -> None:
        placed[at] = (placed[at] or set()) | phones[spoken_at]

    matcher = SequenceMatcher(None, [p for p, _ in written], [p for p, _ in spoken], autojunk=False)
    for kind, w0, w1, s0, s1 in matcher.get_opcodes():
        if kind == "equal" or (kind == "replace" and w1 - w0 == s1 - s0):
            for (_, at), (_, spoken_at) in zip(written[w0:w1], spoken[s0:s1], strict=True):
                join(at, spoken_at)
        elif kind == "replace" and len({at for _, at in written[w0:w1]}) == 1:
            for _, spoken_at in spoken[s0:s1]:
                join(written[w0][1], spoken_at)
    return [frozenset(found) if found else None for found in placed]


def _pieces(word: str) -> list[str]:
    return _PIECE.findall(word.replace("’", "'").casefold())


def marked(clean: str, ablated: str) -> tuple[bool, str]:
    """Whether any word differs, and the second transcript with `[was → is]` at words that changed (jiwer's alignment).

    Case and punctuation do not count.
    """
    import jiwer

    was, now = _spelled(clean), _spelled(ablated)
    if not was or not now:
        text = f"[{' '.join(w for _, w in was)} → {' '.join(w for _, w in now)}]"
        return bool(was or now), text if was or now else ""
    aligned = jiwer.process_words(" ".join(key for key, _ in was), " ".join(key for key, _ in now)).alignments[0]
    parts = []
    for chunk in aligned:
        before = " ".join(word for _, word in was[chunk.ref_start_idx : chunk.ref_end_idx])
        after = " ".join(word for _, word in now[chunk.hyp_start_idx : chunk.hyp_end_idx])
        parts.append(after if chunk.type == "equal" else f"[{before or '∅'} → {after or '∅'}]")
    return any(chunk.type != "equal" for chunk in aligned), " ".join(parts)


def _spelled(text: str) -> list[tuple[str, str]]:
    """Words with a key to compare them by; what has no letter or digit is left out."""
    keys = (("".join(_pieces(word)), word) for word in text.split())
    return [(key, word) for key, word in keys if key]


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str], *, english: bool) -> float | None:
    """Over all texts together, after openai-whisper's own normaliser; None where no reference has a word."""
    import jiwer
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

    normalise = EnglishTextNormalizer() if english else BasicTextNormalizer()
    pairs = [(normalise(r).strip(), normalise(h).strip()) for r, h in zip(references, hypotheses, strict=True)]
    pairs = [(r, h) for r, h in pairs if r]
    return float(jiwer.wer([r for r, _ in pairs], [h for _, h in pairs])) if pairs else None
