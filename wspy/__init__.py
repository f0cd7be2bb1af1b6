"""wspy: a microscope for OpenAI's Whisper.

    import wspy
    model = wspy.load_model("tiny.en")
    corpus = wspy.open_corpus("demo")
    result = wspy.analyze("neuron", layer=2, idx=3)

Names are imported when they are first used, so `import wspy` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wspy.analysis import API_VERSION, Analysis, AnyAnalysis, Context, Inputs, Media, Result, Sound
    from wspy.blocks import Audio, Block, Column, Figure, Table, Text
    from wspy.corpus import Alignment, Clip, Corpus, Interval, list_corpora, make_corpus, open_corpus
    from wspy.errors import InputError, WspyError
    from wspy.hookspecs import hookimpl
    from wspy.model import Model, capture, find_model, list_models, list_sites, load_model, patch
    from wspy.runs import Run, analyze, list_runs, open_run

_PUBLIC = {
    "wspy.analysis": ("API_VERSION", "Analysis", "AnyAnalysis", "Context", "Inputs", "Media", "Result", "Sound"),
    "wspy.blocks": ("Audio", "Block", "Column", "Figure", "Table", "Text"),
    "wspy.corpus": ("Alignment", "Clip", "Corpus", "Interval", "list_corpora", "make_corpus", "open_corpus"),
    "wspy.errors": ("InputError", "WspyError"),
    "wspy.hookspecs": ("hookimpl",),
    "wspy.model": ("Model", "capture", "find_model", "list_models", "list_sites", "load_model", "patch"),
    "wspy.runs": ("Run", "analyze", "list_runs", "open_run"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [
    "API_VERSION",
    "Alignment",
    "Analysis",
    "AnyAnalysis",
    "Audio",
    "Block",
    "Clip",
    "Column",
    "Context",
    "Corpus",
    "Figure",
    "InputError",
    "Inputs",
    "Interval",
    "Media",
    "Model",
    "Result",
    "Run",
    "Sound",
    "Table",
    "Text",
    "WspyError",
    "__version__",
    "analyze",
    "capture",
    "find_model",
    "hookimpl",
    "list_corpora",
    "list_models",
    "list_runs",
    "list_sites",
    "load_model",
    "make_corpus",
    "open_corpus",
    "open_run",
    "patch",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'wspy' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
