"""The condensed pass: exact where it must be, close where it may be, and the same to hooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from whisper.model import ModelDimensions, Whisper

import wspy
from wspy.audio import load_audio, log_mel, n_frames
from wspy.errors import InputError, OutOfRange, UnknownSite
from wspy.model import FramePlan, Model, capture, encode, measure_agreement, patch, plan_frames
from wspy.model.condensed import MARGIN, MAX_KNOT_DISTANCE, MAX_SHARE, PADDING_LEVEL
from wspy.testing import tiny_whisper

N_FRAMES = 100
NEURONS = "encoder.blocks.1.mlp.1"


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def tones(length_s: float = 2.0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    t_s = np.arange(round(16_000 * length_s)) / 16_000
    sound = np.sin(2 * np.pi * (200 + 400 * t_s) * t_s) * (1 + np.sin(2 * np.pi * 5 * t_s)) / 4
    return np.asarray(sound, np.float32)


@pytest.fixture(scope="module")
def clips() -> Tensor:
    """Two clips of 2 s."""
    return torch.from_numpy(np.stack([log_mel(tones()), log_mel(tones()[::-1] * np.float32(0.1))]))


@pytest.fixture(scope="module")
def plan(tiny: Model) -> FramePlan:
    made = plan_frames(tiny, N_FRAMES)
    assert made is not None
    return made


def silence(level: float = PADDING_LEVEL) -> Tensor:
    return torch.full((1, 80, 3000), level)


def values(model: Model, mel: Tensor, plan: FramePlan | None, sites: str = "encoder.*") -> dict[str, Tensor]:
    with capture(model, sites) as cache:
        encode(model, mel, plan=plan)
    return dict(cache)


# --- plans ------------------------------------------------------------------------------------------------


def test_a_plan_computes_the_clip_a_margin_and_ever_fewer_frames(plan: FramePlan) -> None:
    assert plan.n_head == N_FRAMES + MARGIN
    assert plan.frames[: plan.n_head] == tuple(range(plan.n_head))
    assert list(plan.frames) == sorted(set(plan.frames))
    assert plan.frames[-1] == 1499
    steps = np.diff([plan.n_head - 1, *plan.knots])
    assert steps.max() == MAX_KNOT_DISTANCE
    assert (np.diff(steps)[:-1] >= 0).all()
    assert plan.share == len(plan.frames) / 1500 < 0.2


def test_clips_of_similar_length_share_a_plan(tiny: Model) -> None:
    assert plan_frames(tiny, 76) == plan_frames(tiny, 100) != plan_frames(tiny, 101)
    assert hash(plan_frames(tiny, 76)) == hash(plan_frames(tiny.whisper, 100))


def test_no_plan_where_little_is_saved(tiny: Model) -> None:
    plans = [plan_frames(tiny, n) for n in range(0, 1501, 100)]
    assert plans[0] is not None
    assert plans[-1] is None
    assert all(plan.share <= MAX_SHARE for plan in plans if plan)
    assert plans == sorted(plans, key=lambda plan: plan is None)  # once too long, always too long


@pytest.mark.parametrize("n_valid", [-1, 1501])
def test_a_window_has_1500_frames(tiny: Model, n_valid: int) -> None:
    with pytest.raises(OutOfRange, match="frames of one window"):
        plan_frames(tiny, n_valid)


def test_only_models_of_wspy_can_be_condensed(tiny: Model) -> None:
    with pytest.raises(InputError, match="load_model"):
        plan_frames(Whisper(ModelDimensions(**asdict(tiny.dims))), N_FRAMES)


def test_frames_that_stand_out_are_landmarks() -> None:
    model = tiny_whisper(seed=3)
    model.whisper.encoder.positional_embedding[[700, 900, 1499]] *= 20
    plan = plan_frames(model, N_FRAMES)
    assert plan is not None
    assert plan.landmarks == (700, 900, 1499)
    assert not set(plan.landmarks) & set(plan.knots)
    assert plan.frames[-1] == 1499
    mel = torch.from_numpy(log_mel(tones()))[None]
    exact, condensed = encode(model, mel), encode(model, mel, plan=plan)
    assert exact is not None
    assert condensed is not None
    assert torch.allclose(condensed[:, :N_FRAMES], exact[:, :N_FRAMES], atol=1e-2)


# --- agreement with the whole window ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "full", [FramePlan(1500, 1500, (), ()), FramePlan(1500, 130, tuple(range(130, 1500)), ())], ids=["head", "knots"]
)
def test_a_full_plan_is_exact(tiny: Model, clips: Tensor, full: FramePlan) -> None:
    exact, condensed = encode(tiny, clips), encode(tiny, clips, plan=full)
    assert exact is not None
    assert condensed is not None
    assert torch.allclose(condensed, exact, atol=1e-5)


def test_what_the_reference_knows_is_exact(tiny: Model, plan: FramePlan) -> None:
    """A clip of padding: every frame left out is filled in with what it would have been."""
    exact, condensed = values(tiny, silence(), None), values(tiny, silence(), plan)
    for site in ("encoder.blocks.0.attn", NEURONS, "encoder.ln_post"):
        assert torch.allclose(condensed[site], exact[site][:, list(plan.frames)], atol=1e-5)
    pattern = "encoder.blocks.1.attn.pattern"
    assert condensed[pattern].shape == (1, 2, len(plan.frames), 1500)
    assert torch.allclose(condensed[pattern], exact[pattern][:, :, list(plan.frames)], atol=1e-6)


def test_a_clip_is_nearly_exact_with_its_own_frames_first(tiny: Model, clips: Tensor, plan: FramePlan) -> None:
    exact, condensed = values(tiny, clips, None), values(tiny, clips, plan)
    for site, whole in exact.items():
        part = condensed[site]
        if site.endswith("pattern"):
            assert torch.allclose(part[:, :, :N_FRAMES], whole[:, :, :N_FRAMES], atol=1e-4)
        elif "conv" in site:
            n = N_FRAMES * (2 if site.endswith("conv1") else 1)
            assert torch.allclose(part[:, :, :n], whole[:, :, :n], atol=1e-6)
        else:
            assert part.shape[1] == len(plan.frames)
            assert torch.allclose(part[:, :N_FRAMES], whole[:, :N_FRAMES], atol=3e-3)
    assert torch.equal(condensed["encoder.blocks.0.attn_ln"], exact["encoder.blocks.0.attn_ln"][:, list(plan.frames)])


def test_sound_in_the_padding_is_refused(tiny: Model, mel: Tensor, plan: FramePlan) -> None:
    with pytest.raises(InputError, match="sound beyond the 100 frames"):
        encode(tiny, mel, plan=plan)


def test_a_change_of_weights_makes_a_new_reference(clips: Tensor) -> None:
    model = tiny_whisper(seed=5)
    for change in (None, 0.5):
        if change is not None:
            model.whisper.encoder.blocks[0].attn.value.weight.mul_(change)
        plan = plan_frames(model, N_FRAMES)
        assert plan is not None
        exact, condensed = encode(model, silence()), encode(model, silence(), plan=plan)
        assert exact is not None
        assert condensed is not None
        assert torch.allclose(condensed, exact[:, list(plan.frames)], atol=1e-5)


# --- hooks ------------------------------------------------------------------------------------------------


def test_stop_after_ends_the_pass(tiny: Model, clips: Tensor, plan: FramePlan) -> None:
    with capture(tiny, "encoder.blocks.*.mlp.1") as cache:
        assert encode(tiny, clips, stop_after="encoder.blocks.0.mlp.1", plan=plan) is None
    assert list(cache) == ["encoder.blocks.0.mlp.1"]
    with pytest.raises(UnknownSite):
        encode(tiny, clips, stop_after="encoder.blocks.9", plan=plan)


@pytest.mark.parametrize("n_valid", [N_FRAMES, 0])
@pytest.mark.parametrize(
    ("last", "n_frames"), [("attn_ln", None), ("attn.heads", "own"), ("attn", "own"), ("mlp.1", "own")]
)
def test_within_the_block_where_a_pass_stops_only_the_clips_own_frames_go_on(
    tiny: Model, clips: Tensor, n_valid: int, last: str, n_frames: str | None
) -> None:
    plan = plan_frames(tiny, n_valid)
    assert plan is not None
    mel, site = clips if n_valid else silence(), f"encoder.blocks.1.{last}"
    through = values(tiny, mel, plan, site)[site]
    with capture(tiny, ["encoder.blocks.0", site]) as cache:
        encode(tiny, mel, stop_after=site, plan=plan)
    assert cache["encoder.blocks.0"].shape[1] == len(plan.frames)
    assert cache[site].shape[1] == (plan.n_own if n_frames else len(plan.frames))
    assert torch.allclose(cache[site], through[:, : cache[site].shape[1]], atol=1e-5)


def test_patches_act_once_on_the_planned_frames(clips: Tensor) -> None:
    model, shapes = tiny_whisper(seed=6), []  # a fresh model: its reference is computed inside the patch

    def without_unit(value: Tensor) -> Tensor:
        shapes.append(tuple(value.shape))
        value[..., 3] = 0
        return value

    with patch(model, {"encoder.blocks.0.mlp.1": without_unit}):
        plan = plan_frames(model, N_FRAMES)
        assert plan is not None
        condensed = values(model, clips, plan, NEURONS)[NEURONS]
        assert shapes == [(2, len(plan.frames), 256)]
        exact = values(model, clips, None, NEURONS)[NEURONS]
    unpatched = values(model, clips, None, NEURONS)[NEURONS]
    own = slice(N_FRAMES)
    error = (condensed[:, own] - exact[:, own]).norm()
    assert error < 0.1 * (unpatched[:, own] - exact[:, own]).norm()


def test_other_threads_keep_whole_windows(tiny: Model, clips: Tensor, plan: FramePlan) -> None:
    elsewhere: list[Tensor | None] = []

    def meanwhile(value: Tensor) -> Tensor:
        thread = threading.Thread(target=lambda: elsewhere.append(encode(tiny, clips[:1])))
        thread.start()
        thread.join()
        return value

    with patch(tiny, {"encoder.blocks.0.attn_ln": meanwhile}):
        encode(tiny, clips, plan=plan)
    exact = encode(tiny, clips[:1])
    assert exact is not None
    assert elsewhere[0] is not None
    assert torch.allclose(elsewhere[0], exact, atol=1e-5)


def test_gradients_flow_through_what_is_filled_in(clips: Tensor) -> None:
    model = tiny_whisper(seed=7)
    with torch.inference_mode():
        plan = plan_frames(model, N_FRAMES)  # the reference outlives the mode in which it was made
    with torch.enable_grad():
        sound = clips[:1].clone().requires_grad_()
        condensed, exact = encode(model, sound, plan=plan), encode(model, sound)
        assert condensed is not None
        assert exact is not None
        slopes = [torch.autograd.grad(out[:, :N_FRAMES].square().sum(), sound)[0] for out in (condensed, exact)]
    ours, theirs = (slope[..., : 2 * N_FRAMES].flatten() for slope in slopes)
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.999


# --- measuring it -----------------------------------------------------------------------------------------


def test_agreement_is_pearsons_r_over_valid_frames(tiny: Model) -> None:
    sounds = [tones(2.0), tones(1.0) * np.float32(0.3), tones(29.0), tones(2.1)]
    exact, condensed = [], []
    for sound in sounds:
        plan, n = plan_frames(tiny, n_frames(len(sound))), n_frames(len(sound))
        if plan is not None:
            mel = torch.from_numpy(log_mel(sound))[None]
            exact.append(values(tiny, mel, None, NEURONS)[NEURONS][0, :n])
            condensed.append(values(tiny, mel, plan, NEURONS)[NEURONS][0, :n])
    x, y = (torch.cat(parts).numpy().astype(float) for parts in (exact, condensed))
    sites = ["encoder.blocks.0.attn.heads", NEURONS]
    heads, found = measure_agreement(tiny, sites, iter(sounds))
    assert (found.site, found.n_clips, found.n_frames) == (NEURONS, 3, len(x))
    expected = np.array([np.corrcoef(x[:, unit], y[:, unit])[0, 1] for unit in range(x.shape[1])])
    live = x.std(axis=0) > 1e-3
    assert found.n_live == live.sum() > 0
    assert np.allclose(found.r[live], expected[live], atol=1e-6)
    assert np.isnan(found.r[~live]).all()
    assert found.quantile(0.5) == np.median(found.r[live]) > 0.999
    assert heads.r.shape == (64,)


def test_agreement_without_a_plan_is_unknown(tiny: Model) -> None:
    (found,) = measure_agreement(tiny, NEURONS, [tones(29.0)])
    assert (found.n_clips, found.n_frames, found.n_live) == (0, 0, 0)
    assert np.isnan(found.quantile(0.5))


@pytest.mark.parametrize("site", ["encoder.conv1", "encoder.blocks.0.attn.pattern", "decoder.blocks.0.mlp.1"])
def test_agreement_wants_rows_per_frame(tiny: Model, site: str) -> None:
    with pytest.raises(InputError, match="no row per audio frame"):
        measure_agreement(tiny, site, [tones()])


@pytest.mark.real
@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_real_speech_agrees(name: str, shared_data: Path) -> None:
    model = wspy.load_model(name, "cpu")
    folders = ("aligned/ljspeech", "speech/kerstin")
    files = [file for folder in folders for file in sorted((shared_data / folder).rglob("*.flac"))[:2]]
    clips = [load_audio(file, 0.5, 2.5) for file in files]
    for found in measure_agreement(model, "encoder.blocks.*.mlp.1", clips):
        assert found.quantile(0.5) > 0.998
        assert found.quantile(0.05) > 0.97
