"""Real weights on real speech. Word error rates are printed (`pytest -s`)."""

from __future__ import annotations

import csv
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
import torch
import whisper
from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

from wspy.model import Model, capture, encode, forced_tokens, load_model, teacher_force, transcribe
from wspy.model.catalogue import BUNDLES
from wspy.model.reference import _package_folders

pytestmark = [pytest.mark.real, pytest.mark.session_home]

BATCH = 8


def bundled(name: str) -> Model:
    if _package_folders(BUNDLES[name]) is None:
        pytest.skip(f"the weights of {name} are not installed: {BUNDLES[name].install}")
    return load_model(name, "cpu")


@pytest.fixture(scope="module")
def tiny_en(session_home: Path) -> Model:
    return bundled("tiny.en")


@pytest.fixture(scope="module")
def base(session_home: Path) -> Model:
    return bundled("base")


Clip = tuple[np.ndarray, str]


def read_clips(manifest: Path, folder: str, limit: int, min_words: int = 3) -> list[Clip]:
    """Clips of one set as (16 kHz samples, text); very short prompts are left out, one word decides them."""
    clips = []
    with manifest.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["path"].startswith(folder + "/") and len(row["text"].split()) >= min_words:
                samples, rate = soundfile.read(manifest.parent / row["path"], dtype="float32")
                assert rate == 16000
                clips.append((samples, row["text"]))
    assert clips
    return clips[:limit]


def mels(clips: list[Clip]) -> torch.Tensor:
    padded = np.stack([whisper.pad_or_trim(samples) for samples, _ in clips])
    return whisper.log_mel_spectrogram(torch.from_numpy(padded))


def word_error_rate(model: Model, clips: list[Clip], language: str) -> float:
    normalise = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()
    found = []
    for start in range(0, len(clips), BATCH):
        batch = clips[start : start + BATCH]
        ends_s = [len(samples) / 16000 for samples, _ in batch]
        found += transcribe(model, mels(batch), language=language, ends_s=ends_s)
    return float(jiwer.wer([normalise(text) for _, text in clips], [normalise(result.text) for result in found]))


@pytest.mark.parametrize("corpus", ["aligned/ljspeech", "speech/asterisk_en"])
def test_tiny_en_transcribes_real_speech(tiny_en: Model, shared_data: Path, corpus: str) -> None:
    part, name = corpus.split("/")
    clips = read_clips(shared_data / part / "manifest.csv", name, 32)
    rate = word_error_rate(tiny_en, clips, "en")
    print(f"\ntiny.en, {corpus}, {len(clips)} clips: WER {rate:.1%}")
    assert rate < 0.10


def test_base_transcribes_english(base: Model, shared_data: Path) -> None:
    clips = read_clips(shared_data / "aligned" / "manifest.csv", "ljspeech", 32)
    rate = word_error_rate(base, clips, "en")
    print(f"\nbase, aligned/ljspeech, {len(clips)} clips: WER {rate:.1%}")
    assert rate < 0.10


@pytest.mark.parametrize(("name", "language", "limit"), [("kerstin", "de", 0.35), ("asterisk_es", "es", 0.35)])
def test_base_transcribes_other_languages(
    base: Model, shared_data: Path, name: str, language: str, limit: float
) -> None:
    clips = read_clips(shared_data / "speech" / "manifest.csv", name, 12)
    rate = word_error_rate(base, clips, language)
    print(f"\nbase, speech/{name}, {len(clips)} clips: WER {rate:.1%}")
    assert rate < limit


def test_base_hears_which_language_it_is(base: Model, shared_data: Path) -> None:
    for name, language in (("kerstin", "de"), ("asterisk_es", "es"), ("asterisk_it", "it")):
        clips = read_clips(shared_data / "speech" / "manifest.csv", name, 8)
        found = [result.language for result in transcribe(base, mels(clips))]
        assert found.count(language) >= 6, found


def test_sites_of_real_weights(tiny_en: Model, shared_data: Path) -> None:
    clips = read_clips(shared_data / "aligned" / "manifest.csv", "ljspeech", 2)
    mel = mels(clips)
    plain = encode(tiny_en, mel)
    assert plain is not None
    with capture(tiny_en, "encoder.blocks.*.mlp.1") as cache:
        assert torch.equal(encode(tiny_en, mel), plain)  # type: ignore[arg-type]
    assert len(cache) == 4
    with capture(tiny_en, "encoder.blocks.*.attn.pattern") as cache:
        stepwise = encode(tiny_en, mel)
    assert stepwise is not None
    assert float((stepwise - plain).abs().max()) < 1e-4 * float(plain.abs().max())
    for pattern in cache.values():
        assert torch.allclose(pattern.sum(-1), torch.ones(()), atol=1e-4)


def test_the_spoken_text_scores_above_another(tiny_en: Model, shared_data: Path) -> None:
    clips = read_clips(shared_data / "aligned" / "manifest.csv", "ljspeech", 4)
    features = encode(tiny_en, mels(clips))
    assert features is not None

    def mean_logprob(texts: list[str]) -> list[float]:
        sequences = [forced_tokens(tiny_en, text) for text in texts]
        forced = teacher_force(tiny_en, features, sequences)
        scores = []
        for row, sequence in enumerate(sequences):
            logprobs = torch.log_softmax(forced.logits[row], -1)
            written = range(sequence.n_prompt, len(sequence.ids))
            scores.append(float(np.mean([float(logprobs[i - 1, sequence.ids[i]]) for i in written])))
        return scores

    texts = [text for _, text in clips]
    for spoken, other in zip(mean_logprob(texts), mean_logprob(texts[1:] + texts[:1]), strict=True):
        assert spoken > -1 > other
