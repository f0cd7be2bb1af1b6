"""What atlases are kept: listing and removing them. Nothing here needs torch."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from wspy.atlas.derived import site_of
from wspy.atlas.store import BUILDING, SPEEDS, STATISTICS, About, SiteAtlas, Speed, folder_name
from wspy.errors import Busy, DamagedAtlas, OutdatedAtlas, UnknownAtlas
from wspy.files import home, locked


@dataclass(frozen=True)
class KeptAtlas:
    """One site's atlas on disk, without its statistics."""

    about: About
    n_clips: int
    n_positions: int
    """Frames of sound, or tokens of text, of all clips together."""
    lag_frames: int | None
    """How many frames after a phone the site answers best; None where no phones were counted."""
    size_bytes: int
    folder: Path


@dataclass(frozen=True)
class UnfinishedAtlas(KeptAtlas):
    """What an interrupted pass, or one at work, has of one site so far."""


def kept_atlas(atlas: SiteAtlas) -> KeptAtlas:
    """What there is to know of an atlas at a glance.

    Raises:
        DamagedAtlas: a file of it cannot be read.
    """
    n_clips, n_positions = atlas.counts
    size = sum(path.stat().st_size for path in atlas.folder.iterdir() if path.is_file())
    return KeptAtlas(atlas.about, n_clips, n_positions, atlas.lag_frames, size, atlas.folder)


def list_atlases(
    pattern: str = "*", *, model: str | None = None, corpus: str | None = None, speed: Speed | None = None
) -> list[KeptAtlas]:
    """The finished atlases whose site matches, by model, corpus and site. `damaged_atlases` has what this leaves out.

    Args:
        pattern: fnmatch's, over names of sites.
        model, corpus, speed: Only those made from it; None takes all.
    """
    found = []
    for place in _places(pattern, model, corpus, speed):
        try:
            found.append(kept_atlas(SiteAtlas(place.folder)))
        except DamagedAtlas:
            continue
    return sorted(found, key=_order)


def list_unfinished() -> list[UnfinishedAtlas]:
    """What interrupted passes, and those at work, have so far: their newest checkpoints, by model, corpus and site."""
    found = []
    for checkpoints in (home() / "atlases").glob(f"[!.]*/[!.]*/{BUILDING}/[!.]*"):
        newest = max(checkpoints.glob("[0-9]*"), default=None)
        for statistics in newest.glob(f"*/{STATISTICS}") if newest else ():
            with contextlib.suppress(DamagedAtlas):
                kept = kept_atlas(SiteAtlas(statistics.parent))
                found.append(UnfinishedAtlas(**vars(kept)))
    return sorted(found, key=_order)


def damaged_atlases() -> dict[Path, DamagedAtlas]:
    """The folders of atlases that cannot be read, and what is wrong with each; those of an old layout are not among
    them, for they are built anew when they are asked for."""
    found: dict[Path, DamagedAtlas] = {}
    for place in _places("*", None, None, None):
        try:
            kept_atlas(SiteAtlas(place.folder))
        except OutdatedAtlas:
            continue
        except DamagedAtlas as error:
            found[place.folder] = error
    return found


def remove_atlases(
    pattern: str, *, model: str | None = None, corpus: str | None = None, speed: Speed | None = None
) -> list[Path]:
    """Delete the atlases whose site matches, damaged ones and unfinished passes too; gives their folders.

    Raises:
        UnknownAtlas: there is none.
    """
    places = list(_places(pattern, model, corpus, speed))
    if not places:
        raise UnknownAtlas(pattern, {place.site for place in _places("*", None, None, None)})
    for place in places:
        with locked(place.folder, f"the atlas of {place.site}"):
            # Without its statistics it is no atlas any more, should the rest be interrupted.
            (place.folder / STATISTICS).unlink(missing_ok=True)
            shutil.rmtree(place.folder, ignore_errors=True)
    for folder in sorted({place.corpus_folder for place in places}):
        _remove_unfinished(folder / BUILDING, pattern)
    return [place.folder for place in places]


@dataclass(frozen=True)
class _Place:
    """A folder in which an atlas lies, as its path tells."""

    corpus_folder: Path
    speed: Speed
    name: str

    @property
    def site(self) -> str:
        return site_of(self.name)

    @property
    def folder(self) -> Path:
        return (self.corpus_folder if self.speed == "exact" else self.corpus_folder / self.speed) / self.name


def _places(pattern: str, model: str | None, corpus: str | None, speed: Speed | None) -> Iterator[_Place]:
    for heard in sorted((home() / "atlases").glob("[!.]*/[!.]*")):
        # Names of folders end in digits of hashes; what the file says of itself has the last word.
        if not (_is_named(heard.parent.name, model) and _is_named(heard.name, corpus)):
            continue
        for made in SPEEDS:
            if speed not in (None, made):
                continue
            for path in sorted(heard.glob(f"[!.]*/{STATISTICS}" if made == "exact" else f"{made}/[!.]*/{STATISTICS}")):
                place = _Place(heard, made, path.parent.name)
                if fnmatchcase(place.site, pattern) and _is_of(place, model, corpus):
                    yield place


def _is_named(folder: str, name: str | None) -> bool:
    return name is None or bool(re.fullmatch(re.escape(folder_name(name)) + "(-[0-9a-f]{8}){1,2}", folder))


def _is_of(place: _Place, model: str | None, corpus: str | None) -> bool:
    try:
        about = SiteAtlas(place.folder).about
    except DamagedAtlas:
        return True
    return model in (None, about.model) and corpus in (None, about.corpus)


def _order(kept: KeptAtlas) -> tuple[str, str, list[tuple[int, str]]]:
    return kept.about.model, kept.about.corpus, _in_order(kept.about.site)


def _in_order(site: str) -> list[tuple[int, str]]:
    """Layer 10 after layer 9; the encoder, which hears first, after the spectrogram and before the decoder."""
    side = {"mel": 0, "encoder": 1, "decoder": 2}.get(site.partition(".")[0], 3)
    return [(side, ""), *((int(part), "") if part.isdigit() else (-1, part) for part in site.split("."))]


def _remove_unfinished(building: Path, pattern: str) -> None:
    """Drop what interrupted passes over such sites have kept; a pass that is running keeps its own."""
    for checkpoints in building.glob("[!.]*"):
        sites = {site_of(path.parent.name) for path in checkpoints.glob(f"*/*/{STATISTICS}")}
        if not sites or any(fnmatchcase(site, pattern) for site in sites):
            try:
                with locked(checkpoints, "a pass", wait_s=0.0):
                    shutil.rmtree(checkpoints, ignore_errors=True)
            except Busy:
                continue
