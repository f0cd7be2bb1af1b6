"""An atlas on disk: one folder per model, corpus and site, read row by row without torch.

`home()/atlases/MODEL-SHA8/CORPUS-HASH8[-ALIGNMENT8]/[condensed/]SITE/` holds `statistics.safetensors`, whose arrays
have one row per unit and whose header carries an `about` entry (JSON, see `About`); where the corpus is aligned, for
sites over frames, `phones.safetensors` with the same header; and for decoder sites `words.safetensors`, with the same
header, and `tokens.jsonl`: per clip the tokens that its positions stand for.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from wspy.atlas.effects import UnitEffects, read_effects
from wspy.atlas.phone_arrays import (
    LAGS,
    PACKED,
    ROWS,
    SHARED,
    StoredPhones,
    UnitPhones,
    phone_names,
    unit_phones_from_arrays,
)
from wspy.atlas.statistics import SIGNS, Examples, UnitStatistics, unit_from_arrays
from wspy.errors import DamagedAtlas, NoPhones, NotWritable, OutdatedAtlas, OutOfRange
from wspy.files import atomic_path, home, write_atomic

if TYPE_CHECKING:
    from jaxtyping import Float16, Float32, Float64, Int16, Int32

    from wspy.atlas.words import UnitWords
    from wspy.corpus import Corpus
    from wspy.model import ModelReference

FORMAT = 6
STATISTICS = "statistics.safetensors"
PHONES = "phones.safetensors"
TOKENS = "tokens.jsonl"
WORDS = "words.safetensors"
DIRECTIONS = "directions.safetensors"
EFFECTS = "effects.json"
BUILDING = ".building"  # beside the sites: what unfinished passes have kept
_NAMES = {1: "positive", -1: "negative"}

Speed = Literal["exact", "condensed"]
Texts = Literal["corpus", "whisper", "mixed"]
SPEEDS: tuple[Speed, ...] = ("exact", "condensed")


class _Layout(BaseModel):
    format: int


class About(BaseModel):
    """What an atlas was made from: the `about` entry of the header."""

    model_config = ConfigDict(frozen=True)

    format: int = Field(description="Version of the file's layout.")
    site: str = Field(description="Module path, or for computed units their name, as `sae:demo`.")
    n_units: int = Field(description="Units of the site.")
    position: Literal["frame", "token"] = Field(description="What a unit's activations run over.")
    model: str = Field(description="Name of the model.")
    model_sha256: str = Field(description="SHA-256 of its weights file.")
    corpus: str = Field(description="Name of the corpus.")
    corpus_hash: str = Field(description="Hash of its audio and clip list.")
    alignment_hash: str | None = Field(description="Hash of its alignment: phones, and texts where it has none.")
    speed: Speed = Field(description="How padding was treated: `exact` pads every clip to 30 s.")
    top: int = Field(description="How many of the most extreme clips are kept per unit and sign.")
    texts: Texts | None = Field(
        None, description="For decoder sites, whose words were read: those of the corpus, Whisper's own, or both."
    )
    part: tuple[int, int] = Field((1, 1), description="Which part of the corpus, counted from 1, and of how many.")
    base: str | None = Field(None, description="For computed units, the site that they are computed from.")
    units_sha256: str | None = Field(None, description="For computed units, the hash of what computes them.")


@dataclass(frozen=True)
class Token:
    """A position of the decoder: what was fed there and when it is heard."""

    text: str
    word: str
    heard_s: float


def folder_name(name: str) -> str:
    """The name of a model or corpus as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).name)


def corpus_folder(reference: ModelReference, corpus: Corpus) -> Path:
    """Where the atlases of a model over a corpus are kept, apart for each alignment."""
    heard = f"{folder_name(corpus.name)}-{corpus.hash[:8]}"
    if corpus.alignment_hash:
        heard += f"-{corpus.alignment_hash[:8]}"
    return home() / "atlases" / f"{folder_name(reference.name)}-{reference.sha256[:8]}" / heard


def site_folder(site: str, reference: ModelReference, corpus: Corpus, speed: Speed = "exact") -> Path:
    """Where the atlas of one site is kept; for computed units `site` is `Probe.folder`."""
    folder = corpus_folder(reference, corpus)
    return (folder if speed == "exact" else folder / speed) / site


def is_built(folder: Path) -> bool:
    """Whether a finished atlas of this layout lies there."""
    try:
        return (folder / STATISTICS).is_file() and bool(read_about(folder / STATISTICS))
    except OutdatedAtlas:
        return False


@dataclass(frozen=True)
class SiteSummary:
    """A site at a glance."""

    n_alive: int
    """Units with an activation above zero at least once."""
    density: tuple[float, float, float]
    """Share of frames or tokens above zero: 5th, 50th and 95th percentile of the units."""
    maximum: tuple[float, float, float]
    """Highest activation: the same percentiles."""
    phones: dict[str, int]
    """Frames of each phone, most frequent first; empty where no phones were counted."""


def _spread(values: Float64[np.ndarray, " unit"]) -> tuple[float, float, float]:
    low, middle, high = (float(value) for value in np.percentile(values, (5, 50, 95)))
    return low, middle, high


class _Slice(Protocol):
    """An array of which only what is asked for is read."""

    def get_shape(self) -> list[int]: ...
    def __getitem__(self, rows: slice) -> np.ndarray: ...


class _Stored(Protocol):
    """A file of arrays as safetensors opens it, which has no types of its own."""

    def keys(self) -> Sequence[str]: ...
    def get_tensor(self, name: str) -> np.ndarray: ...
    def get_slice(self, name: str) -> _Slice: ...


def _between(stored: _Stored, name: str, start: int, stop: int) -> np.ndarray:
    """Rows of an array; safetensors refuses an empty range at an array's end."""
    rows = stored.get_slice(name)
    length = rows.get_shape()[0]
    if start < stop or start < length:
        return rows[start:stop]
    return rows[length - 1 : length][:0] if length else stored.get_tensor(name)


class SiteAtlas:
    """A finished atlas of one site. Reading a unit touches that unit's rows only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = read_about(folder / STATISTICS)

    def unit(self, idx: int) -> UnitStatistics:
        """The statistics of one unit.

        Raises:
            OutOfRange: the site has no such unit.
            DamagedAtlas: the file cannot be read.
        """
        self._check(idx)
        with self._opened(STATISTICS) as stored:
            row: dict[str, np.ndarray] = {"counts": stored.get_tensor("counts")}
            sliced = [f"{name}.{part}" for name in _NAMES.values() for part in ("histogram", "extreme")]
            sliced += [f"{name}.top.{field}" for name in _NAMES.values() for field in Examples.FIELDS]
            for name in ["sum", "sum_of_squares", "n_positive", *sliced]:
                row[name] = stored.get_slice(name)[idx : idx + 1][0]
            for sign in SIGNS:
                prefix = f"{_NAMES[sign]}.samples"
                start, stop = (int(at) for at in stored.get_slice(f"{prefix}.offset")[idx : idx + 2])
                for field in Examples.FIELDS:
                    row[f"{prefix}.{field}"] = _between(stored, f"{prefix}.{field}", start, stop)
        return unit_from_arrays(row)

    @property
    def has_phones(self) -> bool:
        """Whether phones were counted: the corpus has them, and the site runs over frames."""
        return (self.folder / PHONES).is_file()

    def unit_phones(self, idx: int) -> UnitPhones:
        """The phones of one unit.

        Raises:
            OutOfRange: the site has no such unit.
            NoPhones: no phones were counted.
            DamagedAtlas: the file cannot be read.
        """
        self._check(idx)
        with self._opened(PHONES) as stored:
            row: dict[str, np.ndarray] = {name: stored.get_tensor(name) for name in SHARED}
            row |= {name: stored.get_slice(name)[idx : idx + 1][0] for name in ROWS}
            for name in PACKED:
                start, stop = (int(at) for at in stored.get_slice(f"{name}.offset")[idx : idx + 2])
                row[f"{name}.data"] = stored.get_slice(f"{name}.data")[start:stop]
            return unit_phones_from_arrays(row)

    def phones(self) -> UnitPhones:
        """The phones of all units. Histograms and sums, which are large, are read when they are first touched.

        Raises:
            NoPhones: no phones were counted.
            DamagedAtlas: the file cannot be read.
        """
        with self._opened(PHONES):
            return StoredPhones(_Arrays(self, PHONES))

    def directions(self) -> Float16[np.ndarray, "unit _"] | None:
        """What each unit writes, at length 1: MLP neurons into the residual stream, computed units into the site that
        they come from; None for other sites.

        Raises:
            DamagedAtlas: the file cannot be read.
        """
        if not (self.folder / DIRECTIONS).is_file():
            return None
        with self._opened(DIRECTIONS) as stored:
            return stored.get_tensor("directions")

    def effects(self) -> list[UnitEffects] | None:
        """The tokens that each neuron of the decoder speaks for and against; None for other sites.

        Raises:
            DamagedAtlas: the file cannot be read.
        """
        path = self.folder / EFFECTS
        return read_effects(path) if path.is_file() else None

    def unit_words(self, idx: int) -> UnitWords:
        """For a decoder site, what one unit does at each word.

        Raises:
            OutOfRange: the site has no such unit.
            DamagedAtlas: the file cannot be read, or the site has no words.
        """
        from wspy.atlas.words import UnitWords, words_of

        self._check(idx)
        with self._opened(WORDS) as stored:
            rows = [stored.get_slice(name)[idx : idx + 1][0] for name in ("sum", "maximum", "minimum")]
            return UnitWords(words_of(stored.get_tensor("words")), stored.get_tensor("counts"), *rows)

    def peaks(self, sign: int) -> tuple[Int32[np.ndarray, "unit clip"], Int16[np.ndarray, "unit clip"]]:
        """Of every unit the clips with the most extreme peaks, strongest first, and the frames of these peaks.

        Args:
            sign: 1 for the highest activations, -1 for the lowest. Clip -1: there are fewer clips in which the unit
                goes to that side of zero.
        """
        with self._opened(STATISTICS) as stored:
            name = f"{_NAMES[sign]}.top"
            clips, frames = stored.get_tensor(f"{name}.clip"), stored.get_tensor(f"{name}.frame")
            return np.where(stored.get_tensor(f"{name}.value") > 0, clips, -1), frames

    @functools.cached_property
    def counts(self) -> tuple[int, int]:
        """How many clips were heard, and how many frames or tokens of all clips together."""
        with self._opened(STATISTICS) as stored:
            n_clips, n_positions = (int(count) for count in stored.get_tensor("counts"))
        return n_clips, n_positions

    @functools.cached_property
    def lag_frames(self) -> int | None:
        """How many frames after a phone the site answers best; None where no phones were counted."""
        if not self.has_phones:
            return None
        with self._opened(PHONES) as stored:
            lag = stored.get_tensor("lag")
        return int(lag[0]) if len(lag) else None

    def densities(self) -> Float64[np.ndarray, " unit"]:
        """Of every unit the share of frames or tokens above zero."""
        with self._opened(STATISTICS) as stored:
            density: Float64[np.ndarray, " unit"] = stored.get_tensor("n_positive") / max(self.counts[1], 1)
        return density

    def maxima(self) -> Float32[np.ndarray, " unit"]:
        """Of every unit the highest activation."""
        with self._opened(STATISTICS) as stored:
            return stored.get_tensor("positive.extreme")

    def summary(self) -> SiteSummary:
        """The site at a glance.

        Raises:
            DamagedAtlas: a file cannot be read.
        """
        density = self.densities()
        phones: dict[str, int] = {}
        if self.has_phones:
            with self._opened(PHONES) as stored:
                names = phone_names(stored.get_tensor("phones"))
                frames = stored.get_tensor("counts")[:, LAGS.index(0)].tolist()
            counted = sorted(zip(names, frames, strict=True), key=lambda phone: (-phone[1], phone[0]))
            phones = dict(counted)
        return SiteSummary(int((density > 0).sum()), _spread(density), _spread(self.maxima()), phones)

    def _check(self, idx: int) -> None:
        if not 0 <= idx < self.about.n_units:
            raise OutOfRange("Unit", idx, 0, self.about.n_units - 1, f"{self.about.site} of {self.about.model}")

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[_Stored]:
        """A file of arrays, memory-mapped; whatever is wrong with it is said in one way."""
        from safetensors import SafetensorError, safe_open

        path = self.folder / name
        if name == PHONES and not path.is_file():
            raise NoPhones(self.about.corpus, self.about.site)
        try:
            with safe_open(path, framework="numpy") as stored:
                yield cast("_Stored", stored)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise DamagedAtlas(str(self.folder), str(error)) from None

    @functools.cached_property
    def tokens(self) -> dict[int, list[Token]]:
        """For a decoder site, by the clip's place in the corpus the tokens that its positions stand for."""
        return read_tokens(self.folder / TOKENS)


class _Arrays(Mapping[str, np.ndarray]):
    """The arrays of a file, each read when it is asked for."""

    def __init__(self, atlas: SiteAtlas, name: str) -> None:
        self._atlas, self._name = atlas, name
        with atlas._opened(name) as stored:
            self._names = list(stored.keys())

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        with self._atlas._opened(self._name) as stored:
            return stored.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_about(path: Path) -> About:
    """What a statistics file was made from.

    Raises:
        OutdatedAtlas: it is of an earlier layout.
        DamagedAtlas: the file is not one of ours, or of a later layout.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            said = (stored.metadata() or {}).get("about", "")
        # Other layouts say other things of themselves, so the version comes first.
        made_as = _Layout.model_validate_json(said).format
        if made_as < FORMAT:
            raise OutdatedAtlas(str(path.parent), f"its layout is the old version {made_as}")
        if made_as > FORMAT:
            raise DamagedAtlas(str(path.parent), f"its layout is version {made_as}, this wspy reads {FORMAT}")
        return About.model_validate_json(said)
    except (OSError, SafetensorError, ValueError) as error:
        raise DamagedAtlas(str(path.parent), str(error).splitlines()[0]) from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: About) -> None:
    """Write statistics and what they were made from, whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(whole, temporary, metadata={"about": about.model_dump_json()})
        except SafetensorError as error:  # its word for a full disk
            raise NotWritable(str(path), str(error)) from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file.

    Raises:
        DamagedAtlas: the file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DamagedAtlas(str(path.parent), str(error)) from None


def read_tokens(path: Path) -> dict[int, list[Token]]:
    """What `write_tokens` wrote."""
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {clip: [Token(*token) for token in tokens] for clip, tokens in lines}


def write_tokens(path: Path, tokens: Mapping[int, list[Token]]) -> None:
    """Write the tokens of clips by their places, as lines of `[place, [[text, word, heard_s], ...]]`, in order."""
    lines = (
        json.dumps([clip, [[t.text, t.word, t.heard_s] for t in tokens[clip]]], ensure_ascii=False)
        for clip in sorted(tokens)
    )
    write_atomic(path, "".join(line + "\n" for line in lines))
