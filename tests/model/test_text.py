"""Transcribing, and teacher forcing against openai-whisper's own step-by-step decoding."""

from __future__ import annotations

import pytest
import torch
import whisper
from torch import Tensor
from whisper.decoding import PyTorchInference

from wspy.errors import BadShape, TooManyTokens, UnknownLanguage
from wspy.model import (
    Model,
    Segment,
    TokenSequence,
    Transcription,
    capture,
    encode,
    forced_tokens,
    teacher_force,
    transcribe,
    transcribe_mixed,
)
from wspy.model.text import _segments
from wspy.testing import tiny_whisper


@pytest.fixture(scope="module")
def multilingual() -> Model:
    return tiny_whisper(seed=6, n_vocab=51865)


def features_of(model: Model, mel: Tensor) -> Tensor:
    features = encode(model, mel)
    assert features is not None
    return features


def test_teacher_forcing_matches_step_by_step_decoding(tiny: Model, mel: Tensor) -> None:
    features = features_of(tiny, mel)
    sequences = [forced_tokens(tiny, "the quick brown fox"), forced_tokens(tiny, "jumps")]
    site = "decoder.blocks.1.mlp.1"
    with capture(tiny, site) as cache:
        forced = teacher_force(tiny, features, sequences)
    whole = cache[site].clone()
    for row, sequence in enumerate(sequences):
        inference = PyTorchInference(tiny.whisper, sequence.n_prompt)
        ids = torch.tensor([sequence.ids])
        with capture(tiny, site) as cache:
            for end in range(sequence.n_prompt, len(sequence.ids) + 1):
                step = inference.logits(ids[:, :end], features[row : row + 1])[0, -1]
                assert torch.allclose(forced.logits[row, end - 1], step, atol=1e-3, rtol=1e-4)
                assert torch.allclose(whole[row, end - 1], cache[site][0, -1], atol=1e-4)
        inference.cleanup_caching()


def test_teacher_forcing_matches_the_tokens_of_decode(tiny: Model, mel: Tensor) -> None:
    options = whisper.DecodingOptions(
        language="en", fp16=False, sample_len=10, without_timestamps=True, suppress_tokens="", suppress_blank=False
    )
    results = whisper.decode(tiny.whisper, mel, options)
    prompt = tiny.tokenizer().sot_sequence_including_notimestamps
    sequences = [TokenSequence((*prompt, *result.tokens), len(prompt)) for result in results]
    forced = teacher_force(tiny, features_of(tiny, mel), sequences)
    for row, result in enumerate(results):
        logits = forced.logits[row, len(prompt) - 1 : len(prompt) - 1 + len(result.tokens)]
        assert logits.argmax(-1).tolist() == result.tokens
        logprobs = torch.log_softmax(forced.logits[row], -1)
        total = sum(float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(result.tokens))
        assert total / (len(result.tokens) + 1) == pytest.approx(result.avg_logprob, abs=1e-3)


def test_masks_mark_prompt_text_and_padding(tiny: Model, mel: Tensor) -> None:
    sequences = [forced_tokens(tiny, "a b c d"), forced_tokens(tiny, "a")]
    forced = teacher_force(tiny, features_of(tiny, mel), sequences)
    assert sequences[1].ids == (50257, 50362, 257, 50256)
    assert sequences[1].is_prompt == (True, True, False, False)
    assert forced.logits.shape == (2, 7, tiny.dims.n_vocab)
    assert forced.valid.tolist() == [[True] * 7, [True] * 4 + [False] * 3]
    assert forced.prompt.tolist() == [[True] * 2 + [False] * 5] * 2
    alone = teacher_force(tiny, features_of(tiny, mel[1:]), sequences[1:])
    assert torch.allclose(alone.logits[0], forced.logits[1, :4], atol=1e-3)  # padding is not seen


def test_prompts_hold_language_and_task(multilingual: Model) -> None:
    tokenizer = multilingual.tokenizer("de", "translate")
    sequence = forced_tokens(multilingual, "Guten Tag", language="German", task="translate")
    expected = [tokenizer.sot, tokenizer.to_language_token("de"), tokenizer.translate, tokenizer.no_timestamps]
    assert list(sequence.ids[:4]) == expected
    assert sequence.n_prompt == 4
    assert tokenizer.decode(list(sequence.ids[4:-1])) == " Guten Tag"
    assert sequence.ids[-1] == tokenizer.eot
    # What looks like a special token is text.
    assert forced_tokens(multilingual, "<|endoftext|>").ids.count(tokenizer.eot) == 1


def test_line_ends_and_regions_of_a_language_change_nothing(multilingual: Model) -> None:
    assert forced_tokens(multilingual, " a\n b  c ", "de-DE") == forced_tokens(multilingual, "a b c", "German")


def test_bad_texts_and_languages_are_refused(tiny: Model, multilingual: Model, mel: Tensor) -> None:
    with pytest.raises(TooManyTokens, match=r"503 tokens.*448"):
        forced_tokens(tiny, "a " * 500)
    with pytest.raises(UnknownLanguage, match="'klingon'"):
        forced_tokens(multilingual, "nuqneH", language="klingon")
    with pytest.raises(UnknownLanguage, match=r"'de'.*Available: en\."):
        transcribe(tiny, mel, language="de")
    with pytest.raises(UnknownLanguage, match="'yue'"):  # Cantonese came with large-v3
        multilingual.tokenizer("yue")
    with pytest.raises(BadShape, match=r"\[80, 3000\]"):
        transcribe(tiny, mel[0])
    with pytest.raises(BadShape, match="2 windows"):
        transcribe(tiny, mel, ends_s=[1.0])
    with pytest.raises(BadShape, match="2 windows"):
        teacher_force(tiny, features_of(tiny, mel), [forced_tokens(tiny, "a")])


def test_transcribing_features_equals_transcribing_mels(multilingual: Model, mel: Tensor) -> None:
    from_mel = transcribe(multilingual, mel)
    assert from_mel == transcribe(multilingual, features_of(multilingual, mel))
    assert [len(t.tokens) > 0 for t in from_mel] == [True, True]
    assert all(t.language in ("en", *whisper.tokenizer.LANGUAGES) for t in from_mel)
    assert transcribe(multilingual, mel[:0]) == []


def test_a_transcript_ends_after_max_tokens(tiny: Model, mel: Tensor) -> None:
    whole = transcribe(tiny, mel)
    cut = transcribe(tiny, mel, max_tokens=5)
    assert all(len(w.tokens) > 5 for w in whole)
    assert [c.tokens for c in cut] == [w.tokens[:5] for w in whole]


def transcription_of(model: Model, *parts: float | str) -> Transcription:
    tokenizer = model.tokenizer()
    tokens: list[int] = []
    for part in parts:
        tokens += tokenizer.encode(part) if isinstance(part, str) else [tokenizer.timestamp_begin + round(part / 0.02)]
    text = "".join(part for part in parts if isinstance(part, str)).strip()
    return Transcription(text, tuple(tokens), "en", -0.5, 0.1, tuple(_segments(tokens, tokenizer)))


def test_text_beyond_the_end_of_the_clip_is_cut(tiny: Model) -> None:
    whole = transcription_of(tiny, 0.0, " Hello there.", 1.9, 2.0, " Thank you.", 4.0, 28.0, " Bye.")
    assert [(s.start_s, s.end_s, s.text) for s in whole.segments] == [
        (0.0, 1.9, " Hello there."),
        (2.0, 4.0, " Thank you."),
        (28.0, None, " Bye."),
    ]
    assert whole.until(30.0) is whole
    cut = whole.until(2.05)
    assert cut.text == "Hello there."
    assert cut == transcription_of(tiny, 0.0, " Hello there.", 1.9)
    assert whole.until(5.0).text == "Hello there. Thank you."
    assert whole.until(0.05).text == "Hello there."  # what starts at 0 is all there is to say about a very short clip
    assert isinstance(whole.segments[0], Segment)


def test_windows_of_one_language_are_decoded_together(
    multilingual: Model, mel: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str | None, list[float], list[float]]] = []

    def fake(_: Model, audio: Tensor, *, language: str | None, ends_s: list[float]) -> list[Transcription]:
        marks = [float(row[0, 0]) for row in audio]
        calls.append((language, marks, ends_s))
        return [Transcription(f"{mark:.0f}", (), str(language), 0.0, 0.0, ()) for mark in marks]

    monkeypatch.setattr("wspy.model.text.transcribe", fake)
    audio = torch.arange(4.0).view(4, 1, 1).expand(4, 80, 3000)
    found = transcribe_mixed(multilingual, audio, ["de", None, "de", "en"], ends_s=[1.0, 2.0, 3.0, 4.0])
    assert [(heard.text, heard.language) for heard in found] == [("0", "de"), ("1", "None"), ("2", "de"), ("3", "en")]
    assert calls == [("de", [0, 2], [1.0, 3.0]), (None, [1], [2.0]), ("en", [3], [4.0])]
    with pytest.raises(BadShape, match="one for each of the 4"):
        transcribe_mixed(multilingual, audio, ["de"])
