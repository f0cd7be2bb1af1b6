"""Making a corpus: recordings in, clips out, one at a time, whole or not at all; and aligning it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wspy.corpus.align import Aligner, AlignmentFailed, is_english
from wspy.corpus.alignments import IntervalTable, build
from wspy.corpus.clips import Alignment, Clip
from wspy.corpus.sources import Recording, Recordings, SourceRegistry, with_alignment
from wspy.corpus.store import (
    Corpus,
    FolderStore,
    Provenance,
    Recipe,
    Skipped,
    corpus_folder,
    open_corpus,
    read_info,
)
from wspy.corpus.windows import check_window, cut, load_recording, recording_duration_s
from wspy.corpus.writing import AlignmentWriter, CorpusWriter, as_text
from wspy.errors import AudioError, AudioTooLong, BadTableFile, CorpusExists, NoAudio, NothingAligned
from wspy.files import atomic_folder, locked
from wspy.model.reference import DEFAULT_MODEL
from wspy.progress import Progress, Silent

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

    Samples = Float32[np.ndarray, "sample"]
    Made = tuple[Samples, Clip, Alignment | None]

DEMO = "demo"
NOT_IN_TABLES = "the tables know none of its paths"
TRANSCRIBED = "pocketsphinx, words by Whisper {model}"
_BATCH_CLIPS = 8
# Forced alignment takes a recording in one piece: more would take minutes, and seldom fit its text.
MAX_ALIGNED_S = 600.0


def make_corpus(
    name: str,
    source: str,
    *,
    window_s: float | None = None,
    align: bool = False,
    words: Path | str | None = None,
    phones: Path | str | None = None,
    phone_set: str | None = None,
    seed: int = 0,
    model: str = DEFAULT_MODEL,
    progress: Progress | None = None,
    registry: SourceRegistry | None = None,
) -> Corpus:
    """Make a corpus of a folder, a manifest, a file, `hf:NAME:CONFIG:SPLIT`, `demo` or a plugin's source.

    Every clip is kept as 16 kHz FLAC in the corpus. A file that cannot be used is said, counted and skipped.

    Args:
        name: letters, digits, - _ and dots.
        source: a path, or a scheme with its address.
        window_s: cut recordings into windows of so many seconds (0.5 to 30); None: whole recordings of up to 30 s.
        align: force-align (English) what has no alignment, by its text, or by a Whisper transcript where it has none.
        words: CSV `path,start_s,end_s,label` with the words of the recordings.
        phones: the same for phones.
        phone_set: the name of the phones' alphabet, where it is not ARPABET.
        seed: for sources that draw at random.
        model: the Whisper that transcribes what is to be aligned and has no text.
        registry: the sources with a scheme; None: those of wspy alone.

    Raises:
        BadCorpusName, CorpusExists: the name cannot be taken.
        UnknownSource, BadTableFile, ListedFileMissing, MissingExtra, HubUnreachable: the source cannot be read.
        AudioTooLong: a recording is longer than 30 s and there is no window.
        NothingAligned: the tables of words and phones know none of the recordings.
        NoAudio: nothing usable in the source. Nothing is left behind then, nor after Ctrl-C.
    """
    progress = progress or Silent()
    folder = corpus_folder(name)
    check_window(window_s)
    registry = registry or SourceRegistry()
    recipe = Recipe(
        as_text(registry.canonical(source)),
        window_s,
        align,
        str(Path(words).resolve()) if words else None,
        str(Path(phones).resolve()) if phones else None,
        phone_set,
        seed,
    )
    with locked(folder, f"corpus {name!r}"):
        if folder.exists():
            return _existing(name, folder, recipe, progress)
        _clear_leftovers(folder)
        tables = _Tables(words, phones, phone_set)
        if source.startswith("hf:"):  # without a network it takes long to be sure that there is none
            progress.note(f"Opening the dataset {source}")
        recordings = registry.open(source, seed)
        with atomic_folder(folder) as temporary:
            _build(temporary, name, recipe, recordings, tables, progress)
            if align:
                _align_folder(temporary, name, model, progress)
    return open_corpus(name)


def ensure_demo(progress: Progress | None = None) -> Corpus:
    """The demo corpus, made now if it is not there."""
    return make_corpus(DEMO, DEMO, progress=progress)


def align_corpus(
    name: str,
    *,
    words: Path | str | None = None,
    phones: Path | str | None = None,
    phone_set: str | None = None,
    model: str = DEFAULT_MODEL,
    progress: Progress | None = None,
) -> Corpus:
    """Give a corpus an alignment: from tables where they are given, else forced for the clips that have none.

    Raises:
        UnknownCorpus: there is none of this name.
        NothingAligned: no clip could be aligned; the alignment stays as it was.
    """
    progress = progress or Silent()
    folder = corpus_folder(name)
    open_corpus(name)
    tables = _Tables(words, phones, phone_set)
    with locked(folder, f"corpus {name!r}"):
        if not tables:
            _align_folder(folder, name, model, progress)
            return open_corpus(name)
        corpus = open_corpus(name)
        with _alignment_writer(folder) as (writer, skipped):
            found = 0
            for clip in corpus.clips:
                alignment = tables.lookup(corpus.provenance.root, clip.path, clip.start_s, clip.duration_s)
                found += alignment is not None
                if alignment is None:
                    skipped.add("not in the tables", clip.id)
                writer.add(alignment or corpus.alignment(clip))
            if not found:
                raise NothingAligned(name, NOT_IN_TABLES)
            skipped.report("aligned", progress)
    return open_corpus(name)


# --- what was left out ------------------------------------------------------------------------------------


class _Skips:
    """Counts what is left out, by reason."""

    def __init__(self) -> None:
        self._counts: dict[str, Skipped] = {}
        self.last: AudioError | None = None
        """What was wrong with the last recording; of a source of one, that says more than a count."""

    def add(self, reason: str, what: str) -> None:
        before = self._counts.get(reason, Skipped(reason, 0, what))
        self._counts[reason] = Skipped(reason, before.count + 1, before.first)

    @property
    def found(self) -> list[Skipped]:
        return sorted(self._counts.values(), key=lambda skipped: -skipped.count)

    @property
    def summary(self) -> str:
        return ", ".join(f"{skipped.count} {skipped.reason}" for skipped in self.found)

    def report(self, done: str, progress: Progress) -> None:
        """Say once what could not be done, and the first case of each reason."""
        for skipped in self.found:
            clips = "1 clip was" if skipped.count == 1 else f"{skipped.count} clips were"
            progress.note(f"{clips} not {done}: {skipped.reason} (first: {skipped.first})")


class _Tables:
    """The words and phones of CSV files."""

    def __init__(self, words: Path | str | None, phones: Path | str | None, phone_set: str | None) -> None:
        self._words = IntervalTable(Path(words)) if words else None
        self._phones = IntervalTable(Path(phones)) if phones else None
        self._phone_set = phone_set

    def __bool__(self) -> bool:
        return bool(self._words or self._phones)

    def lookup(self, root: str, path: str, start_s: float, duration_s: float | None) -> Alignment | None:
        """The alignment of a part of a recording; None where the tables do not know the recording."""
        words = self._words.lookup(root, path) if self._words else []
        phones = self._phones.lookup(root, path) if self._phones else []
        alignment = build(words, phones, self._phone_set, "CSV")
        if alignment is None:
            return None
        return alignment.cut(start_s, float("inf") if duration_s is None else start_s + duration_s)


# --- clips ------------------------------------------------------------------------------------------------


def _clear_leftovers(folder: Path) -> None:
    """Remove what a killed process left of this corpus; nobody else writes it while we hold the lock."""
    for path in folder.parent.glob(f".{folder.name}.????????"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _existing(name: str, folder: Path, recipe: Recipe, progress: Progress) -> Corpus:
    before = read_info(folder).provenance.recipe
    differs = [field.removesuffix("_s") for field in vars(recipe) if getattr(recipe, field) != getattr(before, field)]
    if differs:
        raise CorpusExists(name, before.source, differs)
    progress.note(f"Corpus {name!r} is already there, made from the same source in the same way.")
    return open_corpus(name)


def _build(
    folder: Path, name: str, recipe: Recipe, recordings: Recordings, tables: _Tables, progress: Progress
) -> None:
    import wspy

    skips = _Skips()
    writer = CorpusWriter(folder)
    aligner = Aligner() if recipe.align else None
    unknown_text = False
    try:
        description = f"Making corpus {name}"
        for recording in progress.track(recordings.items, description, recordings.total, unit="recordings"):
            try:
                for made in _clips(recording, recipe.window_s, tables, recordings.root, aligner, progress):
                    if isinstance(made, AudioError):
                        _skip(made, recording, skips, progress)
                        continue
                    writer.add(*made)
                    unknown_text |= recording.text is not None and made[1].text is None
            except AudioTooLong:
                raise
            except AudioError as error:
                _skip(error, recording, skips, progress)
        if not writer.n_clips:
            if skips.last is not None and recordings.total == 1 and not Path(recipe.source).is_dir():
                raise skips.last
            why = f"skipped: {skips.summary}" if skips.found else "it holds no recording"
            raise NoAudio(recipe.source, why)
        if tables and not writer.n_aligned:
            raise NothingAligned(name, NOT_IN_TABLES)
        if tables and writer.n_aligned < writer.n_clips:
            progress.note(f"{writer.n_clips - writer.n_aligned} clips are not in the tables of words and phones.")
        if unknown_text:
            progress.note(
                "The text of recordings that were cut is unknown, since they have no alignment: --align finds it."
            )
        made_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        provenance = Provenance(recipe, made_at, wspy.__version__, recordings.root, recordings.note)
        writer.close(name, provenance, skips.found)
    except BaseException:
        writer.abort()
        raise


def _skip(error: AudioError, recording: Recording, skips: _Skips, progress: Progress) -> None:
    skips.add(error.reason, recording.path or recording.name)
    skips.last = error
    progress.note(f"Skipped: {error}")


def _clips(
    recording: Recording,
    window_s: float | None,
    tables: _Tables,
    root: str,
    aligner: Aligner | None,
    progress: Progress,
) -> Iterator[Made | AudioError]:
    """The clips of one recording, with the alignment that is known, or that must be known before cutting."""
    try:
        recording, alignment = with_alignment(recording)
    except BadTableFile as error:
        progress.note(f"Without its alignment: {error}")
        recording, alignment = dataclasses.replace(recording, alignment=None), None
    if tables:
        alignment = tables.lookup(root, recording.path, recording.start_s, None) or alignment
    if alignment is not None:
        end_s = recording.end_s
        alignment = alignment if end_s is None else alignment.cut(0.0, end_s - recording.start_s)
    elif aligner and window_s and recording.text:
        alignment = _align_before_cutting(recording, window_s, aligner, progress)
    yield from cut(recording, window_s, alignment)


def _align_before_cutting(
    recording: Recording, window_s: float, aligner: Aligner, progress: Progress
) -> Alignment | None:
    """A recording that will be cut must be aligned whole, so that its text can follow."""
    duration_s = recording_duration_s(recording)
    if duration_s is not None and duration_s <= window_s:
        return None  # it stays whole, and is aligned with the others
    if duration_s is not None and duration_s > MAX_ALIGNED_S:
        progress.note(
            f"{recording.name} is too long to be aligned with its text; its clips will be transcribed instead."
        )
        return None
    try:
        return aligner.align(load_recording(recording), recording.text or "", recording.language)
    except AlignmentFailed as error:
        progress.note(f"{recording.name} was not aligned: {error}")
        return None


# --- alignment --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alignment_writer(folder: Path) -> Iterator[tuple[AlignmentWriter, _Skips]]:
    """Replaces alignment.jsonl when the block ends without error, else leaves it."""
    writer, skips = AlignmentWriter(folder / "alignment.jsonl"), _Skips()
    try:
        yield writer, skips
    except BaseException:
        writer.abort()
        raise
    writer.close(skips.found)


def _align_folder(folder: Path, name: str, model: str, progress: Progress) -> None:
    """Force-align the clips of a folder that have no alignment; failures are counted and said."""
    corpus = Corpus(read_info(folder), FolderStore(folder, name), folder)
    todo = {clip.id for clip in corpus.clips if corpus.alignment(clip) is None}
    if not todo:
        return
    aligner = Aligner()
    texts = _Texts(corpus, todo, model)
    with _alignment_writer(folder) as (writer, skips):
        for clip in progress.track(corpus.clips, f"Aligning corpus {name}", len(corpus)):
            writer.add(_align_clip(corpus, clip, aligner, texts, skips) if clip.id in todo else corpus.alignment(clip))
        if aligner.guessed:
            some = ", ".join(sorted(aligner.guessed)[:5])
            progress.note(
                f"The pronunciation of {len(aligner.guessed)} words was guessed, as the dictionary lacks them: {some}"
            )
        skips.report("aligned", progress)
        if not writer.n_aligned:
            raise NothingAligned(name, skips.summary)


def _align_clip(corpus: Corpus, clip: Clip, aligner: Aligner, texts: _Texts, skips: _Skips) -> Alignment | None:
    if not is_english(clip.language):
        skips.add(f"forced alignment knows English only, not {clip.language}", clip.id)
        return None
    try:
        alignment = aligner.align(corpus.audio(clip), clip.text if clip.text is not None else texts.of(clip))
    except AlignmentFailed as error:
        skips.add(str(error), clip.id)
        return None
    return alignment if clip.text is not None else dataclasses.replace(alignment, source=texts.source)


class _Texts:
    """Whisper's transcripts of the clips without a text, made a batch at a time when they are asked for."""

    def __init__(self, corpus: Corpus, todo: set[str], model: str) -> None:
        self._corpus = corpus
        self._waiting = [c for c in corpus.clips if c.id in todo and c.text is None and is_english(c.language)][::-1]
        self._found: dict[str, str] = {}
        self._name = model
        self.source = TRANSCRIBED.format(model=re.sub(r".*[/\\]", "", model))

    def of(self, clip: Clip) -> str:
        while clip.id not in self._found:
            self._transcribe([self._waiting.pop() for _ in range(min(_BATCH_CLIPS, len(self._waiting)))])
        return self._found.pop(clip.id)

    def _transcribe(self, clips: list[Clip]) -> None:

        from wspy.model import load_model, mel_batch
        from wspy.model.text import transcribe

        if not hasattr(self, "_model"):
            self._model = load_model(self._name)
        texts = transcribe(self._model, mel_batch(self._model, [self._corpus.audio(clip) for clip in clips]))
        self._found.update((clip.id, found.text) for clip, found in zip(clips, texts, strict=True))
