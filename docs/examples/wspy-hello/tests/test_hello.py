"""The analysis keeps wspy's rules, agrees with a computation of its own, and finds what was planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import wspy
from wspy.audio import log_mel
from wspy.errors import OutOfRange
from wspy.testing import check_analysis, tone, tone_clip
from wspy_hello import EDGE_FRAMES, Hello, changes


def test_it_keeps_the_rules(tmp_path: Path) -> None:
    run = check_analysis(Hello, {"layer": 1, "clips": 3, "top": 2}, folder=tmp_path)
    assert [block.kind for block in run.blocks()] == ["text", "table", "figure", "audio", "audio"]


def test_it_agrees_with_an_ordinary_hook(tiny_whisper: wspy.Model) -> None:
    seen = []
    samples, encoder = tone(duration_s=0.4), tiny_whisper.whisper.encoder
    hook = encoder.blocks[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        encoder(torch.from_numpy(log_mel(samples))[None])
    finally:
        hook.remove()
    frames = seen[0][0, :20].numpy()  # 0.4 s are 20 frames
    by_hand = [0.0] + [float(np.sqrt(np.mean((frames[at] - frames[at - 1]) ** 2))) for at in range(1, 20)]
    found = changes(tiny_whisper, "encoder.blocks.1", samples)
    assert found[EDGE_FRAMES:] == pytest.approx(by_hand[EDGE_FRAMES:], rel=1e-5)
    assert not found[:EDGE_FRAMES].any()


def test_it_finds_the_moment_that_was_planted(
    tiny_whisper: wspy.Model, wspy_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [tone_clip(name, ["two", "more"], amplitude=level) for name, level in (("soft", 0.1), ("loud", 0.5))]
    corpus = wspy.Corpus.in_memory("planted", clips)
    # A layer whose answer is the sound itself: its strongest moment is that of the loud clip.
    monkeypatch.setattr("wspy_hello.changes", lambda model, site, samples: np.abs(samples).reshape(-1, 320).max(1))
    found = Hello().run(Hello.Inputs(top=1), context(tiny_whisper, corpus, wspy_home))
    assert [peak.clip for peak in found.peaks] == ["loud"]
    assert found.peaks[0].change == pytest.approx(0.5, abs=0.01)
    assert found.peaks[0].at_s >= 0.1  # a word begins after 0.1 s of silence


def test_a_layer_that_the_model_lacks_is_refused(
    tiny_whisper: wspy.Model, tone_corpus: wspy.Corpus, wspy_home: Path
) -> None:
    with pytest.raises(OutOfRange, match="Layer 9 does not exist in random-0: choose 0 to 1"):
        Hello().run(Hello.Inputs(layer=9), context(tiny_whisper, tone_corpus, wspy_home))


def context(model: wspy.Model, corpus: wspy.Corpus, folder: Path) -> wspy.Context:
    return wspy.Context(reference=lambda: model.reference, model=lambda: model, corpus=lambda: corpus, folder=folder)
