"""Corpora on disk, and how they are read.

A corpus is a folder `corpora/NAME` in wspy's home, complete in itself:

    corpus.json       name, hash, counts, hours, provenance (`CorpusInfo`)
    clips.jsonl       one clip per line: the fields of `Clip`, `audio` (its file) and `sha256` (of its 16-bit samples)
    alignment.jsonl   where there is one. First line: hash, phone set, sources, count; then one line per clip, in
                      the order of clips.jsonl: null, or words and phones as [start_s, end_s, label]
    audio/            every clip as 16 kHz mono 16-bit FLAC, whatever it was made from: quick to read, and still there
                      when the recordings have moved

`hash` covers every line of clips.jsonl, so the sound of every clip, its identity, and their order. The alignment has a
hash of its own, and replacing alignment.jsonl is one rename.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wspy.audio import SAMPLE_RATE, load_audio
from wspy.corpus.clips import Alignment, Clip, Interval
from wspy.errors import AudioError, BadCorpusName, DamagedCorpus, UnknownCorpus
from wspy.files import home, locked

if TYPE_CHECKING:
    from jaxtyping import Float32

    Samples = Float32[np.ndarray, "sample"]

FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Recipe:
    """What was asked for when a corpus was made: the same recipe gives the same corpus."""

    source: str
    window_s: float | None = None
    align: bool = False
    words: str | None = None
    phones: str | None = None
    phone_set: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Skipped:
    """How many recordings or clips were left out for one reason, and the first of them."""

    reason: str
    count: int
    first: str


@dataclass(frozen=True)
class Provenance:
    """Where a corpus comes from."""

    recipe: Recipe
    made: str
    """When, in ISO 8601."""
    wspy: str
    """The version of wspy that made it."""
    root: str
    """The folder from which the paths of the clips count; "" where they are no files."""
    note: str = ""
    """What the source says of itself, for instance a licence."""


@dataclass(frozen=True)
class CorpusInfo:
    """corpus.json: what there is to know without reading the clips."""

    name: str
    hash: str
    n_clips: int
    n_speakers: int
    duration_s: float
    languages: tuple[str, ...]
    provenance: Provenance
    skipped: tuple[Skipped, ...] = ()

    @property
    def hours(self) -> float:
        """Length of all clips together, in hours."""
        return self.duration_s / 3600


@dataclass(frozen=True)
class AlignmentInfo:
    """The first line of alignment.jsonl."""

    hash: str
    phone_set: str
    sources: tuple[str, ...]
    n_aligned: int
    skipped: tuple[Skipped, ...] = ()


class _Store(Protocol):
    """Where a corpus keeps its clips, sounds and alignments, by the clip's place."""

    def clips(self) -> Sequence[Clip]: ...
    def audio(self, at: int) -> Samples: ...
    def alignment_info(self) -> AlignmentInfo | None: ...
    def alignment(self, at: int) -> Alignment | None: ...


class Corpus:
    """A named, ordered, hashed list of clips."""

    def __init__(self, info: CorpusInfo, store: _Store, path: Path | None) -> None:
        self.info = info
        self.path = path
        """The folder; None for a corpus in memory."""
        self._store = store

    @property
    def name(self) -> str:
        """The name under which it is kept."""
        return self.info.name

    @property
    def hash(self) -> str:
        """SHA-256 of every clip's sound and identity, in order."""
        return self.info.hash

    @property
    def hours(self) -> float:
        """Length of all clips together, in hours."""
        return self.info.hours

    @property
    def n_speakers(self) -> int:
        """Different speakers among the clips that name one."""
        return self.info.n_speakers

    @property
    def provenance(self) -> Provenance:
        """Where it comes from."""
        return self.info.provenance

    @functools.cached_property
    def clips(self) -> Sequence[Clip]:
        """All clips, in the corpus' order."""
        return self._store.clips()

    @functools.cached_property
    def alignment_info(self) -> AlignmentInfo | None:
        """Who aligned it, with which phones; None where nobody did."""
        return self._store.alignment_info()

    @property
    def alignment_hash(self) -> str | None:
        """SHA-256 of all alignments; None where there are none."""
        return self.alignment_info.hash if self.alignment_info else None

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {clip.id: at for at, clip in enumerate(self.clips)}

    def clip(self, clip_id: str) -> Clip:
        """The clip of an id.

        Raises:
            KeyError: no clip has it.
        """
        return self.clips[self._places[clip_id]]

    def audio(self, clip: Clip) -> Samples:
        """The sound of a clip: mono, 16 kHz."""
        return self._store.audio(self._places[clip.id])

    def alignment(self, clip: Clip) -> Alignment | None:
        """The words and phones of a clip; None where it has no alignment."""
        return self._store.alignment(self._places[clip.id])

    def text(self, clip: Clip) -> str | None:
        """What is said in a clip: its own text, else the words of its alignment; None where neither is known."""
        if clip.text is not None:
            return clip.text
        alignment = self.alignment(clip)
        return alignment.text if alignment else None

    def spread(self, limit: int) -> list[Clip]:
        """At most `limit` clips, spread evenly over the corpus, in its order."""
        places = np.linspace(0, len(self) - 1, min(limit, len(self))).round().astype(int)
        return [self.clips[at] for at in np.unique(places)]

    def __len__(self) -> int:
        return self.info.n_clips

    def __repr__(self) -> str:
        minutes = self.info.duration_s / 60
        return f"Corpus({self.name!r}, {len(self)} clips, {minutes:.1f} minutes, {self.n_speakers} speakers)"

    @classmethod
    def in_memory(cls, name: str, items: Iterable[tuple[Samples, Clip, Alignment | None]]) -> Corpus:
        """A corpus that is not on disk, for tests and for sounds made on the spot; durations are filled in."""
        sounds, clips, alignments = [], [], []
        hasher = ClipHasher()
        for samples, known, alignment in items:
            clip = dataclasses.replace(known, duration_s=len(samples) / SAMPLE_RATE)
            sounds.append(np.asarray(samples, np.float32))
            clips.append(clip)
            alignments.append(alignment)
            hasher.add(clip, hashlib.sha256(sounds[-1].tobytes()).hexdigest())
        provenance = Provenance(Recipe("memory"), made="", wspy="", root="")
        return cls(hasher.info(name, provenance, ()), _MemoryStore(clips, sounds, alignments), None)


class ClipHasher:
    """The hash and the counts of clips that pass by."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._speakers: set[str] = set()
        self._languages: set[str] = set()
        self._ids: set[str] = set()
        self._repeats: dict[str, int] = {}
        self.n_clips = 0
        self._duration_s = 0.0

    def add(self, clip: Clip, sha256: str) -> None:
        """Take in the next clip."""
        if clip.id in self._ids:
            raise ValueError(f"two clips have the id {clip.id!r}")
        self._ids.add(clip.id)
        identity = json.dumps([*dataclasses.astuple(clip), sha256], ensure_ascii=False)
        self._hash.update(identity.encode("utf-8", "surrogatepass") + b"\n")
        self.n_clips += 1
        self._duration_s += clip.duration_s
        self._speakers |= {clip.speaker} if clip.speaker else set()
        self._languages |= {clip.language} if clip.language else set()

    def unique(self, clip_id: str) -> str:
        """The id itself, or with a number where it is taken."""
        if clip_id not in self._ids:
            return clip_id
        n = self._repeats.get(clip_id, 1) + 1
        while f"{clip_id}~{n}" in self._ids:
            n += 1
        self._repeats[clip_id] = n
        return f"{clip_id}~{n}"

    def info(self, name: str, provenance: Provenance, skipped: Sequence[Skipped]) -> CorpusInfo:
        """corpus.json, once all clips have passed."""
        return CorpusInfo(
            name=name,
            hash=self._hash.hexdigest(),
            n_clips=self.n_clips,
            n_speakers=len(self._speakers),
            duration_s=round(self._duration_s, 3),
            languages=tuple(sorted(self._languages)),
            provenance=provenance,
            skipped=tuple(skipped),
        )


# --- reading ----------------------------------------------------------------------------------------------


class _MemoryStore:
    def __init__(self, clips: list[Clip], sounds: list[Samples], alignments: list[Alignment | None]) -> None:
        self._clips, self._sounds, self._alignments = clips, sounds, alignments

    def clips(self) -> Sequence[Clip]:
        return self._clips

    def audio(self, at: int) -> Samples:
        return self._sounds[at]

    def alignment_info(self) -> AlignmentInfo | None:
        if not any(self._alignments):
            return None
        body = b"".join(alignment_line(alignment) for alignment in self._alignments)
        return alignment_info(hashlib.sha256(body).hexdigest(), filter(None, self._alignments))

    def alignment(self, at: int) -> Alignment | None:
        return self._alignments[at]


class FolderStore:
    """Reads the files of a corpus' folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._files: list[str] = []

    def clips(self) -> Sequence[Clip]:
        clips = []
        try:
            with (self._folder / "clips.jsonl").open(encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    self._files.append(row.pop("audio"))
                    del row["sha256"]
                    clips.append(Clip(**row))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedCorpus(self._name, f"clips.jsonl: {error}") from error
        return clips

    def audio(self, at: int) -> Samples:
        try:
            return load_audio(self._folder / self._files[at])
        except AudioError as error:
            raise DamagedCorpus(self._name, str(error)) from error

    def alignment_info(self) -> AlignmentInfo | None:
        path = self._folder / "alignment.jsonl"
        if not path.exists():
            return None
        with path.open("rb") as file:
            try:
                row = json.loads(file.readline())
                skipped = tuple(Skipped(**entry) for entry in row.pop("skipped"))
                return AlignmentInfo(**{**row, "sources": tuple(row["sources"]), "skipped": skipped})
            except (ValueError, KeyError, TypeError) as error:
                raise DamagedCorpus(self._name, f"alignment.jsonl: {error}") from error

    @functools.cached_property
    def _lines(self) -> list[int]:
        """Where each line of alignment.jsonl begins."""
        with (self._folder / "alignment.jsonl").open("rb") as file:
            starts = [0]
            starts.extend(file.tell() for _ in iter(file.readline, b""))
        return starts

    @functools.cached_property
    def _alignments(self) -> io.BufferedReader:
        # Kept open: a file that is replaced meanwhile goes on being readable, so lines and content fit together.
        return (self._folder / "alignment.jsonl").open("rb")

    def alignment(self, at: int) -> Alignment | None:
        if not (self._folder / "alignment.jsonl").exists():
            return None
        try:
            self._alignments.seek(self._lines[at + 1])
            return parse_alignment(self._alignments.readline())
        except (OSError, ValueError, IndexError, KeyError, TypeError) as error:
            raise DamagedCorpus(self._name, f"alignment.jsonl: {error}") from error


def corpora_folder() -> Path:
    """Where all corpora are."""
    return home() / "corpora"


def corpus_folder(name: str) -> Path:
    """Where the corpus of a name is, or would be.

    Raises:
        BadCorpusName: a name that is no plain folder name.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise BadCorpusName(name)
    return corpora_folder() / name


def read_info(folder: Path) -> CorpusInfo:
    """corpus.json of a corpus' folder.

    Raises:
        DamagedCorpus: it cannot be read, or was written by a later version.
    """
    try:
        row = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        if not isinstance(row, dict):
            raise ValueError("it holds no object")
        if row.pop("format") != FORMAT:
            raise ValueError("it was written by another version of wspy")
        if not all(isinstance(row[name], int | float) for name in ("n_clips", "n_speakers", "duration_s")):
            raise ValueError("a count or the duration is no number")
        row.pop("hours")
        provenance = row.pop("provenance")
        provenance["recipe"] = Recipe(**provenance["recipe"])
        return CorpusInfo(
            **{
                **row,
                "languages": tuple(row["languages"]),
                "skipped": tuple(Skipped(**entry) for entry in row["skipped"]),
                "provenance": Provenance(**provenance),
            }
        )
    except KeyError as error:
        raise DamagedCorpus(folder.name, f"corpus.json: it has no {error}") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedCorpus(folder.name, f"corpus.json: {error}") from error


def open_corpus(name: str) -> Corpus:
    """A corpus that was made before.

    Raises:
        UnknownCorpus: there is none of this name; the message lists those that exist.
        DamagedCorpus: its files cannot be read.
    """
    folder = corpus_folder(name)
    if not (folder / "corpus.json").is_file():
        raise UnknownCorpus(name, _names())
    return Corpus(_named(folder), FolderStore(folder, name), folder)


def list_corpora() -> list[CorpusInfo]:
    """What is known of every corpus, by name; no clip is read. `damaged_corpora` has those that this leaves out."""
    damaged = damaged_corpora()
    return [_named(corpora_folder() / name) for name in _names() if name not in damaged]


def damaged_corpora() -> dict[str, DamagedCorpus]:
    """The corpora whose corpus.json cannot be read, by name, and what is wrong with each."""
    found = {}
    for name in _names():
        try:
            read_info(corpora_folder() / name)
        except DamagedCorpus as error:
            found[name] = error
    return found


def _named(folder: Path) -> CorpusInfo:
    """corpus.json under the name of its folder, which may have been copied or renamed."""
    return dataclasses.replace(read_info(folder), name=folder.name)


def remove_corpus(name: str) -> None:
    """Delete a corpus with its audio.

    Raises:
        UnknownCorpus: there is none of this name.
    """
    folder = corpus_folder(name)
    if not folder.is_dir():
        raise UnknownCorpus(name, _names())
    with locked(folder, f"corpus {name!r}"):
        # Without corpus.json it is no corpus any more, should the rest be interrupted.
        (folder / "corpus.json").unlink(missing_ok=True)
        shutil.rmtree(folder)


def _names() -> list[str]:
    if not corpora_folder().is_dir():
        return []
    return sorted(path.parent.name for path in corpora_folder().glob("[!.]*/corpus.json"))


# --- lines of alignment.jsonl -----------------------------------------------------------------------------


def alignment_info(digest: str, alignments: Iterable[Alignment]) -> AlignmentInfo:
    """What the first line of alignment.jsonl would say of some alignments."""
    kept = list(alignments)
    phone_sets = {alignment.phone_set for alignment in kept if alignment.phones}
    return AlignmentInfo(digest, phone_sets_text(phone_sets), tuple(sorted({a.source for a in kept})), len(kept))


def phone_sets_text(phone_sets: set[str]) -> str:
    """The alphabets of an alignment in one string; "none" where it has no phones."""
    return " and ".join(sorted(phone_sets)) or "none"


def alignment_line(alignment: Alignment | None) -> bytes:
    """One line of alignment.jsonl."""
    if alignment is None:
        return b"null\n"
    row = {
        "source": alignment.source,
        "phone_set": alignment.phone_set,
        "words": [dataclasses.astuple(word) for word in alignment.words],
        "phones": [dataclasses.astuple(phone) for phone in alignment.phones],
    }
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


def parse_alignment(line: bytes) -> Alignment | None:
    """The alignment of one line of alignment.jsonl."""
    row = json.loads(line)
    if row is None:
        return None
    return Alignment(
        tuple(Interval(*word) for word in row["words"]),
        tuple(Interval(*phone) for phone in row["phones"]),
        row["phone_set"],
        row["source"],
    )
