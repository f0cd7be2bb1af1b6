"""The heads plugin: planted heads are measured as they were made, and masks and lists are exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

import wspy
from wspy.audio import log_mel
from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.errors import BadInput, NothingAligned, OutOfRange, WindowTooWide
from wspy.model import Model, Transcription, attention_bias, band_bias, encode, for_heads, patch
from wspy.testing import tiny_whisper
from wspy_heads import Heads
from wspy_heads.decoder import dump_heads, peak_times

WORDS = ("alpha", "beta", "gamma", "delta", "echo")
SPANS = [(0.2, 0.5), (0.5, 0.9), (0.9, 1.2), (1.3, 1.6), (1.6, 1.9)]
GOOD = (1, 0)
"""The decoder head that is planted to follow the words."""


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_whisper(seed=12)


def noise(seed: int, seconds: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=round(seconds * 16_000)).astype(np.float32)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    words = tuple(Interval(start, end, word) for (start, end), word in zip(SPANS, WORDS, strict=True))
    alignment = Alignment(words, (), "none", "by hand")
    return Corpus.in_memory("words", [(noise(n), Clip(f"clip{n}", text=" ".join(WORDS)), alignment) for n in range(6)])


def write(features: Tensor) -> str:
    """Three words that tell features apart; in letters, for the normalizer takes digits for numbers."""
    digits = [str(abs(int(100 * float(features[frame, 3])))) for frame in (5, 40, 80)]
    return " ".join("w" + digit.translate(str.maketrans("0123456789", "abcdefghij")) for digit in digits)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What the decoder was given; it is replaced by a function of the features."""
    seen: list[Tensor] = []

    def fake(
        _: Model, features: Tensor, languages: Sequence[str | None], ends_s: Sequence[float]
    ) -> list[Transcription]:
        assert len(features) == len(languages) == len(ends_s)
        seen.extend(features)
        return [Transcription(write(row), (), "en", -0.5, 0.1, ()) for row in features]

    monkeypatch.setattr("wspy_heads.encoder.transcribe_mixed", fake)
    return seen


# --- encoder ----------------------------------------------------------------------------------------------


def test_planted_patterns_have_the_reach_they_were_given(model, corpus):
    frame = torch.arange(1500)
    apart = (frame[:, None] - frame).abs()

    def plant(pattern: Tensor) -> Tensor:
        pattern = torch.zeros_like(pattern)
        pattern[:, 0] = (apart == 4) / (apart == 4).sum(-1, keepdim=True)  # four frames to either side
        pattern[:, 1] = 1 / 1500  # everywhere
        return pattern

    with patch(model, {f"encoder.blocks.{layer}.attn.pattern": plant for layer in (0, 1)}):
        found = wspy.analyze("heads", side="encoder", causal=False, model=model, corpus=corpus, limit=2).encoder
    assert found is not None and [(head.layer, head.head) for head in found.heads] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    local, even = found.heads[0].reach, found.heads[1].reach
    assert local.distance_frames == pytest.approx(4) and local.distance_ms == pytest.approx(80)
    # The outermost four frames on either side have one neighbour inside, the others two.
    assert local.entropy_bits == pytest.approx(0.92, abs=0.001)
    assert {mass.k: round(mass.share, 6) for mass in local.mass}[5] == 1
    assert local.to_padding == pytest.approx(4 * 0.5 / 100) and local.from_padding == pytest.approx(4 * 0.5 / 1400)
    for name in ("distance_frames", "entropy_bits", "to_padding", "from_padding"):
        assert getattr(even, name) == pytest.approx(getattr(found.uniform, name), rel=1e-4)
    assert even.distance_frames == pytest.approx((100**2 - 1) / 300, rel=1e-4)
    assert even.entropy_bits == pytest.approx(np.log2(100), rel=1e-4) and even.to_padding == pytest.approx(14 / 15)
    assert found.heads[0].verdict.startswith("near: 100%")
    assert found.heads[1].verdict.startswith("far: ") and found.heads[1].effect == "not tested"


def test_each_head_is_masked_alone_and_groups_at_once(model, corpus, written):
    result = wspy.analyze("heads", side="encoder", k=6, model=model, corpus=corpus, limit=3)
    found = result.encoder
    names = [(0, 0), (0, 1), (1, 0), (1, 1)]
    mels = torch.from_numpy(np.stack([log_mel(corpus.audio(clip)) for clip in (corpus.clips[at] for at in (0, 2, 5))]))
    groups = [[], *([name] for name in names), *(list(group.heads) for group in found.together)]
    assert len(written) == 3 * len(groups)
    for at, group in enumerate(groups):
        band = band_bias(6)
        biases = {
            f"encoder.blocks.{layer}.attn": for_heads(band, [head for where, head in group if where == layer], 2)
            for layer in {layer for layer, _ in group}
        }
        with attention_bias(model, biases):
            expected = encode(model, mels)
        assert torch.allclose(torch.stack(written[3 * at : 3 * at + 3]), expected, atol=1e-4), group
    assert found.together[-1].name == "every head" and len(found.together[-1].heads) == 4
    assert {head.effect for head in found.heads} <= {"harmless", "needed", "undecided"}
    assert found.n_words == 9


def test_effects_follow_the_interval(model, corpus, monkeypatch):
    calls = iter(range(1000))

    def fake(_: Model, features: Tensor, languages: object, ends_s: object) -> list[Transcription]:
        # Call 0 is unmasked; head (0, 1) breaks everything, (1, 0) one clip of six, the others nothing.
        call = next(calls)
        broken = {2: range(6), 3: range(1)}.get(call, range(0))
        texts = ["x y z" if at in broken else "a b c" for at in range(len(features))]
        return [Transcription(text, (), "en", -0.5, 0.1, ()) for text in texts]

    monkeypatch.setattr("wspy_heads.encoder.transcribe_mixed", fake)
    found = wspy.analyze("heads", side="encoder", model=model, corpus=corpus).encoder
    assert [head.effect for head in found.heads] == ["harmless", "needed", "undecided", "harmless"]
    assert [head.wer for head in found.heads] == [0, 1, pytest.approx(1 / 6), 0]
    assert "the transcript needs the rest" in found.heads[1].verdict
    assert [(group.name, len(group.heads)) for group in found.together] == [
        ("harmless by themselves", 2),
        ("all the others", 2),
        ("every head", 4),
    ]


def test_a_corpus_without_words_divides_by_nothing(model, monkeypatch):
    monkeypatch.setattr(
        "wspy_heads.encoder.transcribe_mixed",
        lambda _, features, languages, ends_s: [Transcription("", (), "en", 0.0, 0.9, ()) for _ in features],
    )
    quiet = Corpus.in_memory("quiet", [(noise(0), Clip("a"), None), (noise(1), Clip("b"), None)])
    result = wspy.analyze("heads", model=model, corpus=quiet)
    assert result.decoder is None and result.encoder.heads[0].wer is None
    assert "no words to judge its effect by" in result.encoder.heads[0].verdict
    assert any("2 of 2 clips have no words even unmasked" in note for note in result.notes)
    Heads().view(result)
    with pytest.raises(NothingAligned):
        wspy.analyze("heads", side="decoder", model=model, corpus=quiet)


# --- decoder ----------------------------------------------------------------------------------------------


def follow_the_words(model: Model) -> dict[str, object]:
    """A patch for one decoder head: each row listens to the middle of the word that it predicts."""
    tokenizer = model.tokenizer()
    lengths = [len(tokenizer.encode(f" {word}")) for word in WORDS]
    first = len(tokenizer.sot_sequence_including_notimestamps) - 1
    layer, head = GOOD

    def plant(pattern: Tensor) -> Tensor:
        pattern = pattern.clone()
        pattern[:, head] = 1e-5
        row = first
        for (start, end), length in zip(SPANS, lengths, strict=True):
            pattern[:, head, row : row + length, round(start * 50) : round(end * 50)] = 1.0
            row += length
        pattern[:, head, row:, 96:100] = 1.0
        return pattern

    return {f"decoder.blocks.{layer}.cross_attn.pattern": plant}


def test_the_planted_aligner_is_found_and_times_the_words(model, corpus):
    with patch(model, follow_the_words(model)):
        result = wspy.analyze("heads", side="decoder", model=model, corpus=corpus)
    found = result.decoder
    best = max(found.heads, key=lambda head: head.hits)
    assert (best.layer, best.head) == GOOD and best.hits == 1 and best.shuffled < 0.2
    assert found.alignment_heads == (GOOD,) and found.held_out and found.n_words == 30
    assert found.timings[0].name == "found here: best 1 (1, 0)" and found.timings[0].mean_ms < 40
    assert found.timings[0].mean_ms < found.timings[-1].mean_ms
    assert found.published is None  # a random model comes with none
    # The list can be pasted into openai-whisper.
    before = model.whisper.alignment_heads
    try:
        model.whisper.set_alignment_heads(found.dump.encode())
        assert model.whisper.alignment_heads.indices().T.tolist() == [list(GOOD)]
    finally:
        model.whisper.register_buffer("alignment_heads", before, persistent=False)
    page = "\n".join(block.markdown for block in Heads().view(result) if isinstance(block, wspy.Text))
    assert "[[1, 0]]" in page and found.dump in page


def test_the_dump_is_that_of_openai_whisper():
    import whisper

    for name, n_layer, n_head in (("tiny.en", 4, 6), ("base", 6, 8)):
        model = tiny_whisper(n_layers=n_layer, n_heads=n_head, d_model=16 * n_head)
        model.whisper.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
        heads = [tuple(pair) for pair in model.whisper.alignment_heads.indices().T.tolist()]
        model.whisper.set_alignment_heads(dump_heads(heads, n_layer, n_head).encode())
        assert [tuple(pair) for pair in model.whisper.alignment_heads.indices().T.tolist()] == heads


def test_a_peak_is_the_centre_of_its_frame():
    weights = torch.full((1, 4, 50), 0.01)
    weights[0, 1, 10:20], weights[0, 2, 30:40] = 1.0, 1.0
    (times,) = peak_times(weights, [1, 2, 3])
    assert 0.2 <= times[0] <= 0.4 and 0.6 <= times[1] <= 0.8


def test_a_mask_that_hides_padding_only_is_refused_or_noted(model, corpus, written):
    with pytest.raises(WindowTooWide, match=r"longest clip of corpus 'words' has 100 frames \(2\.00 s\).* k below 100"):
        wspy.analyze("heads", side="encoder", k=100, model=model, corpus=corpus)
    mixed = Corpus.in_memory("mixed", [(noise(0, 0.5), Clip("a"), None), (noise(1), Clip("b"), None)])
    result = wspy.analyze("heads", side="encoder", k=30, layers=[1], heads=[0], model=model, corpus=mixed)
    assert "1 of 2 clips are no longer than 30 frames: there a mask hides padding only." in result.notes
    assert wspy.analyze("heads", side="encoder", k=100, causal=False, model=model, corpus=corpus).encoder is not None


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        ({"k": 0}, BadInput, "at least 1, not 0"),
        ({"k": 1501}, BadInput, "at most 1500"),
        ({"layers": [4]}, OutOfRange, "Layer 4 does not exist in the encoder of random-12"),
        ({"heads": [2]}, OutOfRange, "Head 2 does not exist in the encoder of random-12: choose 0 to 1"),
    ],
)
def test_bad_input_is_one_clear_line(model, corpus, values, error, match):
    with pytest.raises(error, match=match):
        wspy.analyze("heads", model=model, corpus=corpus, **values)
