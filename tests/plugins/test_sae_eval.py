"""Judging dictionaries: sums with known answers, replaced sites, controls, and the command line."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import wspy
from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.errors import InputError
from wspy.model import WordErrors, encode
from wspy.progress import Silent
from wspy.testing import tiny_whisper
from wspy_sae.commands import app
from wspy_sae.controls import random_like
from wspy_sae.dictionary import Dictionary, DictionaryConfig
from wspy_sae.downstream import Cost, _features, measure_costs, recovered
from wspy_sae.evaluate import DENSITY_EDGES, Tally, best_cosines, reconstruct, replaced_frames
from wspy_sae.judge import SaeEval
from wspy_sae.phone_share import phone_shares
from wspy_sae.store import save_dictionary

SITE = "encoder.blocks.0"


def dictionary_of(d_in: int = 8, d_sae: int = 20, sha256: str = "0" * 64, site: str = SITE) -> Dictionary:
    """A random dictionary with thresholds."""
    config = DictionaryConfig(
        architecture="jumprelu",
        trained_as="batchtopk",
        d_in=d_in,
        d_sae=d_sae,
        k=3,
        site=site,
        model_name="random-0",
        model_sha256=sha256,
    )
    made = Dictionary(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        made.W_dec.copy_(torch.randn(d_sae, d_in, generator=generator))
        made.W_dec.div_(made.W_dec.norm(dim=1, keepdim=True))
        made.W_enc.copy_(made.W_dec.t())
        made.b_dec.copy_(torch.linspace(-0.5, 0.5, d_in))
        made.threshold.fill_(0.4)
    return made


@pytest.fixture(scope="module")
def model():
    return tiny_whisper()


def spoken(n_clips: int = 8, seconds: float = 1.2, text: str | None = "a tone") -> Corpus:
    """Two kinds of sound that take turns, with phones that say which."""
    rng = np.random.default_rng(0)
    n = round(seconds * 16000)
    t = np.arange(n) / 16000
    items = []
    for at in range(n_clips):
        high = (t * 5).astype(int) % 2 == at % 2
        sound = np.where(high, rng.normal(0, 0.2, n), 0.3 * np.sin(2 * np.pi * 200 * t))
        edges = np.flatnonzero(np.diff(high)) / 16000
        bounds = [0.0, *edges.tolist(), seconds]
        phones = tuple(
            Interval(a, b, "S" if (a + b) / 2 * 5 // 1 % 2 == at % 2 else "AA") for a, b in itertools.pairwise(bounds)
        )
        alignment = Alignment((Interval(0, seconds, "tone"),), phones, "ARPABET", "by hand")
        items.append((sound.astype(np.float32), Clip(f"clip-{at}", text=text, language="en"), alignment))
    return Corpus.in_memory("spoken", items)


# --- sums -------------------------------------------------------------------------------------------------


def test_predicting_the_mean_scores_exactly_one():
    x = torch.randn(3000, 8) * 4 + 100
    tally = Tally(8, 20)
    mean = x.double().mean(dim=0)
    for some in x.split(700):
        tally.add(some, torch.zeros(len(some), 20), mean.expand(len(some), 8))
    found = tally.result()
    assert found.fvu == pytest.approx(1.0, abs=1e-9)
    assert torch.allclose(tally.mean.double(), mean, atol=1e-5)
    assert found.l0 == 0 and found.dead == 1.0


def test_sums_agree_with_a_direct_computation():
    x = torch.randn(500, 8, generator=torch.Generator().manual_seed(3))
    dictionary = dictionary_of()
    found, mean = reconstruct(dictionary, x.split(130))
    f, x_hat = dictionary.encode(x), dictionary(x)
    assert found.n_frames == 500
    assert found.fvu == pytest.approx(float((x - x_hat).pow(2).sum() / (x - x.mean(0)).pow(2).sum()), rel=1e-5)
    assert found.l0 == pytest.approx(float((f > 0).sum(1).float().mean()))
    assert found.l1 == pytest.approx(float(f.sum(1).mean()), rel=1e-5)
    assert found.cosine == pytest.approx(float(torch.cosine_similarity(x, x_hat).mean()), rel=1e-5)
    assert found.l2_ratio == pytest.approx(float((x_hat.norm(dim=1) / x.norm(dim=1)).mean()), rel=1e-5)
    assert found.bias == pytest.approx(float(x_hat.pow(2).sum() / (x * x_hat).sum()), rel=1e-5)
    assert found.counts.tolist() == (f > 0).sum(0).tolist()
    assert torch.allclose(mean, x.mean(0), atol=1e-6)


def test_a_perfect_reconstruction():
    x = torch.randn(100, 8)
    tally = Tally(8, 2)
    tally.add(x, torch.ones(100, 2), x)
    found = tally.result()
    assert (found.fvu, found.dead) == (0.0, 0.0)
    assert found.cosine == pytest.approx(1) and found.l2_ratio == pytest.approx(1) and found.bias == pytest.approx(1)


def test_the_histogram_of_densities_holds_every_feature():
    x = torch.zeros(10_000, 1)
    tally = Tally(1, 5)
    features = torch.zeros(10_000, 5)
    features[:, 0] = 1
    features[:10, 1] = 1
    features[:1, 2] = 1
    features[:5000, 3] = 1
    tally.add(x, features, x)
    counts = tally.result().density_histogram()
    assert len(counts) == len(DENSITY_EDGES) and sum(counts) == 5
    assert counts[0] == 1 and counts[1] == 1 and counts[-1] == 2


def test_partners():
    rows = torch.eye(6)
    others = torch.cat([rows[[3, 1]] * 5, torch.full((1, 6), 1.0)])
    found = best_cosines(rows, others)
    assert found[[1, 3]].tolist() == [1.0, 1.0] and found[[0, 2, 4, 5]].tolist() == pytest.approx([6**-0.5] * 4)


# --- controls ---------------------------------------------------------------------------------------------


def test_random_directions_fire_as_often():
    x = torch.randn(4000, 8) @ torch.randn(8, 8) + 3
    dictionary = dictionary_of()
    with torch.no_grad():
        dictionary.threshold[4] = 1e9
    control = random_like(dictionary, x, seed=5)
    wanted, got = ((d.encode(x) > 0).sum(0) for d in (dictionary, control))
    assert (wanted - got).abs().max() <= 1 and got[4] == 0
    assert control.config.trained_as == "random" and control.config.site == SITE
    assert torch.allclose(control.W_dec.norm(dim=1), torch.ones(20), atol=1e-5)
    assert not torch.equal(control.W_dec, random_like(dictionary, x, seed=6).W_dec)
    # The gain is the best: no other length of the features reconstructs better.
    best = reconstruct(control, [x])[0].fvu
    for factor in (0.8, 1.25):
        other = random_like(dictionary, x, seed=5)
        with torch.no_grad():
            other.W_enc.mul_(factor)
            other.b_enc.mul_(factor)
            other.threshold.mul_(factor)
        assert reconstruct(other, [x])[0].fvu > best


# --- downstream -------------------------------------------------------------------------------------------


def test_only_frames_of_the_clip_are_replaced():
    value = torch.randn(2, 10, 4)
    changed = replaced_frames(value, [3, 10], torch.zeros_like)
    assert not changed[0, :3].any() and not changed[1].any() and torch.equal(changed[0, 3:], value[0, 3:])
    heads = torch.randn(1, 5, 2, 3)
    doubled = replaced_frames(heads, [5], lambda x: 2 * x if x.shape == (5, 6) else x)
    assert torch.equal(doubled, 2 * heads)


def test_a_perfect_dictionary_costs_nothing_and_ablations_change_the_encoder(model):
    corpus = spoken(3)
    costs, n_own = measure_costs(
        model,
        corpus,
        corpus.clips,
        SITE,
        {"nothing": None, "same": lambda x: x.clone(), "zero": torch.zeros_like},
        Silent(),
    )
    assert n_own == 0
    assert costs["same"].cross_entropy == costs["nothing"].cross_entropy != costs["zero"].cross_entropy
    assert costs["nothing"].n_tokens == [3, 3, 3]  # two words and the end
    assert all(error.n_words == 2 for error in costs["zero"].errors)


def test_the_loss_is_that_of_an_unhooked_pass(model):
    corpus = spoken(2)
    cost = measure_costs(model, corpus, corpus.clips, SITE, {"nothing": None}, Silent())[0]["nothing"]
    from wspy.audio import log_mel
    from wspy.model import forced_tokens

    tokens = forced_tokens(model, "a tone", "en")
    mel = torch.from_numpy(log_mel(corpus.audio(corpus.clips[0]), 80))[None]
    with torch.inference_mode():
        logits = model.whisper.decoder(torch.tensor([tokens.ids]), model.whisper.encoder(mel))[0]
    scores = logits.log_softmax(dim=-1)
    expected = -sum(float(scores[at - 1, tokens.ids[at]]) for at in range(tokens.n_prompt, len(tokens.ids)))
    assert cost.losses[0] == pytest.approx(expected, rel=1e-4)


def test_a_clip_without_text_is_compared_with_what_the_model_writes(model):
    corpus = spoken(2, text=None)
    bare = Corpus.in_memory("bare", ((corpus.audio(clip), clip, None) for clip in corpus.clips))
    costs, n_own = measure_costs(model, bare, bare.clips, SITE, {"nothing": None}, Silent())
    assert n_own == 2 and sum(error.n_errors for error in costs["nothing"].errors) == 0


def test_no_patch_is_left_behind(model):
    mel = torch.randn(1, 80, 3000)
    before = encode(model, mel)
    _features(model, mel, SITE, [100], torch.zeros_like)
    assert torch.equal(encode(model, mel), before)


def test_recovered_loss():
    assert recovered(1.0, 1.0, 5.0) == 1.0 and recovered(1.0, 5.0, 5.0) == 0.0 and recovered(1.0, 2.0, 5.0) == 0.75
    assert recovered(1.0, 1.5, 1.0) is None
    assert Cost([2.0, 4.0], [1, 2], [WordErrors(1, 0, 0, 0)]).cross_entropy == 2.0


# --- phones -----------------------------------------------------------------------------------------------


class Following:
    """Units of which the first forty follow the phones, some more closely than others; one is always the same."""

    site = SITE

    def __init__(self, corpus: Corpus) -> None:
        self.clips, self.lengths = corpus.clips, [200] * len(corpus.clips)
        generator = torch.Generator().manual_seed(0)
        self.values = []
        for clip in corpus.clips:
            alignment = corpus.alignment(clip)
            hiss = torch.tensor([alignment.phone_at(at * 0.02) == "S" for at in range(200)]).float()
            units = torch.randn(200, 101, generator=generator)
            units[:, :40] += hiss[:, None] * torch.linspace(1, 3, 40)
            units[:, 100] = 0
            self.values.append(units)

    def read(self, clips, progress):
        return torch.cat([self.values[at] for at in clips])


def test_units_that_follow_the_phones_are_told_from_those_that_do_not():
    corpus = spoken(16, seconds=4.0)
    kinds = {"both": lambda x: x, "chance": lambda x: x[:, 40:100], "clear": lambda x: x[:, 30:40]}
    shares = phone_shares([(Following(corpus), kinds)], corpus, np.random.default_rng(0), Silent())
    both, chance, clear = shares["both"], shares["chance"], shares["clear"]
    assert (both.n_units, both.n_live, chance.n_live) == (101, 100, 60)
    assert 40 <= both.n_labelled <= 45 and chance.n_labelled <= 3 and both.n_phones == 1
    assert clear.median_auroc > 0.95 and chance.median_auroc < 0.55
    assert clear.n_precise == 10


# --- the analysis -----------------------------------------------------------------------------------------


def test_the_analysis_from_inputs_to_page(model):
    own = dictionary_of(64, 96, model.sha256)
    save_dictionary(own, "mine")
    save_dictionary(own, "twin")
    result = wspy.analyze(
        "sae-eval", model=model, corpus=spoken(8, seconds=3.0), sae="mine", clips=2, against="twin", phones=True
    )
    assert [row.by for row in result.replaced] == ["nothing", "mine", "random directions", "mean", "zero"]
    assert [row.name for row in result.quality] == ["mine", "random directions"]
    assert result.replaced[0].recovered_zero in (1.0, None)
    assert not result.held_out and result.n_clips == 8 and result.n_read == 2
    assert result.stability.share == 1.0 and sum(result.stability.histogram) == result.stability.n_features
    assert result.stability.share_random < 0.5
    assert {row.units for row in result.phones} <= {"features", "random directions", "encoder.blocks.0.mlp.1"}
    blocks = SaeEval().view(result)
    titles = [getattr(block, "title", "") for block in blocks]
    assert "Reconstruction" in titles and any("twin" in title for title in titles)
    assert blocks[0].markdown.startswith("# mine explains")


def test_a_dictionary_of_another_model_or_site_is_refused_by_name(model):
    save_dictionary(dictionary_of(64, 96), "foreign")
    with pytest.raises(InputError, match=r"'foreign'.*random-0"):
        wspy.analyze("sae-eval", model=model, corpus=spoken(2), sae="foreign")
    save_dictionary(dictionary_of(64, 96, model.sha256), "here")
    save_dictionary(dictionary_of(64, 96, model.sha256, "encoder.blocks.1"), "there")
    with pytest.raises(InputError, match=r"'here'.*encoder\.blocks\.0.*'there'.*encoder\.blocks\.1"):
        wspy.analyze("sae-eval", model=model, corpus=spoken(2), sae="here", against="there")
    with pytest.raises(InputError, match=r"'foreign'.*random-0"):
        wspy.analyze("sae-eval", model=model, corpus=spoken(2), sae="here", against="foreign")
    save_dictionary(dictionary_of(32, 96, model.sha256), "narrow")
    with pytest.raises(InputError, match=r"'narrow' takes 32 values and encoder\.blocks\.0 of this model gives 64"):
        wspy.analyze("sae-eval", model=model, corpus=spoken(2), sae="narrow")
    with pytest.raises(InputError, match=r"no dictionary.*'gone'.*here"):
        wspy.analyze("sae-eval", model=model, corpus=spoken(2), sae="gone")


# --- the command line -------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.session_home
def test_train_show_judge_remove(run_cli, timit):
    corpus = timit("timit-sa1", lambda rows: [row for row in rows if row["path"].endswith("_sa1.flac")])
    options = ("--corpus", corpus.name, "--width", "0.5x", "--k", "8", "--steps", "30", "--batch", "256")
    done = run_cli("sae", "train", "--name", "judged", *options, "--quiet")
    assert done.code == 0, done.stderr
    assert "FVU of the last batch" in done.stdout and done.stdout.rstrip().endswith("judged")
    here = CliRunner()  # what takes no model needs no process of its own
    listed = {row["name"]: row for row in json.loads(here.invoke(app, ["list", "--json"]).stdout)}
    assert (listed["judged"]["features"], listed["judged"]["site"]) == (192, "encoder.blocks.2")
    shown = json.loads(here.invoke(app, ["show", "judged", "--json"]).stdout)
    assert shown["training"]["settings"]["steps"] == 30
    again = here.invoke(app, ["train", "--name", "judged", *options]).exception
    assert isinstance(again, InputError) and "wspy sae remove judged" in str(again)
    random = here.invoke(app, ["random", "--like", "judged"])
    assert random.exit_code == 0 and random.stdout.rstrip().endswith("judged-random")
    judged = run_cli(
        "sae", "eval", "--sae", "judged", "--corpus", corpus.name, "--against", "judged-random", "--json", "--quiet"
    )
    assert judged.code == 0, judged.stderr
    result = json.loads(judged.stdout)["result"]
    own, chance = result["quality"]
    assert result["held_out"] and 0 < own["fvu"] < chance["fvu"] < 1
    losses = {row["by"]: row["cross_entropy"] for row in result["replaced"]}
    assert losses["nothing"] < losses["judged"] < losses["zero"]
    assert result["stability"]["share"] < 0.1
    bad = run_cli("sae", "train", "--corpus", corpus.name, "--width", "1000x")
    assert bad.code == 2 and bad.stdout == "" and len(bad.stderr.strip().splitlines()) == 1, bad.stderr
    other = here.invoke(app, ["train", "--corpus", corpus.name, "--site", "encoder.blocks.9"]).exception
    assert isinstance(other, InputError) and other.exit_code == 2 and "encoder.blocks.9" in str(other)
    for name in ("judged", "judged-random"):
        assert here.invoke(app, ["remove", name]).exit_code == 0
    assert not {"judged", "judged-random"} & {
        row["name"] for row in json.loads(here.invoke(app, ["list", "--json"]).stdout)
    }
