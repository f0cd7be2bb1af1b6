"""Where recordings come from: a folder, a manifest, a dataset of the Hugging Face Hub, the bundled voice, a plugin.

A source is called with the address behind its scheme (`hf:NAME` gives "NAME") and a seed, and gives `Recordings`, which
are read one after the other, so that a corpus may be larger than memory.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wspy.corpus.clips import Alignment
from wspy.errors import (
    BadTableFile,
    DuplicateSource,
    HubUnreachable,
    ListedFileMissing,
    MissingExtra,
    NoAudio,
    UnknownSource,
)

if TYPE_CHECKING:
    from jaxtyping import Float32

_EXTENSIONS = (
    ".wav .wave .flac .ogg .oga .opus .mp3 .m4a .aac .wma .webm .mp4 .mkv .mov .amr .aif .aiff .aifc .au .caf .w64 "
    ".rf64 .sph .nist .g722"
)
AUDIO_EXTENSIONS = frozenset(_EXTENSIONS.split())
MANIFEST_COLUMNS = ("path", "start_s", "end_s", "text", "language", "speaker", "label")
MANIFEST_NEEDS = f"path, and where known {', '.join(MANIFEST_COLUMNS[1:])}"


@dataclass(frozen=True)
class Recording:
    """A stretch of sound of any length, before it is cut into clips."""

    name: str
    """What the ids of its clips begin with."""
    sound: Path | bytes | Float32[np.ndarray, "sample"]
    """A file, a file's content, or mono samples at 16 kHz."""
    path: str = ""
    """The file relative to the source, for people and for alignment tables."""
    start_s: float = 0.0
    end_s: float | None = None
    """The part that is meant; None: to the end."""
    text: str | None = None
    language: str | None = None
    speaker: str | None = None
    label: str | None = None
    alignment: Alignment | Callable[[], Alignment | None] | None = None
    """Words and phones, from the start of the part; or how to read them."""


@dataclass(frozen=True)
class Recordings:
    """What a source gives: recordings to go through once."""

    items: Iterable[Recording]
    total: int | None = None
    """How many there are; None: unknown until the end."""
    root: str = ""
    """The folder that the recordings' paths count from; "" where they are no files."""
    note: str = ""
    """What should stay known of the source, for instance its licence."""


class Source(Protocol):
    """Opens what an address means."""

    def __call__(self, address: str, seed: int) -> Recordings: ...


class SourceRegistry:
    """The sources that can be named by a scheme: those of wspy, and those of plugins."""

    def __init__(self, extra: Mapping[str, Source] | None = None) -> None:
        self._sources: dict[str, Source] = {}
        self.register("hf", open_hub)
        self.register("demo", _open_demo)
        for scheme, source in (extra or {}).items():
            self.register(scheme, source)

    def register(self, scheme: str, source: Source) -> None:
        """Add a source.

        Raises:
            DuplicateSource: the scheme is taken.
        """
        if scheme in self._sources:
            raise DuplicateSource(scheme)
        self._sources[scheme] = source

    @property
    def schemes(self) -> list[str]:
        """All known schemes."""
        return sorted(self._sources)

    def canonical(self, source: str) -> str:
        """The source under a name that means the same from every folder: a path in full, a scheme as it is."""
        path = Path(source).expanduser()
        return source if source.partition(":")[0] in self._sources or not path.exists() else str(path.resolve())

    def open(self, source: str, seed: int = 0) -> Recordings:
        """The recordings of `SCHEME:ADDRESS`, of a scheme alone, or of a path.

        Raises:
            UnknownSource: it is neither.
        """
        scheme, _, address = source.partition(":")
        if scheme in self._sources:
            return self._sources[scheme](address, seed)
        path = Path(source).expanduser()
        if source and path.is_dir():
            return open_folder(path)
        if path.is_file():
            return open_manifest(path) if path.suffix.lower() in (".csv", ".tsv", ".jsonl") else open_file(path)
        raise UnknownSource(source, ["a folder", "a manifest", *(f"{scheme}:" for scheme in self._sources)])


def _open_demo(address: str, seed: int) -> Recordings:
    from wspy.corpus.demo import open_demo

    return open_demo(address, seed)


# --- files ------------------------------------------------------------------------------------------------


def open_folder(folder: Path) -> Recordings:
    """All audio in a folder and below, in order of path.

    Beside `NAME.wav`, `NAME.txt` is its text, and `NAME.TextGrid` or `NAME.ctm` (with `NAME.phones.ctm`) its alignment.

    Raises:
        NoAudio: there is none.
    """
    files = sorted(_audio_files(folder))
    if not files:
        raise NoAudio(str(folder), "no file in it has the extension of an audio format")
    return Recordings((_from_file(folder / file, file) for file in files), len(files), str(folder.resolve()))


def open_file(path: Path) -> Recordings:
    """A single recording, with the files beside it as in a folder."""
    return Recordings([_from_file(path, path.name)], 1, str(path.resolve().parent))


def _audio_files(folder: Path) -> Iterator[str]:
    # A folder that may not be read is listed as if it were a recording, so that it is said and counted like one.
    closed: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: closed.append(error.filename)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_EXTENSIONS:
                yield Path(parent, name).relative_to(folder).as_posix()
    yield from (Path(path).relative_to(folder).as_posix() for path in closed)


def _from_file(path: Path, relative: str) -> Recording:
    beside, text = path.with_suffix(".txt"), None
    with contextlib.suppress(PermissionError):  # a text that may not be read is not known
        if beside.is_file():
            text = " ".join(beside.read_text(encoding="utf-8-sig", errors="replace").split())
    return Recording(Path(relative).with_suffix("").as_posix(), path, relative, text=text, alignment=_beside(path))


def _beside(path: Path) -> Callable[[], Alignment | None] | None:
    from wspy.corpus.alignments import read_ctm, read_textgrid

    for suffix in (".TextGrid", ".textgrid", ".textGrid"):
        if (grid := path.with_suffix(suffix)).is_file():
            return lambda: read_textgrid(grid)
    if (ctm := path.with_suffix(".ctm")).is_file():
        phones = path.with_suffix(".phones.ctm")
        return lambda: read_ctm(ctm, phones if phones.is_file() else None, path.stem)
    return None


def open_manifest(path: Path) -> Recordings:
    """The recordings that a CSV, TSV or JSONL lists; paths count from the manifest's folder, empty fields are unknown.

    Raises:
        BadTableFile: it cannot be read, has no column `path`, or a time that is no number.
        ListedFileMissing: a listed file does not exist.
        NoAudio: it lists nothing.
    """
    total = 0
    seen: dict[str, bool] = {}
    for line, row in _manifest_rows(path):
        if not seen.setdefault(row["path"], (path.parent / row["path"]).is_file()):
            raise ListedFileMissing(str(path), line, row["path"])
        _seconds(row, "start_s", path, line)
        _seconds(row, "end_s", path, line)
        total += 1
    if not total:
        raise NoAudio(str(path), "it lists no file")
    items = (_from_row(path, line, row) for line, row in _manifest_rows(path))
    return Recordings(items, total, str(path.resolve().parent))


def _manifest_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row as text, "" where unknown, with its line."""
    read = _jsonl_rows if path.suffix.lower() == ".jsonl" else _csv_rows
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in read(path, file):
                if not row.get("path"):
                    raise BadTableFile(str(path), f"line {line} has no path", MANIFEST_NEEDS)
                yield line, row
    except UnicodeDecodeError as error:
        raise BadTableFile(str(path), f"its text is not UTF-8: {error.reason}", "to be saved as UTF-8") from error
    except OSError as error:
        raise BadTableFile(str(path), error.strerror or str(error), "to be readable") from error


def _jsonl_rows(path: Path, file: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    for line, content in enumerate(file, start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except json.JSONDecodeError as error:
            raise BadTableFile(str(path), f"line {line} is no JSON: {error.msg}", MANIFEST_NEEDS) from error
        if not isinstance(row, dict):
            row = {}
        yield line, {str(key): "" if value is None else str(value) for key, value in row.items()}


def _csv_rows(path: Path, file: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", skipinitialspace=True)
    try:
        # Written by hand, a heading often has a capital or a space too many, and its column would be ignored.
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        if "path" not in reader.fieldnames:
            has = ", ".join(reader.fieldnames) or "no columns"
            raise BadTableFile(str(path), f"no column path; it has {has}", MANIFEST_NEEDS)
        for row in reader:
            yield reader.line_num, {key: value or "" for key, value in row.items() if key is not None}
    except csv.Error as error:
        raise BadTableFile(str(path), f"line {reader.line_num}: {error}", MANIFEST_NEEDS) from error


def _seconds(row: dict[str, str], column: str, path: Path, line: int) -> float | None:
    value = row.get(column, "").strip()
    try:
        seconds = float(value) if value else None
    except ValueError:
        seconds = math.nan
    if seconds is not None and not math.isfinite(seconds):
        raise BadTableFile(str(path), f"line {line}: {column} is {value!r}", "seconds as a number")
    return seconds


def _from_row(manifest: Path, line: int, row: dict[str, str]) -> Recording:
    start_s, end_s = _seconds(row, "start_s", manifest, line), _seconds(row, "end_s", manifest, line)
    name = Path(row["path"]).with_suffix("").as_posix()
    file = manifest.parent / row["path"]
    alignment = _beside(file)
    if alignment is not None and start_s:
        read, begin_s = alignment, start_s
        alignment = lambda: (whole := read()) and whole.cut(begin_s, end_s or float("inf"))  # noqa: E731
    return Recording(
        # Several rows may cut one file; then the start tells them apart.
        name=f"{name}@{start_s:.2f}" if start_s else name,
        sound=file,
        path=row["path"],
        start_s=start_s or 0.0,
        end_s=end_s,
        text=row["text"] if row.get("text") else None,
        language=row.get("language") or None,
        speaker=row.get("speaker") or None,
        label=row.get("label") or None,
        alignment=alignment,
    )


# --- datasets ---------------------------------------------------------------------------------------------

_HUB_COLUMNS = {
    "text": ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_transcription"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "language": ("language", "locale", "lang", "lang_id"),
    "label": ("label", "category", "class"),
}


def open_hub(address: str, seed: int) -> Recordings:
    """A Hugging Face dataset, streamed: `NAME:CONFIG:SPLIT`.

    Config and split may be left out; NAME may be a local folder.

    The files' own bytes are decoded here, so no codec of `datasets` is needed.

    Raises:
        UnknownSource: no name.
        MissingExtra: `datasets` is not installed.
        HubUnreachable: the dataset cannot be opened.
        NoAudio: it has no column of audio.
    """
    name, config, split = (*address.split(":"), "", "")[:3]
    if not name.strip():
        raise UnknownSource(f"hf:{address}", ["hf:NAME", "hf:NAME:CONFIG:SPLIT"])
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("A dataset of the Hugging Face Hub", ["datasets"]) from error
    datasets.disable_progress_bars()
    try:
        with _quiet("huggingface_hub"):  # it tells of each of its attempts
            rows = datasets.load_dataset(name, config or None, split=split or "train", streaming=True)
            features: Mapping[str, object] = rows.features or next(iter(rows.take(1)), {})
    except (OSError, ValueError, RuntimeError) as error:
        raise HubUnreachable(name, _first_line(error)) from error
    columns = [column for column, kind in features.items() if isinstance(kind, datasets.Audio)]
    if not columns:
        raise NoAudio(f"hf:{address}", f"no column of audio among {', '.join(features)}")
    # As bytes and path, or as the path alone: the Audio type asks for a codec even where nothing is decoded.
    path, content = datasets.Value("string"), datasets.Value("binary")
    in_folder = getattr(rows.info, "builder_name", None) == "audiofolder"
    rows = rows.cast_column(columns[0], path if in_folder else {"bytes": content, "path": path})
    found = {field: next((c for c in names if c in features), None) for field, names in _HUB_COLUMNS.items()}
    names = {field: getattr(features[c], "names", None) for field, c in found.items() if c}

    def items() -> Iterator[Recording]:
        iterator = iter(rows)
        for at in itertools.count():
            try:
                row = next(iterator, None)
            except (OSError, ValueError, RuntimeError) as error:
                raise HubUnreachable(name, f"row {at}: {_first_line(error)}") from error
            if row is None:
                return
            yield _from_hub_row(row, at, columns[0], found, names, name)

    info = rows.info
    splits = info.splits or {}
    total = splits[split or "train"].num_examples if (split or "train") in splits else None
    licence = f"licence: {info.license}" if info.license else ""
    return Recordings(items(), total or None, note=licence)


def _from_hub_row(
    row: Mapping[str, object],
    at: int,
    column: str,
    found: Mapping[str, str | None],
    names: Mapping[str, list[str] | None],
    dataset: str,
) -> Recording:
    audio = row[column]
    content, path = (audio.get("bytes"), audio.get("path")) if isinstance(audio, dict) else (None, audio)
    stem = Path(str(path)).stem if path else ""
    sound = content if isinstance(content, bytes) else _fetched(str(path))

    def field(name: str) -> str | None:
        value = row.get(found[name] or "")
        if value is None or value == "":
            return None
        labels = names.get(name)
        return labels[value] if labels and isinstance(value, int) and 0 <= value < len(labels) else str(value)

    return Recording(
        name=f"{at:06d}-{stem}" if stem else f"{at:06d}",
        sound=sound,
        path=f"hf:{dataset}#{at}",
        text=field("text"),
        language=field("language"),
        speaker=field("speaker"),
        label=field("label"),
    )


@contextlib.contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _fetched(path: str) -> Path | bytes:
    """A file that a dataset names instead of holding it: on this machine, or on the Hub."""
    if "://" not in path:
        return Path(path)
    import fsspec

    with fsspec.open(path, "rb") as file:
        content: bytes = file.read()
    return content


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def with_alignment(recording: Recording) -> tuple[Recording, Alignment | None]:
    """The recording, and its alignment, read now."""
    read = recording.alignment
    alignment = read() if callable(read) else read
    return dataclasses.replace(recording, alignment=None), alignment
