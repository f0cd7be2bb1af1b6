"""Tones, whose every phone is known, and the fixtures that pytest finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wspy.audio import SAMPLE_RATE
from wspy.testing import PITCHES_HZ, tone, tone_clip, tone_corpus


def test_a_tone_is_as_long_as_high_and_as_loud_as_it_was_asked_for() -> None:
    samples = tone(1000, 0.5, 0.2)
    assert samples.dtype == np.float32 and len(samples) == SAMPLE_RATE // 2
    assert np.abs(samples).max() == pytest.approx(0.2, rel=1e-3)
    assert int(np.abs(np.fft.rfft(samples)).argmax()) * 2 == 1000  # half a second has bins of 2 Hz


def test_every_phone_of_a_clip_sounds_at_its_own_pitch() -> None:
    samples, clip, alignment = tone_clip("a", ["two", "more"], amplitude=0.3)
    assert clip.text == alignment.text == "two more"
    assert [phone.label for phone in alignment.phones] == ["T", "UW", "M", "AO"]
    assert len(samples) / SAMPLE_RATE == pytest.approx(0.6)
    for phone in alignment.phones:
        part = samples[round(phone.start_s * SAMPLE_RATE) : round(phone.end_s * SAMPLE_RATE)]
        loudest = np.abs(np.fft.rfft(part)).argmax() * SAMPLE_RATE / len(part)
        assert loudest == pytest.approx(PITCHES_HZ[phone.label], abs=10)
    first = alignment.words[0]
    assert (first.start_s, first.end_s) == (0.1, 0.3) and not samples[:1600].any()


def test_a_corpus_is_the_same_for_the_same_seed() -> None:
    assert tone_corpus(seed=3).hash == tone_corpus(seed=3).hash != tone_corpus(seed=4).hash
    corpus = tone_corpus(n_clips=5, n_words=2)
    assert (len(corpus), corpus.n_speakers) == (5, 4)
    assert all(corpus.text(clip) and corpus.alignment(clip) for clip in corpus.clips)


FIXTURES_USED = """
import os
from pathlib import Path

def test_they_are_there(tiny_whisper, tone_corpus, wspy_home):
    assert tiny_whisper.dims.n_audio_layer == 2
    assert len(tone_corpus) == 8
    assert Path(os.environ["WSPY_HOME"]) == wspy_home and not list(wspy_home.iterdir())

def test_only_the_tests_that_ask_get_a_home_of_their_own():
    assert os.environ["WSPY_HOME"] == "untouched"
"""


def test_pytest_finds_the_fixtures_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_it.py").write_text(FIXTURES_USED)
    monkeypatch.setenv("WSPY_HOME", "untouched")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_pytest_plugin_imports_nothing_heavy() -> None:
    script = (
        "import sys, wspy.testing.pytest_plugin; "
        "print(sorted({'torch', 'numpy', 'pydantic', 'plotly', 'whisper', 'typer', 'pluggy'} & set(sys.modules) - "
        "{'pluggy'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
