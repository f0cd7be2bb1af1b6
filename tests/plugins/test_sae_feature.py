"""The page of a feature: features as a site of the atlas, the neurons that it reads, the tokens that it promotes."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.plugins.toy_dictionaries import SITE, corpus_of, kept
from wspy.atlas import ensure_atlas
from wspy.audio import log_mel, n_frames
from wspy.errors import OutOfRange
from wspy.model import capture, encode
from wspy.runs import run_analysis
from wspy.testing import tiny_whisper
from wspy_sae.feature import Sae
from wspy_sae.feature_errors import OtherWidth
from wspy_sae.promotes import promoted, token_effects
from wspy_sae.reads import neuron_directions, read_from
from wspy_sae.site import open_sae
from wspy_sae.store import UnknownDictionary, save_dictionary
from wspy_sae.train_errors import OtherModel


@pytest.fixture(scope="module")
def model():
    return tiny_whisper()


def run(model, tmp_path, **inputs):
    given = Sae.Inputs(sae="toy", **inputs)
    return run_analysis(Sae(), given, model=model, corpus=corpus_of(), out=tmp_path / "run")


class Here:
    """What the parts of the analysis use of a context."""

    def __init__(self, model, corpus=None):
        from wspy.progress import Silent

        self.model, self.corpus, self.progress = model, corpus, Silent()
        self.rng = np.random.default_rng(0)


def test_the_atlas_hears_what_the_dictionary_encodes(model):
    """Agreement: extremes, density and mean of every feature against Dictionary.encode on captured activations."""
    dictionary, corpus = kept(model), corpus_of()
    atlas = ensure_atlas("sae:toy", model.reference, corpus, model=lambda: model, schemes={"sae": open_sae})
    found = []
    for clip in corpus.clips:
        samples = corpus.audio(clip)
        with torch.inference_mode(), capture(model, SITE) as cache:
            encode(model, torch.from_numpy(log_mel(samples))[None])
        found.append(dictionary.encode(cache[SITE][0, : n_frames(len(samples))]))
    f = torch.cat(found)
    assert (atlas.about.n_units, atlas.about.base) == (40, SITE)
    for feature in range(40):
        unit = atlas.unit(feature)
        assert unit.n_frames == len(f)
        assert unit.maximum == pytest.approx(float(f[:, feature].max()), abs=1e-4)
        assert unit.density == pytest.approx(float((f[:, feature] > 0).float().mean()), abs=2 / len(f))
        assert unit.mean == pytest.approx(float(f[:, feature].mean()), abs=1e-4)


def test_the_page_of_a_feature_is_that_of_a_unit_and_more(model, tmp_path):
    dictionary = kept(model)
    with torch.no_grad():
        dictionary.threshold[3] = 0.01  # it fires
    save_dictionary(dictionary, "toy")
    done = run(model, tmp_path, idx=3, top=3)
    result = done.result
    assert (result.site, result.base, result.idx, result.d_sae) == ("sae:toy", SITE, 3, 40)
    assert len(result.signs[0].examples) == 3
    cosines = dictionary.W_dec @ dictionary.W_dec[3]
    cosines[3] = -2
    assert [near.unit for near in result.near_direction] == cosines.argsort(descending=True)[:8].tolist()
    assert result.near_direction[0].similarity == pytest.approx(float(cosines.max()), abs=2e-3)
    titles = [getattr(block, "title", "") for block in done.blocks()]
    assert any("Neurons that drive it at its peaks" in title for title in titles) and result.promotes is None
    assert any("Clips with the highest peaks" in title for title in titles)


def test_what_neurons_add_is_exactly_their_part_of_the_pre_activation(model):
    """Agreement: with attention, stem and biases, the neurons' parts make up the pre-activation to the last digit."""
    dictionary, corpus, site = kept(model, site="encoder.blocks.1"), corpus_of(3), "encoder.blocks.1"
    peaks = [(corpus.clips[0].id, 0.2), (corpus.clips[2].id, 0.5)]
    reads = read_from(dictionary, 3, peaks, Here(model, corpus))  # type: ignore[arg-type]
    direction, written = dictionary.W_enc[:, 3], neuron_directions(model, 2)
    neurons, whole = [], []
    for name, at in ((0, 10), (2, 25)):
        samples = corpus.audio(corpus.clips[name])
        sites = [site, "encoder.blocks.0.mlp.1", "encoder.blocks.1.mlp.1"]
        with torch.inference_mode(), capture(model, sites) as cache:
            encode(model, torch.from_numpy(log_mel(samples))[None])
        parts = sum(cache[f"encoder.blocks.{n}.mlp.1"][0, at] @ written[n] @ direction for n in (0, 1))
        blocks = model.whisper.encoder.blocks
        # What one block's MLP adds, in its own words: the neurons' part and the bias.
        with torch.inference_mode():
            added = blocks[1].mlp[2](cache["encoder.blocks.1.mlp.1"][0, at])
        own = cache["encoder.blocks.1.mlp.1"][0, at] @ written[1]
        assert torch.allclose(added, own + blocks[1].mlp[2].bias, atol=1e-5)
        neurons.append(float(parts))
        whole.append(float(dictionary.pre_activations(cache[site][0, at])[3]))
    assert reads.neurons_at_peaks == pytest.approx(np.mean(neurons), rel=1e-3, abs=1e-4)
    assert reads.pre_activation == pytest.approx(np.mean(whole), rel=1e-4, abs=1e-4)
    assert (reads.n_neurons, reads.n_peaks) == (512, 2)
    gaps = [one.at_peaks - one.elsewhere for one in reads.drivers]
    assert gaps == sorted(gaps, reverse=True) and gaps[0] > 0


def test_a_planted_neuron_is_found_and_stands_out_from_chance(model):
    dictionary = kept(model)
    with torch.no_grad():
        dictionary.W_enc[:, 5] = -2 * model.whisper.encoder.blocks[0].mlp[2].weight[:, 77]
    reads = read_from(dictionary, 5, [], Here(model, corpus_of(1)))  # type: ignore[arg-type]
    assert (reads.along[0].layer, reads.along[0].idx) == (0, 77)
    assert reads.along[0].cosine == pytest.approx(-1, abs=1e-5)
    assert 0.2 < reads.chance < 0.8 and abs(reads.along[1].cosine) < 0.8
    assert (reads.n_peaks, reads.drivers) == (0, ())


@pytest.mark.parametrize("site", ["encoder.blocks.1", "encoder.ln_post"])
def test_effects_on_tokens_are_those_of_the_models_own_modules(model, site):
    """Agreement: the linear path, walked through the modules themselves by differences."""
    normed = site == "encoder.ln_post"
    effects = token_effects(model, normed=normed)
    generator = torch.Generator().manual_seed(2)
    direction = torch.randn(64, generator=generator)
    decoder, post = model.whisper.decoder, model.whisper.encoder.ln_post
    with torch.inference_mode():
        given = direction if normed else (direction - direction.mean()) * post.weight
        zero = torch.zeros(64)
        handed = sum(
            block.cross_attn.out(block.cross_attn.value(given)) - block.cross_attn.out(block.cross_attn.value(zero))
            for block in decoder.blocks
        )
        final = (handed - handed.mean()) * decoder.ln.weight
        logits = decoder.token_embedding.weight[: len(effects)] @ final
    assert torch.allclose(effects @ direction, logits - logits.mean(), atol=1e-3)


def test_a_planted_token_is_promoted_beyond_chance(model):
    """Known answer: the direction that raises one token's logit most is the token's own row of the effects."""
    planted = copy.copy(model)
    effects = token_effects(planted, normed=True)
    token = model.tokenizer().encode(" frost")[0]
    dictionary = kept(model, site="encoder.ln_post")
    with torch.no_grad():
        dictionary.W_dec[4] = effects[token] / effects[token].norm()
    found = promoted(dictionary, 4, Here(planted))  # type: ignore[arg-type]
    assert found.up[0].token == " frost" and found.up[0].score == pytest.approx(64**0.5, rel=1e-4)
    assert found.beaten == 1 and found.highest > found.highest_random
    gains = [head.gain for head in found.heads]
    assert len(gains) == 4 and gains == sorted(gains, reverse=True)
    with torch.no_grad():
        dictionary.W_dec[4] *= -1
    turned = promoted(dictionary, 4, Here(planted))  # type: ignore[arg-type]
    assert turned.down[0].token == " frost"


def test_scores_of_random_directions_have_a_standard_deviation_of_one(model):
    effects = token_effects(model, normed=False)
    random = torch.randn(400, 64, generator=torch.Generator().manual_seed(5))
    random /= random.norm(dim=1, keepdim=True)
    sizes = effects.norm(dim=1) / 64**0.5
    spread = ((effects @ random.t()) / sizes[:, None]).std(dim=1)
    assert float(spread.mean()) == pytest.approx(1, abs=0.02)


def test_the_last_layers_page_shows_tokens(model, tmp_path):
    kept(model, site="encoder.blocks.1")
    done = run(model, tmp_path, idx=2, top=2)
    assert done.result.promotes is not None and done.result.reads is not None
    titles = [getattr(block, "title", "") for block in done.blocks()]
    assert any(title.startswith("Tokens it promotes") for title in titles)
    assert "Cross-attention heads that hand it on" in titles


def test_bad_input_is_refused_before_anything_is_heard(model, tmp_path):
    class Unloaded:
        reference, name = model.reference, model.name

    with pytest.raises(UnknownDictionary):
        run(Unloaded(), tmp_path, idx=0)
    kept(model)
    with pytest.raises(OutOfRange, match="0 to 39"):
        run(Unloaded(), tmp_path, idx=40)
    kept(model, d_in=32)
    with pytest.raises(OtherWidth):
        run(Unloaded(), tmp_path, idx=0)
    other = replace(model.reference, sha256="2" * 64, name="other")
    kept(model)
    Unloaded.reference = other
    with pytest.raises(OtherModel, match="this is other"):
        run(Unloaded(), tmp_path, idx=0)


@pytest.mark.parametrize(
    "words",
    [
        ["atlas", "build", "--sites", "sae:none"],
        ["analyze", "unit", "--site", "sae:none", "--idx", "3"],
        ["analyze", "phones", "--site", "sae:none"],
        ["analyze", "sae", "--sae", "none", "--idx", "3"],
        ["analyze", "steer", "--sae", "none", "--idx", "3"],
    ],
)
def test_the_command_line_says_in_a_line_that_there_is_no_such_dictionary(words, wspy_home, capsys):
    from wspy.cli import main

    assert main(words) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("wspy: There is no dictionary 'none'.")
    assert not (wspy_home / "corpora").exists()  # nothing was made for it
