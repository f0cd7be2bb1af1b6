"""An atlas on disk: one folder per model, corpus and site, read row by row without torch.

`home()/atlases/MODEL-SHA8/CORPUS-HASH8/SITE/` holds `statistics.safetensors`, whose arrays have one row per unit and
whose header carries an `about` entry (JSON, see `About`), and for decoder sites `tokens.jsonl`: per clip the tokens
that its positions stand for. While it is being built, finished parts lie in `shards/`.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from wspy.atlas.statistics import SIGNS, Examples, SiteStatistics, UnitStatistics, unit_from_arrays
from wspy.errors import DamagedAtlas, NotWritable, OutdatedAtlas, OutOfRange
from wspy.files import atomic_path, home, write_atomic

if TYPE_CHECKING:
    from wspy.corpus import Corpus
    from wspy.model import ModelReference

FORMAT = 2
STATISTICS = "statistics.safetensors"
TOKENS = "tokens.jsonl"
_NAMES = {1: "positive", -1: "negative"}


class About(BaseModel):
    """What an atlas was made from: the `about` entry of the header."""

    model_config = ConfigDict(frozen=True)

    format: int = Field(description="Version of the file's layout.")
    site: str = Field(description="Module path.")
    n_units: int = Field(description="Units of the site.")
    position: Literal["frame", "token"] = Field(description="What a unit's activations run over.")
    model: str = Field(description="Name of the model.")
    model_sha256: str = Field(description="SHA-256 of its weights file.")
    corpus: str = Field(description="Name of the corpus.")
    corpus_hash: str = Field(description="Hash of its audio and clip list.")
    alignment_hash: str | None = Field(description="Hash of the alignment, for decoder sites: texts may come from it.")
    speed: Literal["exact"] = Field(description="How padding was treated: `exact` pads every clip to 30 s.")


@dataclass(frozen=True)
class Token:
    """A position of the decoder: what was fed there and when it is heard."""

    text: str
    word: str
    heard_s: float


def site_folder(site: str, reference: ModelReference, corpus: Corpus) -> Path:
    """Where the atlas of a site over a corpus is kept. What the decoder reads may come from the alignment."""

    def plain(name: str) -> str:
        return re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).name)

    model = f"{plain(reference.name)}-{reference.sha256[:8]}"
    heard = f"{plain(corpus.name)}-{corpus.hash[:8]}"
    if site.startswith("decoder.") and corpus.alignment_hash:
        heard += f"-{corpus.alignment_hash[:8]}"
    return home() / "atlases" / model / heard / site


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
        if not 0 <= idx < self.about.n_units:
            raise OutOfRange("Unit", idx, 0, self.about.n_units - 1, f"{self.about.site} of {self.about.model}")
        from safetensors import SafetensorError, safe_open

        path = self.folder / STATISTICS
        try:
            with safe_open(path, framework="numpy") as stored:
                row: dict[str, np.ndarray] = {"counts": stored.get_tensor("counts")}
                sliced = [f"{name}.{part}" for name in _NAMES.values() for part in ("histogram", "extreme")]
                sliced += [f"{name}.top.{field}" for name in _NAMES.values() for field in Examples.FIELDS]
                for name in ["sum", "sum_of_squares", "n_positive", *sliced]:
                    row[name] = stored.get_slice(name)[idx : idx + 1][0]
                for sign in SIGNS:
                    prefix = f"{_NAMES[sign]}.samples"
                    start, stop = (int(at) for at in stored.get_slice(f"{prefix}.offset")[idx : idx + 2])
                    for field in Examples.FIELDS:
                        row[f"{prefix}.{field}"] = stored.get_slice(f"{prefix}.{field}")[start:stop]
        except (OSError, SafetensorError) as error:
            raise DamagedAtlas(str(self.folder), str(error)) from None
        return unit_from_arrays(row)

    @functools.cached_property
    def tokens(self) -> list[list[Token]]:
        """For a decoder site, per clip of the corpus the tokens that its positions stand for."""
        return read_tokens(self.folder / TOKENS)


def read_about(path: Path) -> About:
    """What a statistics file was made from.

    Raises:
        DamagedAtlas: the file is not one of ours, or of a later layout.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            about = About.model_validate_json((stored.metadata() or {}).get("about", ""))
    except (OSError, SafetensorError, ValueError) as error:
        raise DamagedAtlas(str(path.parent), str(error).splitlines()[0]) from None
    if about.format < FORMAT:
        raise OutdatedAtlas(str(path.parent), f"its layout is the old version {about.format}")
    if about.format > FORMAT:
        raise DamagedAtlas(str(path.parent), f"its layout is version {about.format}, this wspy reads {FORMAT}")
    return about


def write_statistics(path: Path, statistics: SiteStatistics, about: About) -> None:
    """Write statistics and what they were made from, whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(array) for name, array in statistics.arrays().items()}
    with atomic_path(path) as temporary:
        try:
            save_file(arrays, temporary, metadata={"about": about.model_dump_json()})
        except SafetensorError as error:  # its word for a full disk
            raise NotWritable(str(path), str(error)) from error


def read_statistics(path: Path) -> SiteStatistics:
    """All statistics of a file.

    Raises:
        DamagedAtlas: the file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return SiteStatistics.from_arrays(load_file(path))
    except (OSError, SafetensorError, KeyError) as error:
        raise DamagedAtlas(str(path.parent), str(error)) from None


def read_tokens(path: Path) -> list[list[Token]]:
    """What `write_tokens` wrote."""
    return [[Token(*token) for token in json.loads(line)] for line in path.read_text().splitlines()]


def write_tokens(path: Path, tokens: list[list[Token]]) -> None:
    """Write per clip the tokens of its positions, as lines of `[text, word, heard_s]` lists."""
    lines = (json.dumps([[t.text, t.word, t.heard_s] for t in clip], ensure_ascii=False) for clip in tokens)
    write_atomic(path, "".join(line + "\n" for line in lines))
