"""The features that fire in a recording: the very numbers of the dictionary, their stretches, labels and page."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from tests.plugins.toy_dictionaries import SITE, kept, sound
from wspy.atlas import ensure_atlas
from wspy.audio import load_audio, log_mel, n_frames
from wspy.corpus import make_corpus
from wspy.errors import AudioTooLong, OutOfRange
from wspy.model import capture, encode
from wspy.runs import run_analysis
from wspy.testing import tiny_whisper
from wspy_sae.feature_errors import OtherWidth
from wspy_sae.hearing import stretch
from wspy_sae.labels import feature_labels
from wspy_sae.listening import Features
from wspy_sae.site import dictionary_sha256, open_sae
from wspy_sae.store import UnknownDictionary, save_dictionary
from wspy_sae.train_errors import OtherModel


@pytest.fixture(scope="module")
def model():
    return tiny_whisper()


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, sound(), 16_000)
    return path


def run(model, tmp_path, recording, **inputs):
    given = Features.Inputs(audio=recording, sae="toy", **inputs)
    return run_analysis(Features(), given, model=model, out=tmp_path / f"run{len(list(tmp_path.glob('run*')))}")


def test_numbers_are_those_of_the_dictionary_on_captured_activations(model, tmp_path, recording):
    dictionary = kept(model)
    samples = load_audio(recording)
    with torch.inference_mode(), capture(model, SITE) as cache:
        encode(model, torch.from_numpy(log_mel(samples))[None])
    x = cache[SITE][0, : n_frames(len(samples))]
    f = dictionary.encode(x)
    done = run(model, tmp_path, recording, top=7)
    result = done.result
    with np.load(done.path / result.arrays.path) as stored:
        shown = stored["features"].tolist()
        assert np.allclose(stored["activations"], f[:, shown].T.numpy(), atol=1e-5)
    assert result.l0 == pytest.approx(float((f > 0).sum(dim=1).float().mean()))
    assert result.n_fired == int((f > 0).any(dim=0).sum())
    x_hat = dictionary(x)
    fvu = float((x - x_hat).square().sum() / (x - x.mean(dim=0)).square().sum())
    assert result.fvu == pytest.approx(fvu, rel=1e-4)
    # The strongest first, by the variance of what each adds.
    varying = f.double().var(dim=0, unbiased=False)
    assert shown == varying.argsort(descending=True, stable=True)[:7].tolist()
    assert [one.strength for one in result.features] == pytest.approx((varying / varying.sum())[shown].tolist())
    for one in result.features:
        assert one.peak == pytest.approx(float(f[:, one.feature].max()), rel=1e-5)
        assert one.peak_s == round(int(f[:, one.feature].argmax()) * 0.02, 3)
        assert one.start_s <= one.peak_s < one.end_s
        assert len(load_audio(done.path / one.audio.path)) >= 0.3 * 16_000 - 1
    kinds = [block.kind for block in done.blocks()]
    assert kinds == ["text", "audio", "table", "text", *["audio"] * 7]
    assert "wspy atlas build --sites sae:toy" in done.blocks()[0].markdown and result.labels_from is None


def test_features_that_are_asked_for(model, tmp_path, recording):
    dictionary = kept(model)
    with torch.no_grad():
        dictionary.threshold[5] = 1e9
    save_dictionary(dictionary, "toy")
    result = run(model, tmp_path, recording, only=[5, 3, 5]).result
    assert [one.feature for one in result.features] == [5, 3]
    assert (result.features[0].peak, result.features[0].active) == (0, 0)
    with pytest.raises(OutOfRange, match="40"):
        run(model, tmp_path, recording, only=[40])


def test_a_recording_in_which_nothing_fires_says_so(model, tmp_path, recording):
    dictionary = kept(model)
    with torch.no_grad():
        dictionary.threshold.fill_(1e9)
    save_dictionary(dictionary, "toy")
    done = run(model, tmp_path, recording)
    assert done.result.n_fired == 0 and not done.result.features
    assert "No feature fires" in done.blocks()[0].markdown


def test_a_stretch_holds_short_gaps_and_nothing_beyond():
    activation = np.zeros(30)
    activation[[3, 10, 11, 14, 15, 19, 25]] = 1
    assert stretch(activation, 11) == (10, 16)
    assert stretch(activation, 3) == (3, 4)
    assert stretch(activation, 25) == (25, 26)
    assert stretch(np.zeros(5), 0) == (0, 1)


def test_labels_come_from_the_atlas_of_this_very_dictionary(model, tmp_path, recording):
    dictionary = kept(model)
    folder = tmp_path / "clips"
    folder.mkdir()
    lines = ["path,start_s,end_s,label"]
    for at in range(6):
        soundfile.write(folder / f"{at}.wav", sound(0.8, at), 16_000)
        lines.append(f"{at}.wav,0.0,0.8,S")
    (folder / "phones.csv").write_text("\n".join(lines) + "\n")
    (folder / "words.csv").write_text("\n".join(line.replace(",S", ",hiss") for line in lines) + "\n")
    corpus = make_corpus("hisses", str(folder), words=folder / "words.csv", phones=folder / "phones.csv")
    atlas = ensure_atlas("sae:toy", model.reference, corpus, model=lambda: model, schemes={"sae": open_sae})
    assert atlas.about.units_sha256 == dictionary_sha256("toy")
    result = run(model, tmp_path, recording, top=3).result
    assert result.labels_from == "hisses"
    label = next(one.label for one in result.features if one.label)
    assert (label.phone, label.count) == ("S", label.of)
    # A dictionary that was trained anew is another one, and has no labels yet.
    with torch.no_grad():
        dictionary.b_enc += 0.01
    save_dictionary(dictionary, "toy")
    assert feature_labels("toy", model.reference, [0, 1, 2]) == (None, {})


def test_bad_input_is_one_line_each(model, tmp_path, recording):
    with pytest.raises(UnknownDictionary, match="'toy'"):
        run(model, tmp_path, recording)
    kept(model, model_sha256="1" * 64, model_name="large")
    with pytest.raises(OtherModel, match="'toy' was trained on large"):
        run(model, tmp_path, recording)
    kept(model, d_in=32)
    with pytest.raises(OtherWidth, match="takes 32 values"):
        run(model, tmp_path, recording)
    kept(model)
    long = tmp_path / "long.wav"
    soundfile.write(long, np.tile(sound(), 24), 16_000)
    with pytest.raises(AudioTooLong):
        run(model, tmp_path, long)
