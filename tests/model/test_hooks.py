"""Capture and patch: they read and change exactly what they say, and leave nothing behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from wspy.errors import BadShape, InputError, OutOfRange, UnknownSite
from wspy.model import Model, capture, encode, encode_from, list_sites, patch
from wspy.testing import tiny_whisper

NEURONS = "encoder.blocks.0.mlp.1"


def n_hooks(model: Model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.whisper.modules())


def features_of(model: Model, mel: Tensor) -> Tensor:
    features = encode(model, mel)
    assert features is not None
    return features


def test_capturing_changes_no_bit(tiny: Model, mel: Tensor) -> None:
    tokens = torch.tensor([[50257, 50362, 7, 8], [50257, 50362, 9, 10]])
    before = tiny.whisper(mel, tokens)
    sites = [site.name for site in list_sites(tiny.dims) if site.kind != "pattern"]
    with capture(tiny, sites) as cache:
        during = tiny.whisper(mel, tokens)
    assert torch.equal(before, during)
    assert torch.equal(tiny.whisper(mel, tokens), before)
    assert len(cache) == len(sites)


def test_captured_values_are_the_modules_own(tiny: Model, mel: Tensor) -> None:
    encoder = tiny.whisper.encoder
    with capture(tiny, ["encoder.blocks.*", "encoder.ln_post"]) as cache:
        features = features_of(tiny, mel)
    assert torch.equal(cache["encoder.ln_post"], features)
    block = encoder.blocks[1]
    residual = cache["encoder.blocks.0"] + cache["encoder.blocks.1.attn"] + cache["encoder.blocks.1.mlp"]
    assert torch.allclose(residual, cache["encoder.blocks.1"], atol=1e-5)
    assert torch.allclose(block.mlp[2](cache["encoder.blocks.1.mlp.1"]), cache["encoder.blocks.1.mlp"], atol=1e-6)
    heads = cache["encoder.blocks.1.attn.heads"]
    assert torch.allclose(block.attn.out(heads.flatten(2)), cache["encoder.blocks.1.attn"], atol=1e-6)


@pytest.mark.parametrize("site", [s.name for s in list_sites(tiny_whisper().dims)])
def test_patching_a_site_with_its_own_value_changes_nothing(tiny: Model, mel: Tensor, site: str) -> None:
    tokens = torch.tensor([[50257, 50362, 7, 8]])
    with capture(tiny, site):
        expected = tiny.whisper(mel[:1], tokens)
    with patch(tiny, {site: lambda value: value.clone()}):
        assert torch.equal(tiny.whisper(mel[:1], tokens), expected)


def test_zeroing_a_neuron_equals_zeroing_its_column(mel: Tensor) -> None:
    model = tiny_whisper(seed=2)
    neuron = 17

    def silence(activations: Tensor) -> Tensor:
        activations[..., neuron] = 0
        return activations

    before = features_of(model, mel)
    with patch(model, {NEURONS: silence}):
        patched = features_of(model, mel)
    model.whisper.encoder.blocks[0].mlp[2].weight[:, neuron] = 0
    assert torch.allclose(patched, features_of(model, mel), atol=1e-6)
    assert not torch.allclose(patched, before, atol=1e-4)


def test_an_attention_patch_replaces_what_it_adds(tiny: Model, mel: Tensor) -> None:
    with (
        patch(tiny, {"encoder.blocks.*.attn": torch.zeros_like, "encoder.blocks.*.mlp": torch.zeros_like}),
        capture(tiny, ["encoder.conv2", "encoder.blocks.1"]) as cache,
    ):
        encode(tiny, mel)
    start = functional.gelu(cache["encoder.conv2"]).transpose(1, 2) + tiny.whisper.encoder.positional_embedding
    assert torch.equal(cache["encoder.blocks.1"], start)


def test_nested_patches_run_outermost_first_and_captures_last(tiny: Model, mel: Tensor) -> None:
    def add(value: Tensor) -> Tensor:
        return value + 1

    def double(value: Tensor) -> Tensor:
        return value * 2

    with capture(tiny, NEURONS) as plain:
        encode(tiny, mel)
    expected = (plain[NEURONS] + 1) * 2
    with capture(tiny, NEURONS) as outer, patch(tiny, {NEURONS: add}), capture(tiny, NEURONS) as middle:
        with patch(tiny, {NEURONS: double}), capture(tiny, NEURONS) as inner:
            encode(tiny, mel)
        for cache in (outer, middle, inner):
            assert torch.equal(cache[NEURONS], expected)
        encode(tiny, mel)
        assert torch.equal(outer[NEURONS], plain[NEURONS] + 1)
        assert torch.equal(inner[NEURONS], expected)  # closed, and still readable


def test_no_hook_survives(tiny: Model, mel: Tensor) -> None:
    def explode(value: Tensor) -> Tensor:
        raise ZeroDivisionError

    assert n_hooks(tiny) == 0
    with pytest.raises(ZeroDivisionError), capture(tiny, "*"), patch(tiny, {NEURONS: explode}):
        encode(tiny, mel)
    assert n_hooks(tiny) == 0
    with pytest.raises(UnknownSite), patch(tiny, {NEURONS: explode, "encoder.nowhere": explode}):
        pass
    assert n_hooks(tiny) == 0
    wrong = pytest.raises(BadShape, match=r"encoder\.blocks\.0\.mlp\.1.*\[2, 1500, 256\]")
    with wrong, patch(tiny, {NEURONS: lambda value: value[..., :3]}):
        encode(tiny, mel)
    with pytest.raises(InputError, match="returned NoneType"), patch(tiny, {NEURONS: lambda value: None}):  # type: ignore[dict-item, return-value]
        encode(tiny, mel)
    encode(tiny, mel, stop_after="encoder.blocks.0")
    with pytest.raises(ZeroDivisionError), patch(tiny, {NEURONS: explode}):
        encode(tiny, mel, stop_after="encoder.blocks.0")
    assert n_hooks(tiny) == 0


def test_a_cache_holds_the_latest_pass(tiny: Model, mel: Tensor) -> None:
    with capture(tiny, NEURONS) as cache:
        with pytest.raises(KeyError, match="has not been computed yet"):
            cache[NEURONS]
        with pytest.raises(KeyError, match="elsewhere"):
            cache["elsewhere"]
        encode(tiny, mel)
        assert cache[NEURONS].shape[0] == 2
        encode(tiny, mel[:1])
        assert cache[NEURONS].shape[0] == 1
        cache.clear()
        assert len(cache) == 0 and list(cache) == []


def test_gradients_pass_through_unless_detached(tiny: Model, mel: Tensor) -> None:
    leaf = mel[:1].clone().requires_grad_()
    with capture(tiny, NEURONS, detach=False) as cache:
        encode(tiny, leaf)
        cache[NEURONS].sum().backward()
    assert leaf.grad is not None and float(leaf.grad.abs().sum()) > 0
    with capture(tiny, NEURONS) as cache:
        encode(tiny, leaf)
    assert not cache[NEURONS].requires_grad


def test_encode_stops_after_a_site(tiny: Model, mel: Tensor) -> None:
    with capture(tiny, "encoder.*") as whole:
        encode(tiny, mel)
    for site in ("encoder.conv1", "encoder.blocks.0.attn.pattern", NEURONS, "encoder.blocks.0", "encoder.ln_post"):
        with capture(tiny, "encoder.*") as cache:
            assert encode(tiny, mel, stop_after=site) is None
        names = list(whole)
        assert list(cache) == names[: names.index(site) + 1]
        assert torch.equal(cache[site], whole[site])
        with capture(tiny, site) as cache, patch(tiny, {site: lambda value: value + 1}):
            encode(tiny, mel, stop_after=site)
        if not site.endswith("pattern"):
            assert torch.allclose(cache[site], whole[site] + 1, atol=1e-5)
    with pytest.raises(UnknownSite):
        encode(tiny, mel, stop_after="decoder.ln")
    with pytest.raises(BadShape, match=r"\[80, 3000\].*\[batch, 80, 3000\]"):
        encode(tiny, mel[0])


def test_threads_have_hooks_of_their_own(tiny: Model, mel: Tensor) -> None:
    plain = features_of(tiny, mel)
    with ThreadPoolExecutor(1) as other:

        def look_elsewhere(value: Tensor) -> Tensor:
            # In the middle of this pass, which is patched, captured and stopped, another thread runs one of its own.
            seen.append(other.submit(encode, tiny, mel).result())
            return torch.zeros_like(value)

        seen: list[Tensor | None] = []
        with capture(tiny, "encoder.ln_post") as cache, patch(tiny, {NEURONS: look_elsewhere}):
            assert encode(tiny, mel, stop_after="encoder.blocks.0") is None
        assert seen[0] is not None and torch.equal(seen[0], plain)
        assert len(cache) == 0


def test_a_bare_module_works_too(tiny: Model, mel: Tensor) -> None:
    with capture(tiny.whisper, NEURONS) as cache:
        encode(tiny.whisper, mel)
    assert cache[NEURONS].shape == (2, 1500, 256)
    from whisper.model import ModelDimensions, Whisper

    plain = Whisper(ModelDimensions(80, 1500, 64, 2, 1, 51864, 448, 64, 2, 1))
    with pytest.raises(InputError, match=r"wspy\.load_model"), capture(plain, "*.pattern"):
        pass


def test_the_encoder_can_begin_at_a_block(tiny: Model, mel: Tensor) -> None:
    with capture(tiny, "encoder.blocks.0") as cache:
        features = features_of(tiny, mel)
    assert torch.equal(encode_from(tiny, cache["encoder.blocks.0"], 1), features)
    with pytest.raises(OutOfRange, match="choose 0 to 1"):
        encode_from(tiny, cache["encoder.blocks.0"], 2)
    with pytest.raises(BadShape, match="residual"):
        encode_from(tiny, cache["encoder.blocks.0"][:, :100], 1)
