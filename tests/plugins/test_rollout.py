"""The rollout plugin: maps equal hand-made ones, gradients equal a written-out attention's, bad input is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import whisper.model
from torch import Tensor

import wspy
from wspy.audio import FRAME_SAMPLES, SAMPLE_RATE, log_mel, write_wav
from wspy.blocks import Audio, Figure, Table, Text
from wspy.errors import AudioSilent, AudioTooLong, BadInput, NothingToExplain, WordNotHeard
from wspy.model import Model, Segment, TokenSequence, Transcription, forced_tokens
from wspy.testing import tiny_whisper
from wspy_rollout import measure, relevance
from wspy_rollout import run as rollout_run

SAID = " she sells"


def noise(n_frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.05, size=n_frames * FRAME_SAMPLES).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_whisper(seed=5)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "noise.wav"
    write_wav(path, noise(100))
    return path


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch, model: Model) -> list[str]:
    """What the model writes: random weights write hundreds of tokens, and these tests need a few."""
    said = [SAID]

    def transcribe(*_: object, **__: object) -> list[Transcription]:
        tokens = tuple(model.tokenizer().encode(said[0]))
        segments = (Segment(0.0, None, said[0], tokens),) if tokens else ()
        return [Transcription(said[0].strip(), tokens, "en", -0.3, 0.1, segments)]

    monkeypatch.setattr(rollout_run, "transcribe", transcribe)
    return said


# --- known answers ----------------------------------------------------------------------------------------


def test_two_layers_of_two_frames_and_two_heads_by_hand() -> None:
    # Layer 1 looks back: frame 1 at frame 0. Layer 2 mixes. The gradients are given by the targets' weights.
    first = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [1.0, 0.0]]]], requires_grad=True)
    second = torch.tensor([[[[0.25, 0.75], [0.5, 0.5]], [[0.5, 0.5], [0.0, 1.0]]]], requires_grad=True)
    wanted = torch.tensor([[[[2.0, 5.0], [4.0, -6.0]], [[0.0, 1.0], [1.0, 1.0]]]])
    target = (first * wanted).sum() + (second * wanted).sum()
    layers = relevance.contributions(target, [first, second])
    # Head 0 gives 2*1, 5*0, 4*0.5, and -6*0.5, which counts as 0; head 1 gives 0, 0, 1*1, 0: halves of their sums.
    torch.testing.assert_close(layers[0], torch.tensor([[1.0, 0.0], [1.5, 0.0]]))
    # Head 0: 2*0.25, 5*0.75, 4*0.5, 0; head 1: 0, 0.5, 0, 1.
    torch.testing.assert_close(layers[1], torch.tensor([[0.25, 2.125], [1.0, 0.5]]))
    # R1 = 1 + A1 = [[2, 0], [1.5, 1]]; A2 R1 = [[3.6875, 2.125], [2.75, 0.5]]; R2 = R1 + A2 R1.
    expected = torch.tensor([[5.6875, 2.125], [4.25, 1.5]])
    torch.testing.assert_close(relevance.self_relevance(layers), expected - torch.eye(2))


def test_plain_rollout_by_hand() -> None:
    first = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    second = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]])
    # (A1 + 1) / 2 = [[1, 0], [.5, .5]]; mean heads of A2 = [[.5, .5], [0, 1]], so (A2 + 1) / 2 = [[.75, .25], [0, 1]].
    product = torch.tensor([[0.875, 0.125], [0.5, 0.5]])
    torch.testing.assert_close(relevance.plain_rollout([first, second]), product - torch.eye(2) / 4)


def naive_cross(own: list[Tensor], cross: list[Tensor], encoder: list[Tensor]) -> Tensor:
    """Equations 6 to 10 as they are printed, with whole matrices."""
    frames, tokens = torch.eye(cross[0].shape[1]), torch.eye(len(own[0]))
    both = torch.zeros_like(cross[0])

    def normalised(whole: Tensor) -> Tensor:
        rest = whole - torch.eye(len(whole))
        shares = torch.nan_to_num(rest / rest.sum(dim=-1, keepdim=True))  # 0 / 0, for a row that gathered nothing, is 0
        return shares + torch.eye(len(whole))

    for layer in encoder:
        frames = frames + layer @ frames
    for own_layer, cross_layer in zip(own, cross, strict=True):
        both, tokens = both + own_layer @ both, tokens + own_layer @ tokens
        both = both + normalised(tokens).T @ cross_layer @ normalised(frames)
    return both


def test_words_go_through_the_encoder_as_the_printed_equations_say() -> None:
    torch.manual_seed(0)
    own, cross = [torch.rand(3, 3).tril() for _ in range(2)], [torch.rand(3, 5) for _ in range(2)]
    encoder = [torch.rand(5, 5) for _ in range(3)]
    found = relevance.through_encoder(relevance.cross_relevance(own, cross), encoder)
    torch.testing.assert_close(found, naive_cross(own, cross, encoder))


def test_maps_without_anything_in_them_divide_by_nothing() -> None:
    empty = [torch.zeros(4, 4)] * 2
    assert not relevance.self_relevance(empty).any()
    rows = relevance.cross_relevance([torch.zeros(3, 3)] * 2, [torch.ones(3, 4)] * 2)
    torch.testing.assert_close(relevance.through_encoder(rows, empty), torch.full((3, 4), 2.0))
    nothing = np.zeros((4, 4), np.float32)
    assert measure.mass_within(nothing, slice(0, 4), 1) is None
    assert measure.mass_in(nothing, slice(2, 4), slice(0, 1)) is None
    assert measure.shortest_half(nothing[0]) is None and measure.inside(nothing[0], slice(0, 1)) is None


def test_distances_and_spans_by_hand() -> None:
    relevant = np.array([[4, 0, 0, 4], [1, 1, 0, 0], [0, 0, 0, 5], [0, 0, 5, 0]], dtype=np.float32)
    assert measure.mass_within(relevant, slice(0, 2), 0) == pytest.approx(0.5)
    assert measure.mass_within(relevant, slice(0, 2), 1) == pytest.approx(0.6)
    assert measure.uniform_within(4, slice(0, 2), 1) == pytest.approx(5 / 8)
    assert measure.mass_in(relevant, slice(2, 4), slice(3, 4)) == pytest.approx(0.5)
    assert measure.shortest_half(np.array([1, 0, 0, 2, 2, 1, 0])) == (3, 5)
    assert measure.shortest_half(np.array([0, 0, 7.0])) == (2, 3)
    assert measure.inside(np.array([1.0, 2, 1]), slice(1, 2)) == 0.5


# --- agreement --------------------------------------------------------------------------------------------


def written_out_encoder(model: Model, mel: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The encoder from its weights, attention as in the textbook, with the patterns it used."""
    encoder = model.whisper.encoder
    x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).transpose(1, 2) + encoder.positional_embedding
    patterns = []
    for block in encoder.blocks:
        attention, read = block.attn, block.attn_ln(x)
        heads = [
            part(read).unflatten(-1, (attention.n_head, -1)).transpose(1, 2)
            for part in (attention.query, attention.key, attention.value)
        ]
        pattern = torch.softmax(heads[0] @ heads[1].transpose(-1, -2) / math.sqrt(heads[0].shape[-1]), dim=-1)
        if not pattern.requires_grad:
            pattern.requires_grad_(True)
        patterns.append(pattern)
        x = x + attention.out((pattern @ heads[2]).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.mlp_ln(x))
    return encoder.ln_post(x), patterns


def test_gradients_of_encoder_patterns_equal_those_of_a_written_out_attention(model: Model) -> None:
    mel = torch.from_numpy(log_mel(noise(60)))[None]
    encoded = relevance.encoder_pass(model, mel)
    found = torch.autograd.grad(encoded.features.sum(), encoded.patterns)
    features, patterns = written_out_encoder(model, mel)
    expected = torch.autograd.grad(features.sum(), patterns)
    torch.testing.assert_close(encoded.features, features, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_gradients_of_a_token_equal_those_of_whispers_own_eager_path(model: Model) -> None:
    """openai-whisper's attention with its fused kernel turned off, and hooks that know nothing of sites."""
    mel = torch.from_numpy(log_mel(noise(60)))[None]
    sequence = forced_tokens(model, SAID)
    place = sequence.n_prompt + 1
    encoded = relevance.encoder_pass(model, mel)
    decoded = relevance.decoder_pass(model, encoded, sequence)
    found = torch.autograd.grad(
        decoded.logits[place - 1, sequence.ids[place]], [*encoded.patterns, *decoded.own, *decoded.cross]
    )
    assert len(found) == 6 and decoded.cross[0].shape == (1, 2, len(sequence.ids), 1500)

    kept: list[Tensor] = []

    def softmax(*args: object, **kwargs: object) -> Tensor:
        pattern = original(*args, **kwargs)
        if not pattern.requires_grad:
            pattern.requires_grad_(True)
        kept.append(pattern)
        return pattern

    original = whisper.model.F.softmax
    eager = tiny_whisper(seed=5).whisper
    for module in eager.modules():
        if isinstance(module, whisper.model.MultiHeadAttention):
            module.__class__ = whisper.model.MultiHeadAttention
    with pytest.MonkeyPatch.context() as changed, whisper.model.disable_sdpa():
        changed.setattr(whisper.model.F, "softmax", softmax)
        logits = eager.decoder(torch.tensor([sequence.ids]), eager.encoder(mel))[0]
    expected = torch.autograd.grad(
        logits[place - 1, sequence.ids[place]], [*kept[:2], kept[2], kept[4], kept[3], kept[5]]
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_nothing_of_a_trace_stays_behind(model: Model) -> None:
    mel = torch.from_numpy(log_mel(noise(60)))[None]
    relevance.encoder_pass(model, mel)
    assert not any(module._forward_hooks for module in model.whisper.modules())
    assert not any(parameter.requires_grad for parameter in model.whisper.parameters())


# --- the analysis -----------------------------------------------------------------------------------------


def test_the_encoder_as_target_gives_the_map_its_reach_and_its_ending(model, recording, heard):
    result = wspy.analyze("rollout", audio=recording, model=model)
    assert (result.end_frame, result.duration_s, result.text) == (100, 2.0, "she sells")
    assert [word.label for word in result.words] == ["she", "sells"]
    with np.load(result.file(result.arrays)) as stored:
        frames, plain = stored["map"], stored["rollout"]
    assert frames.shape == plain.shape == (1500, 1500) and frames.dtype == np.float32 and frames.min() >= 0
    np.testing.assert_allclose(plain.astype(np.float64).sum(axis=1), 0.75, rtol=2e-3)
    assert [reach.frames for reach in result.reach] == [5, 10, 25, 50, 100]
    for reach in result.reach:
        near = np.abs(np.arange(100)[:, None] - np.arange(1500)[None, :]) <= reach.frames
        assert reach.relevance == pytest.approx(frames[:100][near].sum() / frames[:100].sum(), rel=1e-4)
        assert reach.uniform == pytest.approx(near.mean())
        assert reach.even == pytest.approx(near[:, :100].mean())
    assert result.to_padding == pytest.approx(frames[:100, 100:].sum() / frames[:100].sum(), rel=1e-4)
    last = result.endings[0]
    assert (last.of, last.start_s, last.end_s) == ("audio", 1.0, 2.0)
    assert last.relevance == pytest.approx(frames[100:, 50:100].sum() / frames[100:].sum(), rel=1e-4)
    assert last.uniform == pytest.approx(50 / 1500)
    assert not result.explained and not result.doubtful
    blocks = result._view()
    assert [type(block) for block in blocks] == [Text, Table, Table, Audio, *[Figure] * 4]
    assert "she sells" in blocks[0].markdown
    close, whole = blocks[4], blocks[5]
    assert close.spec["data"][0]["z"]["shape"] == "150, 150" and whole.spec["data"][0]["z"]["shape"] == "300, 300"
    assert [shape["x0"] for shape in whole.spec["layout"]["shapes"]] == [2.0, 0]  # where the audio ends


def test_every_token_in_turn_follows_the_printed_equations_and_a_word_is_their_sum(model: Model) -> None:
    mel = torch.from_numpy(log_mel(noise(60)))[None]
    sequence = forced_tokens(model, SAID)
    encoded = relevance.encoder_pass(model, mel)
    decoded = relevance.decoder_pass(model, encoded, sequence)
    places = (sequence.n_prompt, sequence.n_prompt + 1)
    rows = []
    for place in places:
        row, _ = rollout_run._token_relevance(encoded, decoded, sequence, place)
        found = relevance.contributions(
            decoded.logits[place - 1, sequence.ids[place]], [*encoded.patterns, *decoded.own, *decoded.cross]
        )
        expected = naive_cross(found[2:4], found[4:], found[:2])[place - 1]
        np.testing.assert_allclose(row, expected.numpy(), rtol=1e-3, atol=1e-5 * float(expected.max()))
        rows.append(row)
    time = rollout_run.WordTime(label="shesells", start_s=0, end_s=1)
    words = [rollout_run.Word(time, places), rollout_run.Word(time, (places[1],))]
    summed = rollout_run._by_word(np.stack([*rows, rows[1]]), words)
    np.testing.assert_allclose(summed, [rows[0] + rows[1], rows[1]])


def test_every_word_in_turn_and_one_alone_agree(model, recording, heard):
    heard[0] = " she sells"
    every = wspy.analyze("rollout", audio=recording, target="words", model=model)
    assert [found.word.label for found in every.explained] == ["she", "sells"]
    one = wspy.analyze("rollout", audio=recording, target="word", word="SELLS.", model=model)
    (found,) = one.explained
    assert found.others is None and every.explained[1].others is not None
    assert found.peak_s == every.explained[1].peak_s
    with np.load(every.file(every.arrays)) as all_words, np.load(one.file(one.arrays)) as one_word:
        np.testing.assert_allclose(one_word["words"][0], all_words["words"][1], rtol=1e-4)
        own = one_word["words"][0][:100].astype(np.float64)
    span = slice(max(int(found.word.start_s * 50 - 10 + 1e-6), 0), min(round(found.word.end_s * 50 + 10), 100))
    assert found.inside == pytest.approx(own[span].sum() / own.sum(), abs=0.03)
    assert 0 < found.chance <= 1 and found.padding > 0.5  # random weights do not know where the sound ends
    kinds = [type(block) for block in every._view()]
    assert kinds == [Text, Table, Table, Table, Audio, *[Figure] * 7]


def test_a_word_of_several_tokens_is_the_sum_of_its_tokens(model: Model) -> None:
    mel = torch.from_numpy(log_mel(noise(60)))[None]
    encoded = relevance.encoder_pass(model, mel)
    sequence = forced_tokens(model, SAID)
    decoded = relevance.decoder_pass(model, encoded, sequence)
    places = [sequence.n_prompt, sequence.n_prompt + 1]
    together = rollout_run._logits(decoded, sequence, places)
    alone = [rollout_run._logits(decoded, sequence, [place]) for place in places]
    torch.testing.assert_close(together, sum(alone))


def test_a_token_of_a_word_can_be_chosen(model: Model) -> None:
    tokenizer = model.tokenizer()
    ids = tokenizer.encode(" hullabaloo")
    assert len(ids) > 1
    sequence = TokenSequence((50257, *ids, 50256), 1)
    time = rollout_run.WordTime(label="hullabaloo", start_s=0, end_s=1)
    word = rollout_run.Word(time, tuple(range(1, 1 + len(ids))))
    piece = tokenizer.decode([ids[1]])
    assert rollout_run._pick(model, sequence, [word], piece, 1).places == (2,)
    assert rollout_run._pick(model, sequence, [word], "Hullabaloo!", 1) is word


# --- bad input --------------------------------------------------------------------------------------------


def test_a_word_that_is_not_there_is_answered_with_those_that_are(model, recording, heard):
    with pytest.raises(WordNotHeard, match=r"does not hear 'shells' here\. It hears: she, sells"):
        wspy.analyze("rollout", audio=recording, target="word", word="shells", model=model)
    with pytest.raises(WordNotHeard, match=r"does not hear 'she' a 2\. time"):
        wspy.analyze("rollout", audio=recording, target="word", word="she", occurrence=2, model=model)


@pytest.mark.parametrize("asked", [{"target": "word"}, {"word": "she"}, {"target": "words", "word": "she"}])
def test_a_word_and_its_target_need_each_other(model, recording, asked):
    with pytest.raises(BadInput, match="--target word --word WORD"):
        wspy.analyze("rollout", audio=recording, model=model, **asked)


def test_no_words_to_explain(model, recording, heard):
    heard[0] = ""
    with pytest.raises(NothingToExplain, match=r"writes no word for noise\.wav.*--target encoder"):
        wspy.analyze("rollout", audio=recording, target="words", model=model)


def test_silence_and_long_audio_are_refused(model, tmp_path):
    write_wav(tmp_path / "zero.wav", np.zeros(SAMPLE_RATE, np.float32))
    with pytest.raises(AudioSilent):
        wspy.analyze("rollout", audio=tmp_path / "zero.wav", model=model)
    write_wav(tmp_path / "long.wav", noise(1501))
    with pytest.raises(AudioTooLong, match=r"long\.wav lasts 30\.0 s"):
        wspy.analyze("rollout", audio=tmp_path / "long.wav", model=model)


@pytest.mark.parametrize(
    ("no_speech_prob", "avg_logprob", "said"),
    [(0.1, -0.3, ""), (0.83, -0.3, "83% that nobody speaks"), (0.1, -1.4, "log-probability of -1.40")],
)
def test_text_that_is_likely_made_up_is_named(no_speech_prob: float, avg_logprob: float, said: str) -> None:
    written = Transcription("Thank you.", (1,), "en", avg_logprob, no_speech_prob, ())
    doubts = rollout_run._doubts(written)
    assert said in doubts and bool(doubts) == bool(said)


def test_a_full_window_without_words_has_no_ending(model, tmp_path, heard):
    heard[0] = ""
    write_wav(tmp_path / "full.wav", noise(1500))
    result = wspy.analyze("rollout", audio=tmp_path / "full.wav", model=model)
    assert (result.end_frame, result.endings, result.text, result.words) == (1500, (), "", ())
    assert "writes nothing" in result._view()[0].markdown
