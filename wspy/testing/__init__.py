"""What tests of wspy and of its plugins need: a tiny Whisper, tones, a corpus in memory, and `check_analysis`.

    from wspy.testing import check_analysis

    def test_it_keeps_the_promises_of_wspy(tmp_path):
        check_analysis(MyAnalysis, {"layer": 1}, folder=tmp_path)

Names are imported when they are first used: pytest loads this package in every run, for the fixtures of
`wspy.testing.pytest_plugin`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wspy.testing.check import check_analysis
    from wspy.testing.models import ENGLISH_VOCAB, tiny_whisper
    from wspy.testing.sounds import PITCHES_HZ, tone, tone_clip, tone_corpus

_HOME = {
    "ENGLISH_VOCAB": "wspy.testing.models",
    "PITCHES_HZ": "wspy.testing.sounds",
    "check_analysis": "wspy.testing.check",
    "tiny_whisper": "wspy.testing.models",
    "tone": "wspy.testing.sounds",
    "tone_clip": "wspy.testing.sounds",
    "tone_corpus": "wspy.testing.sounds",
}
__all__ = ["ENGLISH_VOCAB", "PITCHES_HZ", "check_analysis", "tiny_whisper", "tone", "tone_clip", "tone_corpus"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'wspy.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
