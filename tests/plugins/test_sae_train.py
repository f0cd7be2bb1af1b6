"""Training dictionaries: known answers, gradients, rules that hold at every step, and going on after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wspy.corpus import Clip, Corpus
from wspy.errors import BadActivations, MissingExtra, UnknownSite
from wspy.progress import Silent
from wspy.testing import tiny_whisper
from wspy_sae.checkpoint import CHECKPOINT
from wspy_sae.engine import Accelerated, Plain, make_engine
from wspy_sae.evaluate import best_cosines
from wspy_sae.learner import Learner
from wspy_sae.losses import JumpReLU, Step, auxiliary_loss, fvu, smoothed_jump_relu, smoothed_step
from wspy_sae.settings import TrainSettings, parse_width
from wspy_sae.sparse import Active, top_of_batch, top_of_rows
from wspy_sae.stream import ActivationStream, KeptSource, TensorSource, keep
from wspy_sae.train import encoder_site, fit, learning_rate, make_optimizer, make_stream
from wspy_sae.train_errors import (
    AlreadyTrained,
    BadTraining,
    DamagedCheckpoint,
    Diverged,
    NotAnEncoderSite,
    OtherSettings,
    TooFewFrames,
)
from wspy_sae.trained import held_out_clips, read_record, remove_dictionary, to_dictionary, train_dictionary

ARCHITECTURES = ("topk", "batchtopk", "jumprelu", "matryoshka", "relu")
SITE = "encoder.blocks.0"


def of(**changes: object) -> TrainSettings:
    """Settings for small tests."""
    given_ = {"site": SITE, "d_sae": 24, "k": 3, "steps": 20, "batch": 64, **changes}
    return TrainSettings.model_validate(given_)


def planted(n: int = 6000, d_in: int = 16, n_atoms: int = 24, active: int = 2, seed: int = 99) -> tuple[Tensor, Tensor]:
    """Sums of a few random directions with random positive weights, and the directions."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.randn(n_atoms, d_in, generator=generator)
    atoms /= atoms.norm(dim=1, keepdim=True)
    chosen = torch.rand(n, n_atoms, generator=generator).topk(active).indices
    weights = torch.zeros(n, n_atoms).scatter(1, chosen, 1 + torch.rand(n, active, generator=generator))
    return weights @ atoms, atoms


def tones(n_clips: int = 12, seconds: float = 1.0) -> Corpus:
    """Clips of two tones each, all different."""
    t = np.arange(round(seconds * 16000)) / 16000
    items = []
    for at in range(n_clips):
        sound = 0.3 * np.sin(2 * np.pi * (150 + 40 * at) * t) + 0.2 * np.sin(2 * np.pi * (900 + 130 * at) * t * t)
        items.append((sound.astype(np.float32), Clip(f"tone-{at:02}", text="a tone", language="en"), None))
    return Corpus.in_memory("tones", items)


# --- known answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["batchtopk", "topk", "jumprelu", "matryoshka"])
def test_a_planted_dictionary_is_found(architecture):
    x, atoms = planted()
    wanted = of(architecture=architecture, d_sae=32, k=2, steps=1200, batch=256, lr=3e-3)
    found = fit(wanted, make_stream(wanted, TensorSource(x), Plain()))
    cosines = best_cosines(atoms, found.learner.W_dec.detach())
    assert float(cosines.mean()) > 0.9
    untrained = best_cosines(atoms, Learner(wanted, 16).W_dec.detach())
    assert float(untrained.mean()) < 0.75
    assert found.history[-1]["fvu"] < 0.2


def test_the_posts_form_learns_with_its_own_loss_and_keeps_unit_atoms():
    x, _ = planted()
    wanted = of(architecture="relu", d_sae=24, steps=200, batch=256)
    found = fit(wanted, make_stream(wanted, TensorSource(x), Plain()))
    assert found.scale == 1.0 and found.threshold is None
    assert found.history[-1]["fvu"] < 0.9 * found.history[0]["fvu"]
    assert torch.allclose(found.learner.W_dec.norm(dim=1), torch.ones(24), atol=1e-5)
    batch = x[:8]
    output = found.learner(batch)
    features = (batch @ found.learner.W_dec.t() + found.learner.b_enc).relu()
    expected = 1e4 * ((batch - features @ found.learner.W_dec) ** 2).mean() + features.sum(1).mean()
    assert float(output.loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_the_post_defaults():
    wanted = of(architecture="relu", d_sae=200)
    assert wanted.peak_lr == 4e-4
    assert isinstance(make_optimizer(Learner(wanted, 16)), torch.optim.RAdam)
    assert not hasattr(Learner(wanted, 16), "b_dec")


def test_fvu_of_the_mean_is_exactly_one():
    x = torch.randn(500, 8) * 3 + 5
    assert float(fvu(x, x.mean(dim=0).expand_as(x))) == 1.0
    assert float(fvu(x, x)) == 0.0


# --- gradients --------------------------------------------------------------------------------------------


def test_the_thresholds_gradient_is_that_of_the_smoothed_function():
    z = torch.linspace(-0.5, 1.5, 401, dtype=torch.float64)
    weights = torch.randn(401, generator=torch.Generator().manual_seed(1)).double()
    width, step = 0.3, 1e-6
    for function, smoothed in ((JumpReLU, smoothed_jump_relu), (Step, smoothed_step)):
        threshold = torch.tensor([0.4321], dtype=torch.float64, requires_grad=True)
        (function.apply(z, threshold, width) * weights).sum().backward()
        above, below = (float((smoothed(z, threshold.detach() + d, width) * weights).sum()) for d in (step, -step))
        assert float(threshold.grad) == pytest.approx((above - below) / (2 * step), rel=1e-4)


def test_the_smoothed_function_is_the_function_outside_the_band():
    z, threshold = torch.tensor([0.0, 0.2, 1.0]), torch.tensor([0.5])
    assert torch.allclose(smoothed_jump_relu(z, threshold, 0.4), torch.tensor([0.0, 0.0, 1.0]))
    assert torch.equal(JumpReLU.apply(z, threshold, 0.4), torch.tensor([0.0, 0.0, 1.0]))
    assert torch.equal(Step.apply(z, threshold, 0.4), torch.tensor([0.0, 0.0, 1.0]))


def test_the_thresholds_gradient_estimates_that_of_the_expected_loss():
    """With many inputs, the straight-through gradient agrees with a finite difference of the true loss."""
    generator = torch.Generator().manual_seed(0)
    z = torch.rand(2_000_000, generator=generator).double() * 2
    target = z + 0.3 * torch.randn(len(z), generator=generator).double()

    def loss(threshold: Tensor) -> Tensor:
        features = JumpReLU.apply(z, threshold, 0.05)
        return ((features - target) ** 2).mean() + 0.2 * Step.apply(z, threshold, 0.05).mean()

    threshold = torch.tensor([0.8], dtype=torch.float64, requires_grad=True)
    loss(threshold).backward()
    d = 0.02
    difference = (loss(threshold.detach() + d) - loss(threshold.detach() - d)) / (2 * d)
    assert float(threshold.grad) == pytest.approx(float(difference), rel=0.05)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "jumprelu", "matryoshka"])
def test_sparse_and_dense_ways_give_the_same_loss_and_gradients(architecture):
    wanted = of(architecture=architecture, d_sae=200, k=4, steps=100)
    x = torch.randn(96, 16, generator=torch.Generator().manual_seed(2))
    found = []
    for sparse in (True, False):
        learner = Learner(wanted, 16, sparse=sparse)
        with torch.no_grad():
            learner.b_enc.copy_(torch.linspace(-0.2, 0.2, 200))
            if architecture == "jumprelu":
                learner.threshold.fill_(2.0)  # few are active, so that the sparse way is taken
            learner.since_fired[:40] = 10_000  # dead
        output = learner(x)
        output.loss.backward()
        found.append((output, {name: p.grad for name, p in learner.named_parameters()}))
    (ours, gradients), (theirs, expected) = found
    assert torch.allclose(ours.loss, theirs.loss, rtol=1e-5)
    assert float(ours.l0) == pytest.approx(float(theirs.l0)) and torch.equal(ours.fired, theirs.fired)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, expected[name], rtol=1e-4, atol=1e-6), name


def test_products_of_active_entries_without_mkl(monkeypatch):
    active = Active.at(torch.tensor([1, 4, 5, 11]), (3, 4))
    left, right = torch.randn(3, 5), torch.randn(4, 5)
    with_mkl = active.products(left, right)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert torch.allclose(active.products(left, right), with_mkl, atol=1e-6)
    assert torch.allclose(with_mkl, (left @ right.t()).view(-1)[[1, 4, 5, 11]], atol=1e-6)


# --- rules at every step ----------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 40),
    k=st.integers(1, 12),
    seed=st.integers(0, 1000),
    shift=st.floats(-2, 2),
)
def test_the_highest_of_a_batch_are_exactly_those(rows, columns, k, seed, shift):
    pre = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) + shift
    k = min(k, columns)
    expected = torch.zeros(rows * columns, dtype=torch.bool)
    expected[pre.flatten().topk(k * rows).indices] = True
    expected &= pre.flatten() > 0
    assert top_of_batch(pre, k * rows).tolist() == expected.nonzero()[:, 0].tolist()
    by_row = torch.zeros_like(pre).scatter(1, pre.topk(k).indices, 1.0).flatten() * (pre.flatten() > 0)
    assert top_of_rows(pre, k).tolist() == by_row.nonzero()[:, 0].tolist()


def test_a_large_batch_whose_sample_misleads_is_still_exact():
    pre = torch.zeros(512, 1024)
    pre[:, 1::4] = torch.rand(512, 256, generator=torch.Generator().manual_seed(0))  # no sampled entry is above zero
    flat = top_of_batch(pre, 512 * 8)
    assert len(flat) >= 512 * 8
    assert float(pre.view(-1)[flat].min()) == float(pre.flatten().topk(512 * 8).values.min())


@settings(max_examples=12, deadline=None)
@given(
    architecture=st.sampled_from(ARCHITECTURES),
    n_steps=st.integers(1, 12),
    dead_frames=st.integers(32, 200),
    frozen=st.booleans(),
)
def test_unit_norm_and_dead_features_after_any_number_of_steps(architecture, n_steps, dead_frames, frozen):
    x, _ = planted(640)
    frozen = frozen and architecture != "relu"
    wanted = of(architecture=architecture, steps=n_steps, batch=32, dead_frames=dead_frames, frozen_decoder=frozen)
    learner = Learner(wanted, 16)
    first = learner.W_dec.detach().clone()
    optimizer = make_optimizer(learner)
    last_fired = torch.full((24,), -1)
    for step in range(n_steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.05
        output = learner(x[32 * step : 32 * (step + 1)])
        optimizer.zero_grad()
        output.loss.backward()
        learner.project_gradient()
        if learner.W_dec.grad is not None and architecture != "relu":
            along = (learner.W_dec.grad * learner.W_dec.detach()).sum(dim=1)
            assert float(along.abs().max()) < 1e-4 * max(float(learner.W_dec.grad.abs().max()), 1e-3)
        optimizer.step()
        learner.after_step(output.fired, 32)
        last_fired[output.fired] = step
        assert torch.allclose(learner.W_dec.norm(dim=1), torch.ones(24), atol=1e-5)
        since = (step - last_fired) * 32
        assert torch.equal(learner.since_fired, since)
        assert torch.equal(learner.dead, since > dead_frames)
        if architecture == "jumprelu":
            assert float(learner.threshold.detach().min()) >= 0
    assert torch.allclose(learner.W_dec, first, atol=1e-6) == (
        frozen or bool((learner.W_dec - first).abs().max() < 1e-6)
    )


def test_the_auxiliary_loss_reaches_dead_features_alone():
    x = torch.randn(50, 16)
    learner = Learner(of(), 16)
    dead = torch.zeros(24, dtype=torch.bool)
    dead[[2, 7, 20]] = True
    auxiliary_loss(x, x, learner.W_enc, learner.b_enc, learner.W_dec, dead).backward()
    for parameter in (learner.W_enc, learner.b_enc, learner.W_dec):
        touched = parameter.grad.view(24, -1).abs().sum(dim=1) > 0
        assert torch.equal(touched, dead)


def test_the_learning_rate_rises_and_falls():
    wanted = of(steps=1000, lr=1.0)
    rates = [learning_rate(wanted, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02) and rates[100] == rates[799] == 1.0 and rates[999] == pytest.approx(0.005)
    assert rates[:50] == sorted(rates[:50]) and rates[800:] == sorted(rates[800:], reverse=True)


# --- the stream -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [10_000, 300])
def test_each_epoch_hears_every_frame_once_and_any_step_can_be_gone_on_from(capacity):
    x = torch.arange(960.0)[:, None].expand(960, 4).contiguous()
    stream = ActivationStream(TensorSource(x, clip_length=40), 30, seed=3, capacity=capacity)
    batches = [batch for batch, _ in zip(stream.batches(), range(64), strict=False)]
    first, second = torch.cat(batches[:32])[:, 0], torch.cat(batches[32:])[:, 0]
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(960))
    assert first.tolist() != second.tolist()
    for step in (1, 7, 31, 32, 50):
        later = ActivationStream(TensorSource(x, clip_length=40), 30, seed=3, capacity=capacity).batches(step)
        assert torch.equal(next(later), batches[step])


def test_the_buffer_stays_within_its_bound():
    class Counting(TensorSource):
        largest = 0
        before = staticmethod(lambda: None)

        def read(self, clips, progress):
            assert Counting.before() is None, "two chunks are held at once"
            values = super().read(clips, progress)
            Counting.largest = max(Counting.largest, len(values))
            Counting.before = weakref.ref(values)
            return values

    stream = ActivationStream(Counting(torch.randn(5000, 4), clip_length=50), 64, capacity=1000)
    for _ in zip(stream.batches(), range(200), strict=False):
        pass
    assert 500 < Counting.largest <= 1000 + 50


def test_processes_share_the_clips_without_overlap():
    x = torch.arange(400.0)[:, None].expand(400, 2).contiguous()
    heard = []
    for rank in range(2):
        stream = ActivationStream(TensorSource(x, clip_length=20), 20, rank=rank, n_ranks=2)
        heard.append({int(v) for batch, _ in zip(stream.batches(), range(10), strict=False) for v in batch[:, 0]})
    assert len(heard[0]) == len(heard[1]) == 200 and not heard[0] & heard[1]


def test_kept_activations_are_read_again_and_made_anew_for_others(tmp_path):
    x = torch.randn(100, 4)
    path = tmp_path / "activations.npy"
    kept = keep(TensorSource(x, 30), path, "one", Silent())
    assert isinstance(kept, KeptSource) and list(kept.lengths) == [30, 30, 30, 10] and kept.d_in == 4
    assert torch.equal(kept.read([3, 1], Silent()), torch.cat([x[90:], x[30:60]]))
    again = keep(TensorSource(torch.zeros(100, 4), 30), path, "one", Silent())
    assert torch.equal(again.read([0], Silent()), x[:30])
    other = keep(TensorSource(torch.zeros(100, 4), 30), path, "another", Silent())
    assert not other.read([0], Silent()).any()


# --- from a corpus to a kept dictionary -------------------------------------------------------------------


def small(**changes: object) -> TrainSettings:
    return of(**{"d_sae": 96, "k": 4, "steps": 12, "batch": 128, **changes})


@pytest.fixture(scope="module")
def model():
    return tiny_whisper()


def test_a_dictionary_is_trained_kept_and_says_how(model):
    corpus = tones()
    dictionary, record, folder = train_dictionary("small", small(), model.reference, corpus, model=lambda: model)
    config = dictionary.config
    assert (config.architecture, config.trained_as, config.site, config.k) == ("jumprelu", "batchtopk", SITE, 4)
    assert config.model_sha256 == model.sha256 and config.corpus_hash == corpus.hash and config.valid_frames_only
    assert folder.is_dir() and read_record("small") == record
    assert record.n_clips == 11 and record.n_frames == 550 and record.history[-1].step == 12
    held_out = held_out_clips(record, corpus)
    assert len(held_out) == 1 and len(held_out_clips(record, tones(5))) == 5
    assert not (folder.parent.parent / "trainings" / "small").exists()
    with pytest.raises(AlreadyTrained, match="small"):
        train_dictionary("small", small(), model.reference, corpus, model=lambda: model)
    remove_dictionary("small")
    assert not folder.exists()


def test_activations_may_be_kept(model, wspy_home):
    train_dictionary("k", small(), model.reference, tones(), model=lambda: model, keep_activations=True)
    stored = np.load(wspy_home / "trainings" / "k" / "activations.npy")
    assert stored.shape == (550, 64)


def test_what_is_kept_encodes_single_frames_as_training_did_batches(model):
    x, _ = planted()
    for architecture in ("batchtopk", "topk", "jumprelu", "relu"):
        wanted = of(architecture=architecture, steps=150, batch=256, lr=3e-3)
        found = fit(wanted, make_stream(wanted, TensorSource(x), Plain()))
        dictionary = to_dictionary(found, wanted, model.reference, tones())
        ours = float(fvu(x, dictionary(x)))
        theirs = float(found.learner(x[:2000] * found.scale).fvu.detach())
        assert ours == pytest.approx(theirs, abs=0.03), architecture
        l0 = float((dictionary.encode(x) > 0).sum(dim=1).float().mean())
        assert architecture in ("relu", "jumprelu") or l0 == pytest.approx(3, abs=0.25)


CHILD = """
import sys
sys.path.insert(0, {tests!r})
from test_sae_train import train_a_part_at_a_time
train_a_part_at_a_time()
"""


def train_a_part_at_a_time() -> None:
    """The buffer holds a part of the corpus only, so the stream's place and the order of its clips count, too."""
    model = tiny_whisper()
    parts = small(architecture="batchtopk", steps=40, memory_gb=1e-9)
    train_dictionary("killed", parts, model.reference, tones(16), model=lambda: model, checkpoint_s=0.0)


def test_training_goes_on_bit_by_bit_after_a_kill(tmp_path):
    """Bits are those of one number of threads, so all three are processes of their own with one."""

    def start(home: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "WSPY_HOME": str(tmp_path / home), "OMP_NUM_THREADS": "1"}
        script = CHILD.format(tests=str(Path(__file__).parent))
        return subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE)

    whole = start("whole")
    killed = start("killed")
    checkpoint = tmp_path / "killed" / "trainings" / "killed" / CHECKPOINT
    finished = tmp_path / "killed" / "dictionaries" / "killed"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline and killed.poll() is None:
        time.sleep(0.002)
    time.sleep(0.15)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL and checkpoint.exists() and not finished.exists()
    again = start("killed")
    for process in (whole, again):
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    for name in sorted(path.name for path in finished.glob("*.safetensors")):
        mine, expected = (tmp_path / home / "dictionaries" / "killed" / name for home in ("killed", "whole"))
        assert mine.read_bytes() == expected.read_bytes()
    assert list(finished.glob("*.safetensors"))


def test_accelerate_trains_the_same_in_single_precision_and_nearly_in_half(tmp_path):
    x, _ = planted(2000)
    wanted = of(steps=30, batch=128)
    plain = fit(wanted, make_stream(wanted, TensorSource(x), Plain()))
    engine = make_engine("fp32", torch.device("cpu"), tmp_path / "logs")
    assert isinstance(engine, Accelerated)
    logged = fit(wanted, make_stream(wanted, TensorSource(x), engine), engine)
    engine.finish()
    assert torch.equal(plain.learner.W_dec, logged.learner.W_dec)
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))


def test_mixed_precision_comes_close():
    from accelerate.state import AcceleratorState

    x, _ = planted(2000)
    wanted = of(steps=30, batch=128, precision="bf16")
    AcceleratorState._reset_state(reset_partial_state=True)  # it is one for the whole process, with one precision
    engine = make_engine("bf16", torch.device("cpu"))
    half = fit(wanted, make_stream(wanted, TensorSource(x), engine), engine)
    AcceleratorState._reset_state(reset_partial_state=True)
    plain = fit(wanted, make_stream(wanted, TensorSource(x), Plain()))
    ours, exact = half.history[-1]["fvu"], plain.history[-1]["fvu"]
    assert half.learner.W_dec.dtype == torch.float32
    assert ours != exact and abs(ours - exact) < 0.02


# --- bad input --------------------------------------------------------------------------------------------


def test_sites_that_cannot_be_learned_are_refused(model):
    with pytest.raises(UnknownSite, match=r"blocks\.9"):
        encoder_site("encoder.blocks.9", model.reference)
    for site in ("decoder.blocks.0", "encoder.blocks.*", "encoder.blocks.0.attn.pattern", "encoder.conv1"):
        with pytest.raises(NotAnEncoderSite, match=r"encoder\.blocks\.2"):
            encoder_site(site, model.reference)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"d_sae": 5000}, TooFewFrames, "550 frames.*5,000 features needs at least 5,000"),
        ({"batch": 512}, TooFewFrames, "550 frames.*batch of 512"),
        ({"k": 97}, BadTraining, "--k 97.*96 features"),
        ({"precision": "fp16"}, BadTraining, "fp16.*CPU"),
    ],
)
def test_what_cannot_be_trained_is_one_line_before_the_model_is_loaded(changes, error, said, model):
    def never() -> None:
        raise AssertionError("the model was loaded")

    with pytest.raises(error, match=said) as raised:
        train_dictionary("bad", small(**changes), model.reference, tones(), model=never)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 101, "zero"])
def test_names_are_plain(name, model):
    with pytest.raises(BadTraining, match="--name"):
        train_dictionary(name, small(), model.reference, tones(), model=lambda: model)


@pytest.mark.parametrize(("given_", "d_in", "expected"), [("8x", 384, 3072), ("3072", 384, 3072), ("0.5X", 384, 192)])
def test_widths(given_, d_in, expected):
    assert parse_width(given_, d_in) == expected


@pytest.mark.parametrize("given_", ["", "x", "-8x", "0", "8 y", "0.3x", "1e3"])
def test_bad_widths(given_):
    with pytest.raises(BadTraining, match="--width"):
        parse_width(given_, 64)


def test_nan_activations_name_the_clip():
    broken = tiny_whisper()
    broken.whisper.encoder.blocks[0].mlp[2].weight.data[0, 0] = float("nan")
    with pytest.raises(BadActivations, match="tone-") as raised:
        train_dictionary("nan", small(speed="exact"), broken.reference, tones(), model=lambda: broken)
    assert raised.value.exit_code == 2 and "\n" not in str(raised.value)


def test_divergence_is_said():
    x, _ = planted(500)
    wanted = of(lr=1e38, steps=50)
    with pytest.raises(Diverged, match="step"):
        fit(wanted, make_stream(wanted, TensorSource(x), Plain()))


def test_other_settings_and_damage_of_a_checkpoint(tmp_path):
    x, _ = planted(500)

    class Stop(Exception):
        pass

    class Stopping(Silent):
        def note(self, message: str) -> None:
            if message.startswith("Step 10"):
                raise Stop

    wanted = of(steps=20)
    with pytest.raises(Stop):
        fit(
            wanted,
            make_stream(wanted, TensorSource(x), Plain()),
            folder=tmp_path,
            progress=Stopping(),
            checkpoint_s=0,
        )
    other = of(steps=20, k=2)
    with pytest.raises(OtherSettings, match="k: 3, now 2"):
        fit(other, make_stream(other, TensorSource(x), Plain()), folder=tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedCheckpoint, match=r"checkpoint\.safetensors"):
        fit(wanted, make_stream(wanted, TensorSource(x), Plain()), folder=tmp_path)


def test_without_accelerate_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert isinstance(make_engine("fp32", torch.device("cpu")), Plain)
    with pytest.raises(MissingExtra, match=r"pip install 'wspy\[train\]'"):
        make_engine("bf16", torch.device("cpu"))


PROCESSES = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_sae_train import small, tones
from wspy.testing import tiny_whisper
from wspy_sae.trained import train_dictionary
model = tiny_whisper()
made, record, _ = train_dictionary("shared", small(), model.reference, tones(16), model=lambda: model)
assert int(os.environ["WORLD_SIZE"]) == 2
said = f"{{made.W_dec.double().sum().item()}} {{record.history[-1].fvu}}"
Path({said!r}, os.environ["RANK"]).write_text(said)  # two processes on one stdout would write through each other
"""


def test_two_processes_train_one_dictionary(tmp_path, wspy_home):
    script = tmp_path / "processes.py"
    heard = tmp_path / "said"
    heard.mkdir()
    script.write_text(PROCESSES.format(tests=str(Path(__file__).parent), said=str(heard)))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in heard.iterdir()) == ["0", "1"]
    assert (heard / "0").read_text() == (heard / "1").read_text(), "both processes hold the same weights"
    assert (wspy_home / "dictionaries" / "shared" / "training.json").is_file()


def test_every_error_of_training_is_one_line_that_names_the_value():
    said = [
        BadTraining("--k", 97, "the dictionary has 96 features"),
        TooFewFrames("small", 10, 20, "a batch of 20"),
        NotAnEncoderSite("decoder.ln"),
        AlreadyTrained("demo"),
        OtherSettings("demo", "k: 3, now 2"),
        DamagedCheckpoint("a/path", "it ends early"),
        Diverged(7, 0.003),
    ]
    values = ("97", "small", "decoder.ln", "demo", "k: 3", "a/path", "step 7")
    for error, value in zip(said, values, strict=True):
        assert value in str(error) and "\n" not in str(error) and len(str(error)) < 300
