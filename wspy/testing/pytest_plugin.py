"""Fixtures for tests of plugins. pytest finds them by itself wherever wspy is installed; nothing is imported for them
until a test asks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from wspy.corpus import Corpus
    from wspy.model import Model


@pytest.fixture(scope="session")
def tiny_whisper() -> Model:
    """A Whisper of two layers with random weights: `wspy.testing.tiny_whisper()`. Leave it as it is."""
    from wspy.testing import tiny_whisper as make

    return make()


@pytest.fixture(scope="session")
def tone_corpus() -> Corpus:
    """Clips of tones with texts, words and phones, in memory: `wspy.testing.tone_corpus()`."""
    from wspy.testing import tone_corpus as make

    return make()


@pytest.fixture
def wspy_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty WSPY_HOME for this test alone, so that it neither sees nor changes the corpora and runs of its user."""
    home = tmp_path / "wspy_home"
    home.mkdir()
    monkeypatch.setenv("WSPY_HOME", str(home))
    return home
