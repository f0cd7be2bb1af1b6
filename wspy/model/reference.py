"""Finding a model: its name, place, hash and sizes, without torch.

A command that only reads what an earlier one wrote needs the model's hash and sizes but not its weights, so
nothing here imports torch, and the hashes of large files are remembered.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from wspy.errors import BadCheckpoint, ChecksumMismatch, NotWritable, UnknownDevice, UnknownModel
from wspy.files import atomic_folder, home, locked, write_atomic
from wspy.model.catalogue import BUNDLES, PUBLISHED, Bundle
from wspy.model.dimensions import Dimensions

__all__ = [
    "DEFAULT_MODEL",
    "AvailableModel",
    "Dimensions",
    "ModelReference",
    "Source",
    "check_device_name",
    "find_model",
    "list_models",
]

DEFAULT_MODEL = "tiny.en"
HASH_BLOCK_BYTES = 1 << 22
INDEX_VERSION = 1

Source = Literal[
    "openai-whisper cache",
    "bundled package",
    "download",
    "openai-whisper file",
    "Hugging Face folder",
    "CTranslate2 folder",
    "in memory",
]


@dataclass(frozen=True)
class ModelReference:
    """Which model is meant. `path` is a file or folder; None means openai-whisper has yet to download it."""

    name: str
    source: Source
    path: Path | None
    sha256: str
    dims: Dimensions

    @property
    def published_name(self) -> str | None:
        """The name under which openai-whisper publishes these weights, where they are known to be those."""
        if self.source in ("openai-whisper cache", "bundled package", "download"):
            return self.name
        return next((name for name, model in PUBLISHED.items() if model.sha256 == self.sha256), None)


def check_device_name(device: str | None) -> None:
    """Refuse what is no device on any machine, before anything is loaded or computed.

    Raises:
        UnknownDevice: it is none.
    """
    if device is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise UnknownDevice(device, ("cuda", "mps", "cpu"))


@dataclass(frozen=True)
class AvailableModel:
    """One row of `wspy models`. `available` means that loading it needs no network."""

    name: str
    source: Source
    where: str
    available: bool
    n_params: int


def find_model(name_or_path: str | Path = DEFAULT_MODEL) -> ModelReference:
    """Find a model by name, or a checkpoint by path.

    A name is looked up in openai-whisper's cache, then in the bundled packages; a name found in neither gets a
    reference that openai-whisper downloads at loading. A name goes before a folder of the same name: write
    `./base` for the folder.

    Raises:
        UnknownModel: neither a name nor a path.
        BadCheckpoint: the path holds no checkpoint that wspy reads.
        ChecksumMismatch: a bundled package is damaged.
    """
    text = os.fspath(name_or_path)
    if text in PUBLISHED:
        return _find_cached(text) or _find_bundled(text) or _to_download(text)
    path = Path(text).expanduser()
    if not path.exists():
        raise UnknownModel(text, PUBLISHED)
    return _from_path(path.resolve())


def list_models() -> list[AvailableModel]:
    """Every model name, with the place that `find_model` would take it from. Nothing is hashed or downloaded."""
    rows = []
    for name, published in PUBLISHED.items():
        cached, folders = cache_folder() / published.file, _package_folders(BUNDLES[name]) if name in BUNDLES else None
        source: Source = "download"
        where = "openai-whisper downloads it when it is first used"
        if cached.is_file():
            source, where = "openai-whisper cache", str(cached)
        elif name in BUNDLES and (folders or (_joined_folder(name) / "model.bin").is_file()):
            source, where = "bundled package", ", ".join(BUNDLES[name].packages)
        elif name in BUNDLES:
            where += f", or: {BUNDLES[name].install}"
        rows.append(AvailableModel(name, source, where, source != "download", published.dims.n_params))
    return rows


# --- names ------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where openai-whisper keeps what it downloads."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper"


def _find_cached(name: str) -> ModelReference | None:
    published = PUBLISHED[name]
    path = cache_folder() / published.file
    # A broken-off download is not the model: pass it over, openai-whisper will replace it.
    if not path.is_file() or file_sha256(path) != published.sha256:
        return None
    return ModelReference(name, "openai-whisper cache", path, published.sha256, published.dims)


def _find_bundled(name: str) -> ModelReference | None:
    bundle = BUNDLES.get(name)
    if bundle is None:
        return None
    folders = _package_folders(bundle)
    if len(bundle.parts) > 1:
        folder = _joined_folder(name)
        if not (folder / "model.bin").is_file():
            if folders is None:
                return None
            _join(bundle, folders, folder)
        remedy = f"Delete {folder} and run the same command again."
    else:
        if folders is None:
            return None
        folder = folders[0]
        remedy = f"Install it again: {bundle.install} --force-reinstall"
    check_sha256(folder / "model.bin", bundle.sha256, file_sha256(folder / "model.bin"), remedy)
    return ModelReference(name, "bundled package", folder, bundle.sha256, PUBLISHED[name].dims)


def _to_download(name: str) -> ModelReference:
    return ModelReference(name, "download", None, PUBLISHED[name].sha256, PUBLISHED[name].dims)


def _joined_folder(name: str) -> Path:
    return home() / "models" / name


def _package_folders(bundle: Bundle) -> list[Path] | None:
    """The data folders of the bundle's packages, found without importing them; None unless all are installed."""
    folders = []
    for package, part in zip(bundle.packages, bundle.parts, strict=True):
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not places or not (Path(places[0]) / bundle.folder / part).is_file():
            return None
        folders.append(Path(places[0]) / bundle.folder)
    return folders


def _join(bundle: Bundle, folders: Sequence[Path], target: Path) -> None:
    """Make the whole checkpoint folder from its parts, once, however many processes want it."""
    with locked(target, f"the model in {target}"):
        if (target / "model.bin").is_file():
            return
        try:
            with atomic_folder(target) as temporary:
                digest = hashlib.sha256()
                with (temporary / "model.bin").open("wb") as joined:
                    for folder, part in zip(folders, bundle.parts, strict=True):
                        with (folder / part).open("rb") as piece:
                            while block := piece.read(HASH_BLOCK_BYTES):
                                digest.update(block)
                                joined.write(block)
                    joined.flush()
                    os.fsync(joined.fileno())
                remedy = f"Install both again: {bundle.install} --force-reinstall"
                check_sha256(" + ".join(bundle.packages), bundle.sha256, digest.hexdigest(), remedy)
                for extra in ("config.json", "tokenizer.json", "vocabulary.txt"):
                    shutil.copyfile(folders[0] / extra, temporary / extra)
        except OSError as error:
            raise NotWritable(str(target), error.strerror or str(error)) from error


# --- paths ------------------------------------------------------------------------------------------------


def _from_path(path: Path) -> ModelReference:
    if path.is_file() and path.name in ("model.bin", "model.safetensors", "model.safetensors.index.json"):
        path = path.parent
    if path.is_file():
        if path.suffix not in (".pt", ".pth"):
            raise BadCheckpoint(path, "wspy reads openai-whisper's .pt files, Hugging Face and CTranslate2 folders.")
        return ModelReference(path.stem, "openai-whisper file", path, file_sha256(path), _file_dims(path))
    if (path / "model.safetensors").is_file() or (path / "model.safetensors.index.json").is_file():
        from wspy.model.formats import huggingface

        dims = huggingface.read_dimensions(path)
        return ModelReference(path.name, "Hugging Face folder", path, _joint_sha256(huggingface.shards(path)), dims)
    if (path / "model.bin").is_file():
        from wspy.model.formats import ctranslate2

        dims = ctranslate2.read_dimensions(path)
        return ModelReference(path.name, "CTranslate2 folder", path, file_sha256(path / "model.bin"), dims)
    if pickled := sorted(path.glob("pytorch_model*.bin")):
        raise BadCheckpoint(
            path,
            f"{pickled[0].name} is a pickle, which can run code; save the model again with safe_serialization=True.",
        )
    raise BadCheckpoint(path, "the folder holds neither model.safetensors (Hugging Face) nor model.bin (CTranslate2).")


def _file_dims(path: Path) -> Dimensions:
    """The sizes of a .pt file: from the table if it is a published one, else remembered, else read with torch."""
    sha256 = file_sha256(path)
    for published in PUBLISHED.values():
        if published.sha256 == sha256:
            return published.dims
    entry = _read_index().get(str(path))
    if entry is None or entry.stamp != _stamp(path) or entry.dims is None:
        from wspy.model.formats import openai

        entry = _IndexEntry(_stamp(path), sha256, openai.read_dimensions(path))
        _remember(path, entry)
    assert entry.dims is not None
    return entry.dims


# --- hashes, remembered -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _IndexEntry:
    """What is known about a file as long as `stamp` (size in bytes, time of change in ns) is unchanged."""

    stamp: tuple[int, int]
    sha256: str
    dims: Dimensions | None


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, remembered in `models/index.json` until its size or time of change differs."""
    entry = _read_index().get(str(path))
    if entry is None or entry.stamp != _stamp(path):
        entry = _IndexEntry(_stamp(path), compute_sha256(path), None)
        _remember(path, entry)
    return entry.sha256


def compute_sha256(path: Path) -> str:
    """The SHA-256 of a file, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(what: object, expected: str, found: str, remedy: str) -> None:
    if found != expected:
        raise ChecksumMismatch(what, expected, found, remedy)


def _joint_sha256(files: Sequence[Path]) -> str:
    """One file's own hash; for shards, the hash of the lines `HASH NAME` in order of name."""
    if len(files) == 1:
        return file_sha256(files[0])
    lines = "".join(f"{file_sha256(file)} {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _index_path() -> Path:
    return home() / "models" / "index.json"


def _read_index() -> dict[str, _IndexEntry]:
    try:
        document = json.loads(_index_path().read_bytes())
        if document["version"] != INDEX_VERSION:
            return {}
        return {
            path: _IndexEntry(
                (int(entry["size"]), int(entry["mtime_ns"])),
                str(entry["sha256"]),
                Dimensions(**entry["dims"]) if entry["dims"] else None,
            )
            for path, entry in document["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # none yet, or damaged: it only saves time, and is made anew


def _remember(path: Path, entry: _IndexEntry) -> None:
    try:
        with locked(_index_path(), "the index of models"):
            files = {
                known: {
                    "size": known_entry.stamp[0],
                    "mtime_ns": known_entry.stamp[1],
                    "sha256": known_entry.sha256,
                    "dims": asdict(known_entry.dims) if known_entry.dims else None,
                }
                for known, known_entry in {**_read_index(), str(path): entry}.items()
            }
            write_atomic(_index_path(), json.dumps({"version": INDEX_VERSION, "files": files}, indent=1))
    except (NotWritable, OSError):
        return  # a home that cannot be written costs a hash next time, not this command
