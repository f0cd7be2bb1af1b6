"""Cutting a real recording: the same as a slice assigned by hand, and what disappears is what was cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import whisper as openai_whisper

import wspy
from wspy.audio import load_audio
from wspy.model import Model, load_model, padding_features
from wspy_chop.chop import fill, hear, span
from wspy_chop.compare import normal

pytestmark = [pytest.mark.real, pytest.mark.session_home]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("tiny.en", device="cpu")


@pytest.fixture(scope="module")
def speech(shared_data: Path) -> Path:
    """ "And so my fellow Americans, ask not what your country can do for you ..." """
    return shared_data / "aligned" / "ps_en" / "audio" / "jfk.flac"


def test_a_cut_is_a_slice_assigned_by_hand(model, speech):
    found = wspy.analyze("chop", audio=speech, start=0, stop=50, model=model).recording
    # openai-whisper alone, as the post has it.
    whisper = model.whisper
    with torch.no_grad():
        sounds = (torch.from_numpy(load_audio(speech)), torch.zeros(openai_whisper.audio.N_SAMPLES))
        mels = [openai_whisper.log_mel_spectrogram(openai_whisper.pad_or_trim(sound)) for sound in sounds]
        output, padded = whisper.encoder(torch.stack(mels))
        options = openai_whisper.DecodingOptions(language="en", fp16=False)
        before = openai_whisper.decode(whisper, output, options).text
        output[0:50] = padded[0:50]
        after = openai_whisper.decode(whisper, output, options).text
    heard = hear(model, [load_audio(speech)], "en")[0]
    rng, padding = np.random.default_rng(0), padding_features(model)[0]
    chopped = fill(heard.features, [span(0, 50, "")], "padding", padding=padding, n_valid=heard.n_frames, rng=rng)
    torch.testing.assert_close(chopped, output, atol=1e-3, rtol=1e-3)
    assert (found.text, found.cuts[0].text) == (before, after)
    left, whole = ([normal(word) for word in text.split()] for text in (after, before))
    assert 2 <= len(whole) - len(left) <= 6  # a second of speech
    assert whole[-len(left) :] == left
    assert {pair.outcome for pair in found.cuts[0].pairs} == {"removed", "kept"}


def test_words_are_timed_where_they_are_said_and_can_be_cut(model, speech, run_cli):
    found = wspy.analyze("chop", audio=speech, word="Americans", margin_s=0.2, model=model).recording
    (americans,) = (word for word in found.words if normal(word.label) == "americans")
    assert 1.0 < (americans.start_s + americans.end_s) / 2 < 2.3
    outcome = {normal(pair.before): pair.outcome for pair in found.cuts[0].pairs}
    assert outcome["americans"] in ("removed", "changed") and outcome["country"] == "kept"
    refused = run_cli("analyze", "chop", str(speech), "--word", "banana", "--quiet")
    assert refused.code == 2
    assert "'banana'" in refused.stderr and "fellow" in refused.stderr and "Traceback" not in refused.stderr
