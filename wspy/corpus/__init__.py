"""Corpora: named, ordered, hashed lists of clips, and where they come from."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wspy.corpus.clips import SILENCE, Alignment, Clip, Interval
    from wspy.corpus.make import align_corpus, ensure_demo, make_corpus
    from wspy.corpus.sources import Recording, Recordings, Source, SourceRegistry
    from wspy.corpus.store import (
        AlignmentInfo,
        Corpus,
        CorpusInfo,
        Provenance,
        Recipe,
        Skipped,
        damaged_corpora,
        list_corpora,
        open_corpus,
        remove_corpus,
    )

_PUBLIC = {
    "wspy.corpus.clips": ("SILENCE", "Alignment", "Clip", "Interval"),
    "wspy.corpus.make": ("align_corpus", "ensure_demo", "make_corpus"),
    "wspy.corpus.sources": ("Recording", "Recordings", "Source", "SourceRegistry"),
    "wspy.corpus.store": (
        "AlignmentInfo",
        "Corpus",
        "CorpusInfo",
        "Provenance",
        "Recipe",
        "Skipped",
        "damaged_corpora",
        "list_corpora",
        "open_corpus",
        "remove_corpus",
    ),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [
    "SILENCE",
    "Alignment",
    "AlignmentInfo",
    "Clip",
    "Corpus",
    "CorpusInfo",
    "Interval",
    "Provenance",
    "Recipe",
    "Recording",
    "Recordings",
    "Skipped",
    "Source",
    "SourceRegistry",
    "align_corpus",
    "damaged_corpora",
    "ensure_demo",
    "list_corpora",
    "make_corpus",
    "open_corpus",
    "remove_corpus",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'wspy.corpus' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
