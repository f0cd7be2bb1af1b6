"""The sites inside attention: right numbers, and openai-whisper's own habits undisturbed."""

from __future__ import annotations

import copy
from dataclasses import asdict

import pytest
import torch
import whisper
from torch import Tensor
from whisper.model import ModelDimensions, Whisper, disable_sdpa

from wspy.errors import OutOfRange, UnknownSite
from wspy.model import Model, attention_bias, band_bias, capture, encode, for_heads, patch
from wspy.model.attention import ObservedAttention
from wspy.testing import tiny_whisper

TOKENS = torch.tensor([[50257, 50362, 7, 8, 9], [50257, 50362, 9, 10, 11]])
PATTERNS = ["*.pattern"]


@pytest.fixture(scope="module")
def plain(tiny: Model) -> Whisper:
    """The same weights in openai-whisper's own, untouched class."""
    model = Whisper(ModelDimensions(**asdict(tiny.dims))).eval().requires_grad_(False)
    model.load_state_dict(tiny.whisper.state_dict())
    return model


def test_the_surgery_changes_neither_names_nor_output(tiny: Model, plain: Whisper, mel: Tensor) -> None:
    assert list(tiny.whisper.state_dict()) == list(plain.state_dict())
    assert torch.equal(tiny.whisper(mel, TOKENS), plain(mel, TOKENS))
    with disable_sdpa():
        assert torch.equal(tiny.whisper(mel, TOKENS), plain(mel, TOKENS))
    assert len([m for m in tiny.whisper.modules() if isinstance(m, ObservedAttention)]) == 6


def test_pattern_rows_sum_to_one_and_give_the_fused_output(tiny: Model, mel: Tensor) -> None:
    fused = tiny.whisper(mel, TOKENS)
    with capture(tiny, [*PATTERNS, "*.heads"]) as cache:
        stepwise = tiny.whisper(mel, TOKENS)
    assert torch.allclose(fused, stepwise, atol=1e-4)
    assert not torch.equal(fused, stepwise)  # it really took the other path
    for name in cache:
        if name.endswith("pattern"):
            assert torch.allclose(cache[name].sum(-1), torch.ones(()), atol=1e-5)
            assert bool((cache[name] >= 0).all())
    future = torch.ones(5, 5).triu(1).bool()
    assert not cache["decoder.blocks.0.attn.pattern"][..., future].any()
    # Pattern times values is what the fused kernel gives for each head.
    attention = tiny.whisper.encoder.blocks[0].attn
    with capture(tiny, ["encoder.blocks.0.attn_ln", "encoder.blocks.0.attn.heads"]) as bare:
        encode(tiny, mel)
    values = attention.value(bare["encoder.blocks.0.attn_ln"]).view(2, 1500, 2, 32)
    mixed = torch.einsum("bhqk,bkhd->bqhd", cache["encoder.blocks.0.attn.pattern"], values)
    assert torch.allclose(mixed, bare["encoder.blocks.0.attn.heads"], atol=1e-4)


def test_only_the_attention_that_is_listened_to_leaves_the_fast_path(
    tiny: Model, mel: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    fused = torch.nn.functional.scaled_dot_product_attention

    def count(*args: object, **options: object) -> Tensor:
        calls.append(1)
        return fused(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", count)
    encode(tiny, mel)
    assert len(calls) == 2
    with capture(tiny, ["encoder.blocks.0.attn.pattern", "encoder.blocks.1.attn.heads"]):
        encode(tiny, mel)
    assert len(calls) == 3
    encode(tiny, mel)
    assert len(calls) == 5


def test_a_patched_pattern_is_the_one_that_is_used(tiny: Model, mel: Tensor) -> None:
    def look_at_first(pattern: Tensor) -> Tensor:
        first = torch.zeros_like(pattern)
        first[..., 0] = 1
        return first

    sites = ["encoder.blocks.0.attn_ln", "encoder.blocks.0.attn.heads"]
    with patch(tiny, {"encoder.blocks.0.attn.pattern": look_at_first}), capture(tiny, sites) as cache:
        encode(tiny, mel)
    values = tiny.whisper.encoder.blocks[0].attn.value(cache[sites[0]]).view(2, 1500, 2, 32)
    assert torch.allclose(cache[sites[1]], values[:, :1].expand(-1, 1500, -1, -1), atol=1e-6)


def test_a_patched_head_is_zeroed_in_the_output(tiny: Model, mel: Tensor) -> None:
    attention = copy.deepcopy(tiny.whisper.encoder.blocks[0].attn)
    attention.out.weight[:, 32:] = 0  # the second head's columns

    def drop(heads: Tensor) -> Tensor:
        heads[:, :, 1] = 0
        return heads

    sites = ["encoder.blocks.0.attn_ln", "encoder.blocks.0.attn"]
    with patch(tiny, {"encoder.blocks.0.attn.heads": drop}), capture(tiny, sites) as cache:
        encode(tiny, mel)
    assert torch.allclose(attention(cache[sites[0]])[0], cache[sites[1]], atol=1e-6)


def test_scores_come_back_when_the_fast_path_is_off(tiny: Model, plain: Whisper, mel: Tensor) -> None:
    scores: dict[str, list[Tensor]] = {"ours": [], "theirs": []}
    for name, model in (("ours", tiny.whisper), ("theirs", plain)):
        kept = scores[name]
        handle = model.decoder.blocks[1].cross_attn.register_forward_hook(lambda m, i, o, kept=kept: kept.append(o[1]))
        with disable_sdpa():
            model(mel, TOKENS)
        handle.remove()
    assert torch.equal(scores["ours"][0], scores["theirs"][0])


def test_word_timing_is_openai_whispers(tiny: Model, plain: Whisper, mel: Tensor) -> None:
    from whisper.timing import find_alignment

    tokenizer = tiny.tokenizer()
    tokens = tokenizer.encode(" one two three")
    ours, theirs = (find_alignment(m, tokenizer, tokens, mel[0], 3000) for m in (tiny.whisper, plain))
    assert ours == theirs
    assert len(ours) >= 3


def test_decoding_with_the_cache_is_openai_whispers(tiny: Model, plain: Whisper, mel: Tensor) -> None:
    options = whisper.DecodingOptions(language="en", fp16=False, sample_len=12)
    expected = [result.tokens for result in whisper.decode(plain, mel, options)]
    assert [result.tokens for result in whisper.decode(tiny.whisper, mel, options)] == expected
    with capture(tiny, PATTERNS) as cache:
        assert [result.tokens for result in whisper.decode(tiny.whisper, mel, options)] == expected
    # The last step has one query, and as many keys as tokens so far.
    assert cache["decoder.blocks.0.attn.pattern"].shape[2] == 1
    assert cache["decoder.blocks.0.attn.pattern"].shape[3] > 2


def test_a_bias_acts_alike_on_both_paths_and_goes_away(tiny: Model, mel: Tensor) -> None:
    before = tiny.whisper(mel, TOKENS)
    barred = torch.zeros(1500)
    barred[700:] = -torch.inf
    biases = {
        "encoder.blocks.0.attn": barred,
        "decoder.blocks.1.cross_attn": torch.randn(1, 2, 1, 1500, generator=torch.Generator().manual_seed(1)),
        "decoder.blocks.0.attn": torch.randn(5, 5, generator=torch.Generator().manual_seed(2)),
    }
    with attention_bias(tiny, biases):
        fused = tiny.whisper(mel, TOKENS)
        with capture(tiny, PATTERNS) as cache:
            stepwise = tiny.whisper(mel, TOKENS)
    assert torch.allclose(fused, stepwise, atol=1e-4)
    assert not torch.allclose(fused, before, atol=1e-3)
    assert not cache["encoder.blocks.0.attn.pattern"][..., 700:].any()
    assert not cache["decoder.blocks.0.attn.pattern"][..., torch.ones(5, 5).triu(1).bool()].any()
    with pytest.raises(ZeroDivisionError), attention_bias(tiny, biases):
        raise ZeroDivisionError
    assert torch.equal(tiny.whisper(mel, TOKENS), before)
    assert "bias" not in "".join(name for name in tiny.whisper.state_dict() if name.endswith("attn.bias"))
    with (
        pytest.raises(UnknownSite, match=r"encoder\.blocks\.0\.attn"),
        attention_bias(tiny, {"encoder.blocks.0": barred}),
    ):
        pass


def test_a_key_weight_counts_a_key_many_times(mel: Tensor) -> None:
    # log 2 on a key equals that key standing there twice: the condensed pass rests on this.
    model = tiny_whisper(seed=4)
    attention = model.whisper.encoder.blocks[0].attn
    x = torch.randn(1, 10, 64, generator=torch.Generator().manual_seed(0))
    twice = torch.cat([x, x[:, -1:]], dim=1)
    expected = attention(x, twice)[0]
    weight = torch.zeros(10)
    weight[-1] = torch.log(torch.tensor(2.0))
    with attention_bias(model, {"encoder.blocks.0.attn": weight}):
        assert torch.allclose(attention(x, x)[0], expected, atol=1e-5)


def test_a_band_is_what_eager_attention_over_neighbours_gives(tiny: Model, mel: Tensor) -> None:
    k = 7
    site = "encoder.blocks.0.attn"
    with capture(tiny, [f"{site}_ln", f"{site}.pattern"]) as plain:
        encode(tiny, mel)
    with attention_bias(tiny, {site: band_bias(k)}), capture(tiny, f"{site}.heads") as masked:
        encode(tiny, mel)
    pattern = plain[f"{site}.pattern"].clone()
    frame = torch.arange(1500)
    pattern[..., (frame[:, None] - frame).abs() > k] = 0
    pattern /= pattern.sum(-1, keepdim=True)
    values = tiny.whisper.encoder.blocks[0].attn.value(plain[f"{site}_ln"]).view(2, 1500, 2, 32)
    assert torch.allclose(torch.einsum("bhqk,bkhd->bqhd", pattern, values), masked[f"{site}.heads"], atol=1e-5)


def test_a_bias_for_one_head_leaves_the_others(tiny: Model, mel: Tensor) -> None:
    site = "encoder.blocks.1.attn"
    with capture(tiny, f"{site}.heads") as plain:
        encode(tiny, mel)
    with attention_bias(tiny, {site: for_heads(band_bias(3), [1], 2)}), capture(tiny, f"{site}.heads") as masked:
        encode(tiny, mel)
    before, after = plain[f"{site}.heads"], masked[f"{site}.heads"]
    assert torch.allclose(before[:, :, 0], after[:, :, 0], atol=1e-5)
    assert not torch.allclose(before[:, :, 1], after[:, :, 1], atol=1e-2)


def test_bands_and_heads_that_do_not_exist_are_refused() -> None:
    assert torch.equal(band_bias(5, 5), torch.zeros(5, 5))
    for k in (0, 6, -1):
        with pytest.raises(OutOfRange, match="choose 1 to 5"):
            band_bias(k, 5)
    with pytest.raises(OutOfRange, match="choose 0 to 1"):
        for_heads(band_bias(1, 5), [2], 2)


def test_random_models_repeat() -> None:
    state = torch.random.get_rng_state()
    first, again, other = tiny_whisper(3), tiny_whisper(3), tiny_whisper(4)
    assert first.sha256 == again.sha256 != other.sha256
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(bool(p.isfinite().all()) for p in first.whisper.parameters())
