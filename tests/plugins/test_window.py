"""The window plugin: masks do what a computation by hand does, and words are counted and marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import wspy
from wspy.audio import log_mel, write_wav
from wspy.corpus import Clip, Corpus
from wspy.errors import AudioSilent, AudioTooLong, BadInput, OutOfRange, WindowTooWide
from wspy.html import render_blocks
from wspy.model import Model, Transcription, capture
from wspy.testing import tiny_whisper
from wspy_window import Window

Write = Callable[[Tensor, int], str]


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_whisper(seed=11)


def noise(seed: int, seconds: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=round(seconds * 16_000)).astype(np.float32)


@pytest.fixture
def corpus() -> Corpus:
    entries = [(noise(seed, 0.5 + 0.1 * seed), Clip(f"clip{seed}", text="alpha beta gamma"), None) for seed in range(3)]
    return Corpus.in_memory("noises", entries)


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Callable[[Write], None]:
    """Replace the decoder by a function of the features, which is exact and quick."""

    def install(write: Write) -> None:
        def fake(_: Model, features: Tensor, languages: Sequence[str | None]) -> list[Transcription]:
            assert len(features) == len(languages)
            return [
                Transcription(write(row, at), (), language or "en", -0.5, 0.1, ())
                for at, (row, language) in enumerate(zip(features, languages, strict=True))
            ]

        monkeypatch.setattr("wspy_window.sweep.transcribe_mixed", fake)

    return install


def fingerprint(row: Tensor, _: int = 0) -> str:
    """Three words that tell features apart; in letters, for the normalizer takes digits for numbers."""
    digits = [str(abs(int(1000 * float(row[frame, 3])))) for frame in (2, 10, 20)]
    return " ".join("w" + digit.translate(str.maketrans("0123456789", "abcdefghij")) for digit in digits)


def banded(model: Model, mel: Tensor, k: int, layers: Sequence[int], heads: Sequence[int]) -> Tensor:
    """The encoder's output, computed block by block from the unfused arithmetic."""
    encoder = model.whisper.encoder
    x = torch.nn.functional.gelu(encoder.conv2(torch.nn.functional.gelu(encoder.conv1(mel)))).permute(0, 2, 1)
    x = x + encoder.positional_embedding
    frame = torch.arange(1500)
    outside = (frame[:, None] - frame).abs() > k
    for layer, block in enumerate(encoder.blocks):
        normed, attn = block.attn_ln(x), block.attn
        q, key, v = (f(normed).view(1, 1500, 2, 32).transpose(1, 2) for f in (attn.query, attn.key, attn.value))
        scores = q @ key.transpose(-1, -2) / 32**0.5
        if layer in layers:
            for head in heads:
                scores[:, head][:, outside] = -torch.inf
        x = x + attn.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.mlp_ln(x))
    features: Tensor = encoder.ln_post(x)
    return features


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ({"k": [40, 5]}, [(40, [0, 1], [0, 1]), (5, [0, 1], [0, 1])]),
        ({"k": [5], "each": "layer"}, [(5, [0], [0, 1]), (5, [1], [0, 1])]),
        ({"k": [5], "each": "head", "layers": [1]}, [(5, [1], [0]), (5, [1], [1])]),
        ({"k": [5], "heads": [1], "layers": [0]}, [(5, [0], [1])]),
    ],
)
def test_every_mask_equals_attention_computed_by_hand(model, corpus, decoder, values, places):
    seen: list[Tensor] = []

    def write(row: Tensor, at: int) -> str:
        seen.append(row)
        return fingerprint(row)

    decoder(write)
    result = wspy.analyze("window", model=model, corpus=corpus, **values)
    assert isinstance(result, Window.Result)
    assert [(window.k, list(window.layers)) for window in result.windows] == [(k, layers) for k, layers, _ in places]
    for at, clip in enumerate(corpus.clips):
        mel = torch.from_numpy(log_mel(corpus.audio(clip)))[None]
        expected = [banded(model, mel, 1500, [], [])[0], *(banded(model, mel, *place)[0] for place in places)]
        rows = seen[at :: len(corpus)]
        assert len(rows) == len(expected)
        for found, wanted in zip(rows, expected, strict=True):
            assert torch.allclose(found, wanted, atol=1e-4)
        texts = [result.clips[at].unmasked.text, *(heard.text for heard in result.clips[at].masked)]
        assert texts == [fingerprint(row) for row in rows]


def test_masks_of_one_recording_share_a_pass(model, decoder, tmp_path):
    sizes = []
    decoder(lambda row, at: (sizes.append(at), fingerprint(row))[1])
    write_wav(tmp_path / "a.wav", noise(1))
    with capture(model, "encoder.ln_post") as cache:
        result = wspy.analyze("window", audio=tmp_path / "a.wav", model=model)
    assert cache["encoder.ln_post"].shape[0] == 5  # five windows in one batch
    assert [window.k for window in result.windows] == [100, 75, 50, 20, 10]
    assert sizes == [0, 0, 1, 2, 3, 4]
    assert result.audio is not None and result.file(result.audio).is_file()


def test_heads_by_themselves_are_drawn_as_layers_by_heads(model, corpus, decoder):
    decoder(fingerprint)
    result = wspy.analyze("window", k=[10, 5], each="head", layers=[1], model=model, corpus=corpus)
    figures = [block for block in Window().view(result) if isinstance(block, wspy.Figure)]
    assert [figure.title[-6:] for figure in figures] == ["k = 10", " k = 5"]
    assert figures[0].spec["data"][0]["z"]["shape"] == "1, 2"


def test_word_errors_are_pooled_and_have_intervals(model, corpus, decoder):
    # The first pass is the unmasked one; then the second clip loses a word, and the third gets one.
    texts = iter(["a b c d", "a b c d", "e f", "a b c d", "a c d", "e f g"])
    decoder(lambda row, at: next(texts))
    result = wspy.analyze("window", k=[20], model=model, corpus=corpus)
    window = result.windows[0]
    assert (window.wer, window.substituted, window.inserted, window.deleted) == (pytest.approx(0.2), 0, 1, 1)
    assert window.changed == pytest.approx(2 / 3) and window.wer_low < 0.2 < window.wer_high
    assert result.n_words == 10 and result.text_wer == pytest.approx(11 / 9)
    texts = iter(["a b c d", "a b c d", "e f", "a b c d", "a c d", "e f g"])
    again = wspy.analyze("window", k=[20], model=model, corpus=corpus)
    assert again.model_dump() == result.model_dump()  # the same seed, the same interval
    marked = next(
        b.markdown for b in Window().view(result) if isinstance(b, wspy.Text) and "Struck through" in b.markdown
    )
    assert "| k = 20 | a ~~b~~ c d | 0.10 |" in marked and "| k = 20 | e f **g** | 0.10 |" in marked
    assert "<s>b</s>" in render_blocks(Window().view(result), media=str)
    curve = next(block for block in Window().view(result) if isinstance(block, wspy.Figure))
    assert curve.spec["data"][-1]["y"][-1] == pytest.approx(11 / 9)  # unmasked, against the text


def test_silence_divides_by_nothing_and_made_up_text_is_named(model, decoder, monkeypatch):
    texts = iter(["", "", "you you", ""])
    decoder(lambda row, at: next(texts))
    entries = [(noise(seed), Clip(f"clip{seed}", text=""), None) for seed in range(2)]
    result = wspy.analyze("window", k=[20], model=model, corpus=Corpus.in_memory("quiet", entries))
    assert result.windows[0].wer is None and result.windows[0].text_wer is None and result.n_words == 0
    assert result.windows[0].inserted == 2 and result.clips[0].masked[0].made_up
    assert any("2 of 2 clips are without words" in note for note in result.notes)
    page = "".join(block.markdown for block in Window().view(result) if isinstance(block, wspy.Text))
    assert "made up: there is likely no speech" in page
    assert "WER says nothing" in page and "smallest" not in page


def test_a_clip_within_the_window_is_said_to_be(model, corpus, decoder):
    decoder(fingerprint)
    notes = wspy.analyze("window", k=[30, 20], model=model, corpus=corpus).notes
    assert any("2 of 3 clips are no longer than 30 frames (the shortest has 25, 0.50 s)" in note for note in notes)
    assert wspy.analyze("window", k=[20], model=model, corpus=corpus).notes == ()


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        ({"k": [0]}, BadInput, "at least 1, not 0"),
        ({"k": [75, 1501]}, BadInput, "at most 1500, not 1501"),
        ({"k": []}, BadInput, "k"),
        ({"layers": [2]}, OutOfRange, "Layer 2 does not exist in the encoder of random-11: choose 0 to 1"),
        ({"heads": [7]}, OutOfRange, "Head 7 does not exist in the encoder of random-11: choose 0 to 1"),
        ({"limit": 0}, BadInput, "limit"),
    ],
)
def test_bad_input_is_one_clear_line(model, corpus, values, error, match):
    with pytest.raises(error, match=match) as raised:
        wspy.analyze("window", model=model, corpus=corpus, **values)
    assert "\n" not in str(raised.value)


def test_a_sound_that_no_window_is_narrower_than_is_refused(model, corpus, decoder, tmp_path: Path):
    decoder(fingerprint)
    write_wav(tmp_path / "a.wav", noise(1))
    with pytest.raises(WindowTooWide, match=r"a\.wav has 50 frames \(1\.00 s\), and a window of k = 50 hides none"):
        wspy.analyze("window", k=[75, 50], audio=tmp_path / "a.wav", model=model)
    with pytest.raises(WindowTooWide, match=r"longest clip of corpus 'noises' has 35 frames"):
        wspy.analyze("window", k=[35], model=model, corpus=corpus)
    wspy.analyze("window", k=[34], model=model, corpus=corpus)
    full = wspy.analyze("window", k=[1500], model=model, corpus=corpus)  # the full window, which masks nothing
    assert full.windows[0].wer == 0


def test_silent_and_long_recordings_are_refused(model, tmp_path: Path):
    write_wav(tmp_path / "silent.wav", np.zeros(16_000, np.float32))
    with pytest.raises(AudioSilent):
        wspy.analyze("window", audio=tmp_path / "silent.wav", model=model)
    write_wav(tmp_path / "long.wav", noise(0, 31))
    with pytest.raises(AudioTooLong):
        wspy.analyze("window", audio=tmp_path / "long.wav", model=model)


def test_a_loop_is_shown_in_part(model, corpus, decoder):
    texts = iter(["one"] * 3 + ["so " * 400] * 3)
    decoder(lambda row, at: next(texts).strip())
    result = wspy.analyze("window", k=[20], model=model, corpus=corpus)
    page = Window().view(result)
    text = next(b.markdown for b in page if isinstance(b, wspy.Text) and "Struck through" in b.markdown)
    curve = next(block for block in page if isinstance(block, wspy.Figure))
    assert curve.spec["layout"]["yaxis"]["range"] == [0, 1.05] and "leaves the picture" in curve.caption
    assert "(400 words in all)" in text and result.windows[0].inserted == 3 * 399


def test_markup_in_a_transcript_stays_text(model, corpus, decoder):
    decoder(lambda row, at: "a *b* <script> ~~c~~ _d_ e|f")
    page = Window().view(wspy.analyze("window", k=[20], model=model, corpus=corpus))
    text = next(b.markdown for b in page if isinstance(b, wspy.Text) and "Struck through" in b.markdown)
    assert r"a \*b\* \<script\> \~\~c\~\~ \_d\_ e\|f" in text
