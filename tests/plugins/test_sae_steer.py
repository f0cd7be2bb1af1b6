"""Steering: what is added, that factor 1 adds nothing, controls of the same size, directions in words, bad input."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import soundfile
import torch

from tests.plugins.toy_dictionaries import SITE, corpus_of, kept, sound
from wspy.audio import load_audio, log_mel, n_frames
from wspy.errors import InputError, OutOfRange, UnknownSite
from wspy.model import capture, encode, patch
from wspy.runs import run_analysis
from wspy.testing import tiny_whisper
from wspy_sae.feature_errors import BadDirection, NeverFires, NotSteerable, OtherWidth
from wspy_sae.handles import parse_direction
from wspy_sae.steered import change_of, features_from
from wspy_sae.steering import Steer
from wspy_sae.store import UnknownDictionary
from wspy_sae.train_errors import OtherModel


@pytest.fixture(scope="module")
def model():
    return tiny_whisper()


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, sound(), 16_000)
    return path


def run(model, tmp_path, corpus=None, **inputs):
    number = len(list(tmp_path.glob("run*")))
    return run_analysis(
        Steer(), Steer.Inputs(**inputs), model=model, corpus=corpus or corpus_of(), out=tmp_path / f"run{number}"
    )


# --- what is added ----------------------------------------------------------------------------------------


def test_how_much_is_added_by_hand():
    values = torch.tensor([0.0, 2.0, 5.0])
    given = {"peak": 5.0, "size": 3.0, "length": 2.0}
    assert change_of(values, "scale", 0, **given).tolist() == [0, -2, -5]
    assert change_of(values, "scale", 1, **given).tolist() == [0, 0, 0]
    assert change_of(values, "scale", -1, **given).tolist() == [0, -4, -10]
    assert change_of(values, "clamp", 2, **given).tolist() == [10, 8, 5]
    assert change_of(values, "add", 0.5, **given).tolist() == [0.75] * 3


def test_a_removed_feature_is_gone_and_all_else_stays(model):
    """Agreement: what steering adds for factor 0 is the dictionary's own feature with its sign turned; the error term
    stays, so the rest of the activations does not go through the reconstruction."""
    dictionary = kept(model)
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(3))
    f = dictionary.encode(x)
    idx = int((f > 0).sum(dim=0).argmax())
    amounts = change_of(f[:, idx], "scale", 0, peak=1, size=1, length=1)
    changed = x + amounts[:, None] * dictionary.W_dec[idx]
    without = f.clone()
    without[:, idx] = 0
    error = x - dictionary.decode(f)
    assert torch.allclose(changed, dictionary.decode(without) + error, atol=1e-5)


@pytest.mark.parametrize("site", ["encoder.blocks.0", "encoder.blocks.1", "encoder.blocks.0.mlp.1", "encoder.ln_post"])
def test_going_on_from_untouched_activations_is_the_untouched_model(model, site):
    mels = torch.from_numpy(np.stack([log_mel(sound(seed=seed)) for seed in (0, 1)]))
    with torch.inference_mode(), capture(model, site) as cache:
        whole = encode(model, mels)
        x = cache[site].clone()
        assert torch.equal(features_from(model, mels, site, x), whole)
        with patch(model, {site: lambda value: value + 1}):
            expected = encode(model, mels)
    with torch.inference_mode():
        assert torch.allclose(features_from(model, mels, site, x + 1), expected, atol=1e-5)


def test_factor_one_is_the_untouched_transcript_and_controls_are_of_the_same_size(model, tmp_path, recording):
    dictionary = kept(model)
    mel = torch.from_numpy(log_mel(load_audio(recording)))[None]
    with torch.inference_mode(), capture(model, SITE) as cache:
        encode(model, mel, stop_after=SITE)
    x = cache[SITE][0, : n_frames(len(sound()))]
    f = dictionary.encode(x)
    idx = int((f > 0).sum(dim=0).argmax())
    result = run(model, tmp_path, audio=recording, sae="toy", idx=idx, factor=[0, 1], controls=2).result
    assert (result.mode, result.site, result.n_frames) == ("scale", SITE, len(x))
    assert result.active == pytest.approx(float((f[:, idx] > 0).float().mean()))
    assert result.peak == pytest.approx(float(f[:, idx].max()), rel=1e-5)
    size = float((x - x.mean(dim=0)).square().sum(dim=1).mean().sqrt())
    assert result.site_size == pytest.approx(size, rel=1e-4)
    by_factor = {factor: list(rows) for factor, rows in itertools.groupby(result.steered, lambda one: one.factor)}
    assert all(
        [one.by for one in rows] == ["handle"] + ["random direction"] * 2 + ["random feature"] * 2
        for rows in by_factor.values()
    )
    assert all(one.which != idx for rows in by_factor.values() for one in rows if one.by == "random feature")
    for factor, rows in by_factor.items():
        expected = abs(factor - 1) * float(f[:, idx].square().mean().sqrt()) / size
        assert [one.size for one in rows] == pytest.approx([expected] * 5, rel=1e-4)
    for one in by_factor[1]:
        assert one.texts == (result.clips[0].text,) and not one.words


def test_adding_a_direction_changes_what_the_rest_of_the_model_reads(model, tmp_path, recording):
    """Known answer: a unit's own direction, added, is that unit raised by so much, and nothing else."""
    from wspy_sae import steered

    seen = []

    def spy(model, mels, site, x):
        seen.append(x)
        return features_from(model, mels, site, x)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(steered, "features_from", spy)
        result = run(model, tmp_path, audio=recording, direction=f"{SITE}:7", factor=[2.0], controls=0).result
    mel = torch.from_numpy(log_mel(load_audio(recording)))[None]
    with torch.inference_mode(), capture(model, SITE) as cache:
        encode(model, mel, stop_after=SITE)
    change = seen[0][0] - cache[SITE][0]
    expected = torch.zeros_like(change)
    expected[: result.n_frames, 7] = 2 * result.site_size
    assert torch.allclose(change, expected, atol=1e-4)
    assert result.steered[0].size == pytest.approx(2, rel=1e-4) and result.mode == "add"


def test_a_corpus_has_intervals_texts_and_the_words_that_change(model, tmp_path):
    kept(model)
    done = run(model, tmp_path, sae="toy", idx=3, mode="add", factor=[0.0, 6.0], controls=1, limit=3)
    none, *_ = done.result.steered
    much = next(one for one in done.result.steered if one.factor == 6)
    assert len(done.result.clips) == 3 and [clip.said for clip in done.result.clips] == ["a word"] * 3
    assert none.size == 0 and none.texts == tuple(clip.text for clip in done.result.clips)
    assert none.text_wer == done.result.text_wer is not None
    if done.result.n_words:
        assert none.wer == 0 and much.wer is not None
    kinds = [block.kind for block in done.blocks()]
    lost = any(one.words for one in done.result.steered if one.by == "handle")
    assert kinds == ["text", "table", "figure", *(["table"] if lost else []), "text"]
    assert json.loads((done.path / "result.json").read_text())["result"]["handle"] == "feature 3 of toy"


# --- directions in words ----------------------------------------------------------------------------------


def test_terms():
    found = parse_direction("sae:my-one.v2:3 - 0.5 * encoder.blocks.2:8 + phone:AA")
    assert [(term.weight, term.kind, term.which) for term in found] == [
        (1, "sae:my-one.v2", "3"),
        (-0.5, "encoder.blocks.2", "8"),
        (1, "phone", "AA"),
    ]


@pytest.mark.parametrize("bad", ["", "nonsense", "sae:demo", "random:1 +", "1.2.3 * random:1", "random:1 -random:2"])
def test_words_that_are_no_direction(bad):
    with pytest.raises(BadDirection):
        parse_direction(bad)


@pytest.mark.parametrize(
    ("words", "site"),
    [("sae:toy:3", SITE), ("encoder.blocks.1.mlp.1:9", "encoder.blocks.1"), ("encoder.ln_post:2", "encoder.ln_post")],
)
def test_a_term_knows_its_site(model, tmp_path, recording, words, site):
    kept(model)
    result = run(model, tmp_path, audio=recording, direction=words, factor=[0.1], controls=0).result
    assert result.site == site


BAD = {
    "nothing": ({}, BadDirection, "give either --sae or --site"),
    "both": ({"sae": "toy", "site": SITE, "idx": 1}, BadDirection, "either"),
    "no number": ({"sae": "toy"}, BadDirection, "--idx"),
    "direction and idx": ({"direction": "random:1", "idx": 1}, BadDirection, "leave --sae and --idx out"),
    "no site": ({"direction": "random:1"}, BadDirection, "name one with --site"),
    "two sites": ({"direction": "encoder.blocks.0:1 + encoder.blocks.1:1"}, BadDirection, "must share one site"),
    "cancels": ({"direction": "encoder.blocks.0:1 - encoder.blocks.0:1"}, BadDirection, "adds up to nothing"),
    "unknown": ({"sae": "toi", "idx": 1}, UnknownDictionary, "toy"),
    "too high": ({"sae": "toy", "idx": 40}, OutOfRange, "40"),
    "unit too high": ({"site": SITE, "idx": 64}, OutOfRange, "64"),
    "no such site": ({"site": "encoder.blocks.9", "idx": 1}, UnknownSite, "encoder.blocks.9"),
    "decoder": ({"site": "decoder.blocks.0", "idx": 1}, NotSteerable, "decoder.blocks.0"),
    "pattern": ({"site": "encoder.blocks.0.attn.pattern", "idx": 1}, NotSteerable, "cannot be steered"),
    "other model": ({"sae": "elsewhere", "idx": 1}, OtherModel, "elsewhere"),
    "other width": ({"sae": "narrow", "idx": 1}, OtherWidth, "narrow"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name_before_the_model_is_loaded(model, tmp_path, case):
    kept(model)
    kept(model, "elsewhere", model_sha256="1" * 64, model_name="large")
    kept(model, "narrow", d_in=32)
    inputs, error, said = BAD[case]

    class Reference:
        """A model of which only the name may be asked."""

        reference = model.reference
        name = model.name

        @property
        def whisper(self):
            raise AssertionError("the model was used")

    with pytest.raises(error, match=said) as caught:
        run(Reference(), tmp_path, **inputs)
    assert isinstance(caught.value, InputError) and "\n" not in str(caught.value)


@pytest.mark.parametrize("factor", ["nan", "inf", "1e9", "much"])
def test_a_factor_is_a_number_within_reason(factor, recording, capsys):
    from wspy.cli import main

    assert main(["analyze", "steer", str(recording), "--sae", "toy", "--idx", "1", "--factor", factor]) == 2
    assert "factor" in capsys.readouterr().err.splitlines()[-1]


def test_what_never_fires_cannot_be_clamped(model, tmp_path, recording):
    dictionary = kept(model)
    with torch.no_grad():
        dictionary.threshold[3] = 1e9
    from wspy_sae.store import save_dictionary

    save_dictionary(dictionary, "toy")
    with pytest.raises(NeverFires, match="feature 3 of toy"):
        run(model, tmp_path, audio=recording, sae="toy", idx=3, mode="clamp")
    result = run(model, tmp_path, audio=recording, sae="toy", idx=3, factor=[-4.0])
    assert result.result.steered[0].size == 0 and "nowhere above zero" in result.blocks()[0].markdown
