"""Making corpora of folders, manifests and datasets: what they hold, what is refused, and what is left behind."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.corpus.conftest import Notes, tone
from wspy import errors
from wspy.corpus import (
    Alignment,
    Clip,
    Corpus,
    Interval,
    Recording,
    Recordings,
    SourceRegistry,
    align_corpus,
    damaged_corpora,
    list_corpora,
    make_corpus,
    open_corpus,
    remove_corpus,
)
from wspy.corpus.writing import AlignmentWriter
from wspy.files import home


def left_behind() -> list[str]:
    """Everything in the corpora folder but the lock files."""
    folder = home() / "corpora"
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") if folder.exists() else []


def manifest(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


# --- folders ----------------------------------------------------------------------------------------------


def test_folder(folder: Path, notes: Notes) -> None:
    corpus = make_corpus("mine", str(folder), progress=notes)
    assert [clip.id for clip in corpus.clips] == ["a", "b", "deep/c"]
    assert [clip.text for clip in corpus.clips] == ["hello world", None, None]
    assert [clip.path for clip in corpus.clips] == ["a.flac", "b.wav", "deep/c.ogg"]
    assert corpus.clips[0].duration_s == 1.5 and corpus.hours == pytest.approx(7.5 / 3600, rel=1e-3)
    np.testing.assert_allclose(corpus.audio(corpus.clips[1]), tone(1.0), atol=1e-4)
    assert corpus.provenance.recipe.source == str(folder) and corpus.provenance.root == str(folder)
    assert corpus.alignment_hash is None and corpus.alignment(corpus.clips[0]) is None
    assert notes.totals == {"Making corpus mine": (3, 3)} and not notes.notes
    assert [info.name for info in list_corpora()] == ["mine"] and list_corpora()[0].n_clips == 3
    assert "mine" in repr(corpus) and corpus.clip("deep/c").path == "deep/c.ogg"


def test_the_corpus_stands_alone(folder: Path) -> None:
    made = make_corpus("mine", str(folder))
    shutil.rmtree(folder)
    opened = open_corpus("mine")
    assert opened.hash == made.hash and opened.clips == made.clips
    assert [len(opened.audio(clip)) for clip in opened.clips] == [24_000, 16_000, 80_000]


def test_hash_covers_sound_order_and_what_is_known(folder: Path) -> None:
    first = make_corpus("one", str(folder))
    assert make_corpus("two", str(folder)).hash == first.hash  # the name is no part of it
    (folder / "a.txt").write_text("hello there")
    assert make_corpus("three", str(folder)).hash != first.hash
    (folder / "a.txt").write_text("hello world")
    soundfile.write(folder / "b.wav", tone(1.0, 441), 16_000)
    assert make_corpus("four", str(folder)).hash != first.hash


def test_windows(folder: Path, notes: Notes) -> None:
    corpus = make_corpus("mine", str(folder), window_s=2.0, progress=notes)
    assert [clip.id for clip in corpus.clips] == ["a", "b", "deep/c@0.00", "deep/c@2.00", "deep/c@4.00"]
    assert [clip.duration_s for clip in corpus.clips] == [1.5, 1.0, 2.0, 2.0, 1.0]
    np.testing.assert_allclose(
        corpus.audio(corpus.clips[3]), tone(5.0, 600)[32_000:64_000], atol=0.03
    )  # Vorbis is lossy


def test_text_lost_by_cutting_is_said_once(folder: Path, notes: Notes) -> None:
    make_corpus("mine", str(folder), window_s=0.5, progress=notes)
    assert len([note for note in notes.notes if "unknown" in note and "--align" in note]) == 1


def test_bad_files_are_said_counted_and_skipped(folder: Path, notes: Notes) -> None:
    (folder / "z1.wav").touch()
    (folder / "z2.mp3").write_text("not a sound")
    soundfile.write(folder / "z3.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "z4.wav", np.zeros(16_000), 16_000)
    corpus = make_corpus("mine", str(folder), progress=notes)
    assert len(corpus) == 3
    assert [(s.reason, s.count, s.first) for s in corpus.info.skipped] == [
        ("silent", 2, "z3.wav"), ("empty", 1, "z1.wav"), ("not audio", 1, "z2.mp3"),
    ]  # fmt: skip
    assert len(notes.notes) == 4 and all(note.startswith("Skipped: ") for note in notes.notes)
    assert open_corpus("mine").info.skipped == corpus.info.skipped


def test_a_silent_stretch_of_a_long_recording_is_skipped_alone(tmp_path: Path, notes: Notes) -> None:
    soundfile.write(tmp_path / "a.wav", np.concatenate([tone(2.0), np.zeros(32_000), tone(2.0)]), 16_000)
    corpus = make_corpus("mine", str(tmp_path / "a.wav"), window_s=2.0, progress=notes)
    assert [clip.start_s for clip in corpus.clips] == [0.0, 4.0]
    assert [(s.reason, s.count) for s in corpus.info.skipped] == [("silent", 1)]


def test_two_files_of_one_stem_are_two_clips(folder: Path) -> None:
    soundfile.write(folder / "a.wav", tone(1.0, 700), 16_000)
    assert [clip.id for clip in make_corpus("mine", str(folder)).clips] == ["a", "a~2", "b", "deep/c"]


# --- what is refused --------------------------------------------------------------------------------------


def test_a_folder_without_audio(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(errors.NoAudio, match="notes"):
        make_corpus("mine", str(tmp_path / "notes"))
    assert left_behind() == []


def test_a_folder_without_usable_audio(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.wav").touch()
    with pytest.raises(errors.NoAudio, match="skipped: 1 empty"):
        make_corpus("mine", str(tmp_path / "notes"))
    assert left_behind() == []


def test_a_long_recording_needs_a_window(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", tone(31.0), 16_000)
    with pytest.raises(errors.AudioTooLong, match=r"long lasts 31\.0 s.*--window"):
        make_corpus("mine", str(tmp_path / "long.wav"))
    assert left_behind() == []
    assert len(make_corpus("mine", str(tmp_path / "long.wav"), window_s=30.0)) == 2


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "../up", "a b", "x" * 101, "ends.", "a\n", "é"])
def test_names_that_are_no_folder(folder: Path, name: str) -> None:
    with pytest.raises(errors.BadCorpusName):
        make_corpus(name, str(folder))
    with pytest.raises(errors.BadCorpusName):
        remove_corpus(name)


def test_unknown_source_and_unknown_corpus(folder: Path) -> None:
    with pytest.raises(errors.UnknownSource, match=r"no such file or folder.*hf:"):
        make_corpus("mine", "nowhere/at/all")
    make_corpus("letters", str(folder))
    with pytest.raises(errors.UnknownCorpus, match="Did you mean 'letters'"):
        open_corpus("leters")
    with pytest.raises(errors.UnknownCorpus):
        remove_corpus("leters")


def test_the_same_recipe_gives_what_is_there_another_is_an_error(folder: Path, notes: Notes) -> None:
    first = make_corpus("mine", str(folder), window_s=2.0)
    again = make_corpus("mine", str(folder), window_s=2.0, progress=notes)
    assert again.hash == first.hash and "already there" in notes.notes[0]
    with pytest.raises(errors.CorpusExists, match=r"another window.*wspy corpus remove mine"):
        make_corpus("mine", str(folder), window_s=1.0)
    with pytest.raises(errors.CorpusExists, match="another window, phone_set:"):
        make_corpus("mine", str(folder), phone_set="SAMPA")
    remove_corpus("mine")
    assert left_behind() == []
    make_corpus("mine", str(folder), window_s=1.0)


def test_an_interrupted_build_leaves_nothing(folder: Path) -> None:
    class Impatient(Notes):
        def track(self, items: object, *_: object, **__: object) -> Iterator[object]:  # type: ignore[override]
            yield next(iter(items))  # type: ignore[call-overload]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_corpus("mine", str(folder), progress=Impatient())
    assert left_behind() == []


def test_leftovers_of_a_killed_process_are_cleared(folder: Path) -> None:
    stale = home() / "corpora" / ".mine.abcd1234"
    stale.mkdir(parents=True)
    (home() / "corpora" / ".mine.too.abcd1234").mkdir()
    make_corpus("mine", str(folder))
    assert left_behind() == [".mine.too.abcd1234", "mine"]


def test_damaged_files_are_said(folder: Path) -> None:
    corpus = make_corpus("mine", str(folder))
    assert corpus.path is not None
    (corpus.path / "clips.jsonl").write_text("{}\n")
    with pytest.raises(errors.DamagedCorpus, match=r"clips.jsonl"):
        _ = open_corpus("mine").clips
    (corpus.path / "corpus.json").write_text("[")
    with pytest.raises(errors.DamagedCorpus, match=r"corpus.json"):
        open_corpus("mine")
    remove_corpus("mine")


# --- manifests --------------------------------------------------------------------------------------------


def test_manifest(folder: Path) -> None:
    rows = [
        {
            "path": "recordings/deep/c.ogg",
            "start_s": 1,
            "end_s": 2.5,
            "text": "eins",
            "language": "de",
            "speaker": "x",
            "label": "",
        },
        {
            "path": "recordings/b.wav",
            "start_s": "",
            "end_s": "",
            "text": "",
            "language": "",
            "speaker": "y",
            "label": "dog",
        },
        {
            "path": "recordings/deep/c.ogg",
            "start_s": 3,
            "end_s": "",
            "text": "zwei",
            "language": "de",
            "speaker": "x",
            "label": "",
        },
    ]
    corpus = make_corpus("mine", str(manifest(folder.parent / "m.csv", rows)))
    first, second, third = corpus.clips
    assert first == Clip("recordings/deep/c@1.00", "recordings/deep/c.ogg", 1.0, 2.5, 1.5, "eins", "de", "x", None)
    assert (second.text, second.language, second.speaker, second.label) == (None, None, "y", "dog")
    assert (third.start_s, third.end_s, third.duration_s) == (3.0, None, 2.0)
    assert corpus.n_speakers == 2 and corpus.info.languages == ("de",)
    lines = "".join(json.dumps({k: v for k, v in row.items() if v != ""}) + "\n" for row in rows)
    (folder.parent / "m.jsonl").write_text(lines)
    assert make_corpus("lines", str(folder.parent / "m.jsonl")).hash == corpus.hash


def test_manifest_without_path_column(tmp_path: Path) -> None:
    source = manifest(tmp_path / "m.csv", [{"file": "a.wav", "text": "x"}])
    with pytest.raises(errors.BadTableFile, match="no column path; it has file, text"):
        make_corpus("mine", str(source))
    (tmp_path / "m.jsonl").write_text('{"file": "a.wav"}\n')
    with pytest.raises(errors.BadTableFile, match="line 1 has no path"):
        make_corpus("mine", str(tmp_path / "m.jsonl"))
    (tmp_path / "n.jsonl").write_text('{"path": \n')
    with pytest.raises(errors.BadTableFile, match=r"n.jsonl"):
        make_corpus("mine", str(tmp_path / "n.jsonl"))
    assert left_behind() == []


def test_manifest_with_a_missing_file_or_time(folder: Path) -> None:
    rows: list[dict[str, object]] = [{"path": "recordings/b.wav", "start_s": ""}, {"path": "gone.wav", "start_s": ""}]
    with pytest.raises(errors.ListedFileMissing, match=r"line 3, names gone.wav"):
        make_corpus("mine", str(manifest(folder.parent / "m.csv", rows)))
    with pytest.raises(errors.BadTableFile, match="line 2: start_s is 'early'"):
        make_corpus("mine", str(manifest(folder.parent / "m.csv", [{"path": "recordings/b.wav", "start_s": "early"}])))
    assert left_behind() == []


# --- datasets and other sources ---------------------------------------------------------------------------


def flac(hz: float) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, tone(1.0, hz), 16_000, format="FLAC")
    return content.getvalue()


def test_dataset_in_parquet(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")
    rows = {
        "audio": [{"bytes": flac(300), "path": "x.flac"}, {"bytes": flac(500), "path": "y.flac"}],
        "sentence": ["one", None],
        "speaker_id": [7, 8],
        "label": [0, 1],
    }
    raw = datasets.Audio(decode=False)
    table = datasets.Dataset.from_dict(rows).cast_column("audio", raw)
    table = table.cast_column("label", datasets.ClassLabel(names=["cat", "dog"])).cast_column("audio", datasets.Audio())
    (tmp_path / "set" / "data").mkdir(parents=True)
    table.to_parquet(str(tmp_path / "set" / "data" / "test-00000-of-00001.parquet"))
    corpus = make_corpus("mine", f"hf:{tmp_path / 'set'}::test")
    assert [clip.id for clip in corpus.clips] == ["000000-x", "000001-y"]
    assert [(clip.text, clip.speaker, clip.label) for clip in corpus.clips] == [("one", "7", "cat"), (None, "8", "dog")]
    assert int(np.abs(np.fft.rfft(corpus.audio(corpus.clips[1]))).argmax()) == 500
    with pytest.raises(errors.HubUnreachable, match=r"Bad split.*check its name"):
        make_corpus("other", f"hf:{tmp_path / 'set'}::nope")


def test_dataset_as_audiofolder(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="the extra hub is not installed")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "s.flac").write_bytes(flac(400))
    (tmp_path / "set" / "metadata.csv").write_text("file_name,transcription\ns.flac,hello\n")
    corpus = make_corpus("mine", f"hf:{tmp_path / 'set'}")
    assert [(clip.id, clip.text) for clip in corpus.clips] == [("000000-s", "hello")]


def test_dataset_without_audio_or_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="the extra hub is not installed")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.csv").write_text("text\nhello\n")
    with pytest.raises(errors.NoAudio, match="no column of audio among text"):
        make_corpus("mine", f"hf:{tmp_path / 'set'}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(errors.MissingExtra, match=r"pip install datasets"):
        make_corpus("mine", "hf:some/name")
    assert left_behind() == []


def test_offline_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'some/name' on the Hub\nand a second line")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(errors.HubUnreachable) as caught:
        make_corpus("mine", "hf:some/name")
    assert "\n" not in str(caught.value) and "some/name" in str(caught.value) and caught.value.exit_code == 1


def test_samples_of_a_source_are_checked(notes: Notes) -> None:
    sounds = {"nan": tone(1.0) * np.nan, "silent": tone(1.0) * 0, "short": tone(0.01), "good": tone(1.0)}
    registry = SourceRegistry({"bad": lambda address, seed: Recordings(Recording(k, v) for k, v in sounds.items())})
    corpus = make_corpus("mine", "bad:", registry=registry, progress=notes)
    assert [clip.id for clip in corpus.clips] == ["good"]
    assert {s.reason for s in corpus.info.skipped} == {"NaN or infinite samples", "silent", "too short"}


def test_a_source_of_ones_own() -> None:
    asked: list[tuple[str, int]] = []

    def tones(address: str, seed: int) -> Recordings:
        asked.append((address, seed))
        return Recordings((Recording(hz, tone(1.0, float(hz)), text=hz) for hz in address.split(",")), note="own work")

    registry = SourceRegistry({"tones": tones})
    corpus = make_corpus("mine", "tones:300,400", seed=5, registry=registry)
    assert asked == [("300,400", 5)] and [clip.text for clip in corpus.clips] == ["300", "400"]
    assert corpus.provenance.note == "own work" and "tones" in registry.schemes
    with pytest.raises(errors.DuplicateSource, match="'tones'"):
        registry.register("tones", tones)
    with pytest.raises(errors.DuplicateSource, match="'hf'"):
        SourceRegistry({"hf": tones})


# --- given alignments -------------------------------------------------------------------------------------

GRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
2
"IntervalTier"
"words"
0
1.5
3
0
0.5
""
0.5
0.9
"hello"
0.9
1.5
"world"
"IntervalTier"
"phones"
0
1.5
3
0
0.5
"sil"
0.5
0.7
"HH"
0.7
1.5
"AH0"
"""


def test_textgrid_beside_a_recording(folder: Path) -> None:
    (folder / "a.TextGrid").write_text(GRID)
    corpus = make_corpus("mine", str(folder))
    alignment = corpus.alignment(corpus.clips[0])
    assert alignment == Alignment(
        (Interval(0.5, 0.9, "hello"), Interval(0.9, 1.5, "world")),
        (Interval(0.0, 0.5, "SIL"), Interval(0.5, 0.7, "HH"), Interval(0.7, 1.5, "AH")),
        "ARPABET",
        "TextGrid",
    )
    assert corpus.alignment(corpus.clips[1]) is None
    info = corpus.alignment_info
    assert info is not None and (info.phone_set, info.sources, info.n_aligned) == ("ARPABET", ("TextGrid",), 1)
    assert corpus.alignment_hash == info.hash != make_corpus("other", str(folder / "b.wav")).alignment_hash
    cut = make_corpus("cut", str(folder), window_s=1.0)
    assert [clip.text for clip in cut.clips[:2]] == ["hello", "world"]


def test_a_broken_textgrid_costs_a_note(folder: Path, notes: Notes) -> None:
    (folder / "a.TextGrid").write_text("nothing of the kind")
    corpus = make_corpus("mine", str(folder), progress=notes)
    assert len(corpus) == 3 and corpus.alignment_hash is None
    assert len(notes.notes) == 1 and "a.TextGrid" in notes.notes[0]


def test_ctm_beside_a_recording(folder: Path) -> None:
    (folder / "b.ctm").write_text(";; a comment\nb 1 0.10 0.40 guten 0.9\nb 1 0.50 0.40 Tag\n")
    (folder / "b.phones.ctm").write_text("b 1 0.10 0.20 g\nb 1 0.30 0.20 u:\n")
    corpus = make_corpus("mine", str(folder))
    alignment = corpus.alignment(corpus.clip("b"))
    assert alignment is not None
    assert alignment.words == (Interval(0.1, 0.5, "guten"), Interval(0.5, 0.9, "Tag"))
    assert [phone.label for phone in alignment.phones] == ["g", "u:"]
    assert (alignment.phone_set, alignment.source) == ("phones of CTM", "CTM")


def tables(folder: Path) -> tuple[Path, Path]:
    words, phones = folder / "words.csv", folder / "phones.csv"
    words.write_text('path,start_s,end_s,label\na.flac,0.5,0.9,"hello, you"\nb.wav,0.1,0.4,tag\na.flac,0.9,1.4,world\n')
    phones.write_text("label,path,start_s,end_s\nx9,a.flac,0.5,0.9\n")
    return words, phones


@pytest.mark.parametrize("later", [False, True])
def test_tables_of_intervals(folder: Path, notes: Notes, later: bool) -> None:
    words, phones = tables(folder)
    if later:
        before = make_corpus("mine", str(folder), window_s=1.0)
        corpus = align_corpus("mine", words=words, phones=phones, phone_set="SAMPA", progress=notes)
        assert corpus.hash == before.hash
    else:
        corpus = make_corpus("mine", str(folder), window_s=1.0, words=words, phones=phones, phone_set="SAMPA")
    first, second, b = (corpus.alignment(clip) for clip in corpus.clips[:3])
    assert first and second and b and corpus.alignment(corpus.clips[-1]) is None
    assert first.words == (Interval(0.5, 0.9, "hello, you"),) and second.words == (Interval(0.0, 0.4, "world"),)
    assert first.phones == (Interval(0.5, 0.9, "x9"),) and first.phone_set == "SAMPA" and b.phone_set == "none"
    info = corpus.alignment_info
    assert info is not None and (info.phone_set, info.sources) == ("SAMPA", ("CSV",))
    if later:
        assert any("not in the tables" in note for note in notes.notes)


def test_tables_are_found_through_links(folder: Path, tmp_path: Path) -> None:
    words, _ = tables(folder)
    link = tmp_path / "elsewhere"
    link.symlink_to(folder, target_is_directory=True)
    for number, (source, table) in enumerate([(link, words), (folder, link / "words.csv"), (link, link / "words.csv")]):
        corpus = make_corpus(f"mine{number}", str(source), words=table)
        assert corpus.alignment_info is not None and corpus.alignment_info.n_aligned == 2


def test_making_with_tables_that_fit_nothing_is_refused(folder: Path) -> None:
    words, _ = tables(folder)
    words.write_text("path,start_s,end_s,label\nother.wav,0,1,x\n")
    with pytest.raises(errors.NothingAligned, match="none of its paths"):
        make_corpus("mine", str(folder), words=words)
    assert left_behind() == []


def test_bad_tables(folder: Path) -> None:
    bad = folder / "bad.csv"
    bad.write_text("path,start,end,label\n")
    with pytest.raises(errors.BadTableFile, match="no column start_s, end_s"):
        make_corpus("mine", str(folder), words=bad)
    bad.write_text("path,start_s,end_s,label\na.flac,zero,1,x\n")
    with pytest.raises(errors.BadTableFile, match="is no number"):
        make_corpus("mine", str(folder), words=bad)
    bad.write_text("path,start_s,end_s,label\na.flac,0\n")
    with pytest.raises(errors.BadTableFile, match="has 2 fields"):
        make_corpus("mine", str(folder), words=bad)
    with pytest.raises(errors.BadTableFile):
        make_corpus("mine", str(folder), words=folder / "gone.csv")
    assert left_behind() == []


def test_tables_that_fit_nothing_change_nothing(folder: Path) -> None:
    words, _ = tables(folder)
    before = make_corpus("mine", str(folder), words=words)
    words.write_text("path,start_s,end_s,label\nother.wav,0,1,x\n")
    with pytest.raises(errors.NothingAligned, match="none of its paths"):
        align_corpus("mine", words=words)
    assert open_corpus("mine").alignment_hash == before.alignment_hash
    assert before.path is not None
    assert sorted(file.name for file in before.path.iterdir()) == [
        "alignment.jsonl",
        "audio",
        "clips.jsonl",
        "corpus.json",
    ]


# --- in memory, and in Python -----------------------------------------------------------------------------


def test_in_memory() -> None:
    alignment = Alignment((Interval(0.0, 0.5, "one"),), (), "none", "CSV")
    corpus = Corpus.in_memory("mine", [(tone(1.0), Clip("a", text="one"), alignment), (tone(2.0), Clip("b"), None)])
    assert [clip.duration_s for clip in corpus.clips] == [1.0, 2.0] and len(corpus) == 2
    assert corpus.alignment(corpus.clips[0]) == alignment and corpus.alignment(corpus.clips[1]) is None
    np.testing.assert_array_equal(corpus.audio(corpus.clips[1]), tone(2.0))
    assert corpus.hash != Corpus.in_memory("mine", [(tone(1.0), Clip("a", text="one"), alignment)]).hash
    assert (
        corpus.alignment_hash is not None
        and Corpus.in_memory("x", [(tone(1.0), Clip("a"), None)]).alignment_hash is None
    )
    with pytest.raises(ValueError, match="two clips"):
        Corpus.in_memory("mine", [(tone(1.0), Clip("a"), None)] * 2)


def test_public_names_and_light_opening(folder: Path) -> None:
    import wspy.corpus

    assert sorted(wspy.corpus._HOME) == sorted(wspy.corpus.__all__)
    assert all(getattr(wspy.corpus, name) is not None for name in wspy.corpus.__all__)
    make_corpus("mine", str(folder))
    code = (
        "import sys, wspy.corpus as c; o = c.open_corpus('mine'); o.clips; o.alignment(o.clips[0]); c.list_corpora();"
        "print([m for m in ('torch', 'whisper', 'soundfile', 'soxr', 'pocketsphinx', 'praatio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_pipe_and_what_may_not_be_read_are_skipped(
    folder: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(folder / "pipe.wav")  # opening it would wait for ever
    soundfile.write(folder / "closed.wav", tone(1.0), 16_000)
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed.wav" and real(path, mode))
    corpus = make_corpus("mine", str(folder), progress=notes)
    assert {skipped.reason: skipped.first for skipped in corpus.info.skipped} == {
        "not audio": "pipe.wav",
        "not readable": "closed.wav",
    }


def test_a_folder_that_may_not_be_read_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = os.walk

    def closed(top, onerror):
        yield from walk(top)
        onerror(PermissionError(13, "Permission denied", str(folder / "closed")))

    (folder / "closed").mkdir()
    monkeypatch.setattr(os, "walk", closed)
    assert [(skipped.count, skipped.first) for skipped in make_corpus("mine", str(folder)).info.skipped] == [
        (1, "closed")
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    soundfile.write(io_file := io.BytesIO(), tone(1.0), 16_000, format="WAV")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.wav")).write_bytes(io_file.getvalue())
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.wav")).write_bytes(b"no sound\0\xff")
    corpus = make_corpus("mine", str(tmp_path))
    assert [clip.id for clip in corpus.clips] == ["a?"] and corpus.info.skipped[0].first == "b?.wav"
    assert open_corpus("mine").info == corpus.info


def test_the_reason_of_a_single_recording(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(errors.AudioEmpty):
        make_corpus("mine", str(tmp_path / "a.wav"))
    assert left_behind() == []


def test_a_manifest_written_by_hand(folder: Path) -> None:
    manifest = folder / "hand.csv"
    name = sorted(path.name for path in folder.glob("*.wav"))[0]
    manifest.write_text(f"Path, Text\n{name}, hello\n")
    assert make_corpus("mine", str(manifest)).clips[0].text == "hello"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"path,end_s\n{name},inf\n", "end_s is 'inf'"),
        (b"path,start_s\n{name},nan\n", "start_s is 'nan'"),
        (b"path,text\n,hello\n", "line 2 has no path"),
        (b"path,text\n{name},caf\xe9\n", "not UTF-8"),
    ],
)
def test_manifests_that_cannot_be_meant(folder: Path, content: bytes, why: str) -> None:
    name = sorted(path.name for path in folder.glob("*.wav"))[0]
    (folder / "bad.csv").write_bytes(content.replace(b"{name}", name.encode()))
    with pytest.raises(errors.BadTableFile, match=why):
        make_corpus("mine", str(folder / "bad.csv"))


@pytest.mark.parametrize("source", ["", "hf:"])
def test_no_source_at_all(source: str) -> None:
    if source:
        pytest.importorskip("datasets", reason="needs the extra hub")
    with pytest.raises(errors.UnknownSource):
        make_corpus("mine", source)


@pytest.mark.parametrize("content", ["", "null", "[]", '{"format": 1}', "bad count", "\xff"])
def test_a_damaged_corpus_stops_no_other(folder: Path, content: str) -> None:
    made = make_corpus("mine", str(folder))
    assert made.path
    shutil.copytree(made.path, made.path.with_name("other"))
    record = made.path / "corpus.json"
    if content == "bad count":
        content = record.read_text().replace('"n_clips": 3', '"n_clips": "3"')
    record.write_text(content, encoding="latin-1")
    assert [info.name for info in list_corpora()] == ["other"]
    assert list(damaged_corpora()) == ["mine"] and "corpus remove mine" in str(damaged_corpora()["mine"])


def test_a_corpus_removed_while_it_is_read(folder: Path) -> None:
    corpus = make_corpus("mine", str(folder))
    assert len(corpus.clips) == 3
    remove_corpus("mine")
    with pytest.raises(errors.DamagedCorpus):
        corpus.audio(corpus.clips[0])


def test_a_full_disk_leaves_no_body_of_an_alignment(tmp_path: Path) -> None:
    writer = AlignmentWriter(tmp_path / "alignment.jsonl")
    writer.add(None)
    writer._body.close()  # as it is after a failed flush
    writer._body = _Full()
    writer.abort()
    assert not list(tmp_path.glob(".*"))


class _Full(io.BytesIO):
    def close(self) -> None:
        raise OSError(28, "No space left on device")
