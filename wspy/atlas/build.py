"""One pass over a corpus: every unit of some sites, nothing kept but statistics.

Clips are heard in a fixed order, in batches. From time to time all statistics so far land on disk as one checkpoint,
whole or not at all, so an interrupted pass goes on where it stopped; since all sums are of integers, the finished atlas
does not depend on where that was. A pass may hear one part of the corpus only; parts merge into the same atlas.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wspy.atlas.derived import SiteSchemes, site_of
from wspy.atlas.effects import UnitEffects, read_effects, site_effects, write_effects
from wspy.atlas.hearing import Ear, Heard, Probe, find_probe, make_ear, text_source
from wspy.atlas.labels import auroc_table, label_precision
from wspy.atlas.neighbours import at_length_one, unit_directions
from wspy.atlas.phones import CALIBRATION_FRAMES, PhoneStatistics
from wspy.atlas.statistics import TOP, SiteStatistics
from wspy.atlas.store import (
    BUILDING,
    DIRECTIONS,
    EFFECTS,
    FORMAT,
    PHONES,
    STATISTICS,
    TOKENS,
    WORDS,
    About,
    SiteAtlas,
    Speed,
    Token,
    corpus_folder,
    is_built,
    read_about,
    read_arrays,
    read_tokens,
    site_folder,
    write_arrays,
    write_tokens,
)
from wspy.atlas.tracks import PhonePlan
from wspy.atlas.words import WordStatistics, frequent_words
from wspy.errors import DamagedAtlas, PartsDoNotFit
from wspy.files import atomic_folder, locked, n_cores, replace_folder
from wspy.progress import Progress, Silent

if TYPE_CHECKING:
    from jaxtyping import Float16, Float32

    from wspy.atlas.tracks import PhoneTrack
    from wspy.corpus import Corpus
    from wspy.model import Model, ModelReference

BATCH_CLIPS = 8
ORDERED_CLIPS = 64  # within so many clips, those of similar length share a batch
CHECKPOINT_S = 30.0
UNITS_AT_ONCE = 16_384  # about 110 kB each; more sites than that take several passes
Part = tuple[int, int]
WHOLE: Part = (1, 1)
FINISHED = "finished"


def ensure_atlas(
    site: str,
    reference: ModelReference,
    corpus: Corpus,
    *,
    model: Callable[[], Model],
    speed: Speed | None = None,
    schemes: SiteSchemes | None = None,
    progress: Progress | None = None,
) -> SiteAtlas:
    """The atlas of one site: see `ensure_atlases`."""
    return ensure_atlases([site], reference, corpus, model=model, speed=speed, schemes=schemes, progress=progress)[0]


def ensure_atlases(
    sites: Sequence[str],
    reference: ModelReference,
    corpus: Corpus,
    *,
    model: Callable[[], Model],
    speed: Speed | None = None,
    top: int | None = None,
    schemes: SiteSchemes | None = None,
    progress: Progress | None = None,
) -> list[SiteAtlas]:
    """The atlases of some sites over a corpus, from disk if they are there, else from one pass that is then kept.

    Args:
        sites: Module paths, `mel` for the spectrogram itself, or `SCHEME:ADDRESS` for computed units.
        model: Gives the loaded model; called only when there is something left to compute.
        speed: None takes what is there, and computes `exact` where nothing is.
        top: How many of the most extreme clips to keep; None takes what is there, and keeps 25 where nothing is.
        schemes: What computes units, by scheme: `load_plugins().sites` of wspy.plugins.

    Raises:
        UnknownSite: the model has no such site.
        NotStepwise: a site has no value per frame or token.
        NoText: a decoder site, and no clip has a text.
        TooManyTokens, UnknownLanguage: a decoder site, and a clip that this model's decoder cannot read.
        Busy: another process builds the same atlas and does not finish.
    """
    probes = [find_probe(site, reference, schemes) for site in sites]
    folders = [_folder(probe, reference, corpus, speed) for probe in probes]

    def wanted(folder: Path) -> bool:
        return not is_built(folder) or (top is not None and read_about(folder / STATISTICS).top != top)

    with contextlib.ExitStack() as locks:
        missing = {folder: probe for probe, folder in zip(probes, folders, strict=True) if wanted(folder)}
        for folder in sorted(missing):  # always in the same order, so that no two processes wait for each other
            locks.enter_context(locked(folder, f"the atlas of {missing[folder].name} over corpus {corpus.name!r}"))
        _land_finished(missing, corpus_folder(reference, corpus) / BUILDING)
        missing = {folder: probe for folder, probe in missing.items() if wanted(folder)}
        for group in _groups(list(missing.values())):
            run = _Pass(group, reference, corpus, model, speed or "exact", top or TOP, WHOLE)
            with run.alone():
                run.hear(progress or Silent())
                run.finish()
            _land_finished(missing, run.checkpoints.parent)
    return [SiteAtlas(folder) for folder in folders]


def build_part(
    sites: Sequence[str],
    reference: ModelReference,
    corpus: Corpus,
    folder: Path,
    *,
    model: Callable[[], Model],
    part: Part,
    speed: Speed = "exact",
    top: int | None = None,
    schemes: SiteSchemes | None = None,
    progress: Progress | None = None,
) -> None:
    """Hear one part of a corpus, for instance on one of several machines, and write its statistics below a folder.

    Args:
        part: Which part, counted from 1, and of how many. Each part takes about as long as any other.

    Raises:
        As `ensure_atlases` does.
    """
    for group in _groups([find_probe(site, reference, schemes) for site in sites]):
        run = _Pass(group, reference, corpus, model, speed, top or TOP, part)
        with run.alone():
            run.hear(progress or Silent())
            run.write(folder)


def merge_parts(folders: Sequence[Path], reference: ModelReference, corpus: Corpus) -> list[SiteAtlas]:
    """Put the parts of a corpus together into the atlases that one pass over all of it would have given.

    Args:
        folders: What `build_part` wrote, in any order: each part of the corpus once.

    Raises:
        DamagedAtlas: a file cannot be read.
        PartsDoNotFit: a part is missing or there twice, or they are of another model, corpus, speed or site.
    """
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise PartsDoNotFit(f"there is no folder {', '.join(missing)}")
    sites = sorted({path.parent.name for folder in folders for path in folder.glob(f"*/{STATISTICS}")})
    if not sites:
        raise PartsDoNotFit(f"no part of an atlas lies in {', '.join(map(str, folders))}")
    whole = {site: _fitting(site, folders, reference, corpus) for site in sites}  # refuse before anything is written
    return [_merge(site, *whole[site], reference, corpus) for site in sites]


def _fitting(site: str, folders: Sequence[Path], reference: ModelReference, corpus: Corpus) -> tuple[About, list[Path]]:
    """What the whole of a site's parts is, and where they lie, in order."""
    parts = sorted(
        ((read_about(path), path.parent) for folder in folders if (path := folder / site / STATISTICS).is_file()),
        key=lambda part: part[0].part,
    )
    about = parts[0][0].model_copy(update={"part": WHOLE})
    if any(part.model_copy(update={"part": WHOLE}) != about for part, _ in parts):
        raise PartsDoNotFit(f"those of {site} were made from different models, corpora or settings")
    if about.model_sha256 != reference.sha256:
        raise PartsDoNotFit(f"{site} was heard by {about.model}, and not by {reference.name}: see --model")
    if (about.corpus_hash, about.alignment_hash) != (corpus.hash, corpus.alignment_hash):
        raise PartsDoNotFit(
            f"{site} was heard over corpus {about.corpus!r}, and {corpus.name!r} is another here, or aligned otherwise"
        )
    found, n_parts = [part.part[0] for part, _ in parts], parts[0][0].part[1]
    if found != list(range(1, n_parts + 1)) or any(part.part[1] != n_parts for part, _ in parts):
        there = ", ".join(f"{which}/{of}" for which, of in (part.part for part, _ in parts))
        raise PartsDoNotFit(f"of {site} there are the parts {there}")
    return about, [folder for _, folder in parts]


def _merge(site: str, about: About, folders: Sequence[Path], reference: ModelReference, corpus: Corpus) -> SiteAtlas:
    record = _Record.read(folders[0])
    for folder in folders[1:]:
        record = record.merge(_Record.read(folder))
    home = site_folder(site, reference, corpus, about.speed)
    with locked(home, f"the atlas of {site_of(site)} over corpus {corpus.name!r}"):
        record.write(home, about, whole=True)
    return SiteAtlas(home)


def _folder(probe: Probe, reference: ModelReference, corpus: Corpus, speed: Speed | None) -> Path:
    """Where the atlas is or will be: without a wish for a speed, whichever is there. Only the encoder has two."""
    exact = site_folder(probe.folder, reference, corpus)
    condensed = site_folder(probe.folder, reference, corpus, "condensed")
    if probe.source != "encoder":
        return exact
    if speed is None:
        return condensed if is_built(condensed) and not is_built(exact) else exact
    return condensed if speed == "condensed" else exact


def _land_finished(folders: Iterable[Path], building: Path) -> None:
    """Move what finished passes left into the places of its sites; a kill in between leaves the rest for the next time.

    Args:
        folders: The places that this process has locked.
    """
    for finished in building.glob(f"*/{FINISHED}"):
        for folder in folders:
            try:
                made = finished / folder.name / STATISTICS
                if made.is_file() and _at_speed(folder, read_about(made).speed):
                    replace_folder(made.parent, folder)
            except DamagedAtlas:  # or of an earlier layout: it is made again
                shutil.rmtree(made.parent, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):  # another process may have landed the last
            if not any(finished.iterdir()):
                shutil.rmtree(finished.parent, ignore_errors=True)


def _at_speed(folder: Path, speed: Speed) -> bool:
    return (folder.parent.name == "condensed") == (speed == "condensed")


def _groups(probes: Sequence[Probe]) -> Iterator[list[Probe]]:
    """Probes that one pass records: of one source, and not too many units at once."""
    group: list[Probe] = []
    for probe in probes:
        full = sum(other.n_units for other in group) + probe.n_units > UNITS_AT_ONCE
        if group and (full or probe.source != group[0].source):
            yield group
            group = []
        group.append(probe)
    if group:
        yield group


@dataclass
class _Record:
    """What is known of one site so far."""

    statistics: SiteStatistics
    phones: PhoneStatistics | None
    words: WordStatistics | None = None
    directions: Float16[np.ndarray, "unit _"] | None = None
    """What units write: MLP neurons into the residual stream, computed ones into the site that they come from."""
    tokens: dict[int, list[Token]] = field(default_factory=dict)
    """For decoder sites, by the clip's place in the corpus."""
    effects: list[UnitEffects] | None = None
    """For decoder neurons, the tokens that each speaks for and against."""

    def update(
        self, activations: Float32[np.ndarray, "position unit"], heard: Heard, track: PhoneTrack | None, clip_id: str
    ) -> None:
        """Learn from one clip."""
        if len(activations):
            self.statistics.update(activations, heard.at, clip_id)
        if self.phones and track:
            self.phones.update(activations, track)
        if self.words:
            if len(activations):
                self.words.update(activations, heard.tokens, clip_id)
            self.tokens[heard.at] = heard.tokens

    def merge(self, other: _Record) -> _Record:
        phones = self.phones.merge(other.phones) if self.phones and other.phones else None
        words = self.words.merge(other.words) if self.words and other.words else None
        tokens = self.tokens | other.tokens
        return _Record(self.statistics.merge(other.statistics), phones, words, self.directions, tokens, self.effects)

    def write(self, folder: Path, about: About, *, whole: bool = False) -> None:
        """Let a folder hold the record, and where it is that of a whole corpus also what follows from it."""
        with atomic_folder(folder) as temporary:
            write_arrays(temporary / STATISTICS, self.statistics.arrays(whole=whole), about)
            if self.phones:
                arrays = self.phones.arrays()
                if whole:  # so that no query has to compute them
                    units = self.phones.units()
                    arrays["auroc"] = units.auroc = auroc_table(units)
                    arrays["average_precision"] = label_precision(units).astype(np.float32)
                write_arrays(temporary / PHONES, arrays, about)
            if self.directions is not None:
                write_arrays(temporary / DIRECTIONS, {"directions": self.directions}, about)
            if self.effects is not None:
                write_effects(temporary / EFFECTS, self.effects)
            if self.words:
                write_arrays(temporary / WORDS, self.words.arrays(), about)
                write_tokens(temporary / TOKENS, self.tokens)

    @classmethod
    def read(cls, folder: Path) -> _Record:
        phones, words, tokens = folder / PHONES, folder / WORDS, folder / TOKENS
        directions, effects = folder / DIRECTIONS, folder / EFFECTS
        try:
            return cls(
                SiteStatistics.from_arrays(read_arrays(folder / STATISTICS)),
                PhoneStatistics.from_arrays(read_arrays(phones)) if phones.is_file() else None,
                WordStatistics.from_arrays(read_arrays(words)) if words.is_file() else None,
                read_arrays(directions)["directions"] if directions.is_file() else None,
                read_tokens(tokens) if tokens.is_file() else {},
                read_effects(effects) if effects.is_file() else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedAtlas(str(folder), str(error)) from None


class _Pass:
    """One pass: hears the clips that are left, and keeps a checkpoint."""

    def __init__(
        self,
        probes: Sequence[Probe],
        reference: ModelReference,
        corpus: Corpus,
        model: Callable[[], Model],
        speed: Speed,
        top: int,
        part: Part,
    ) -> None:
        self.probes, self.corpus, self.model, self.part = probes, corpus, model, part
        self.speed: Speed = speed if probes[0].source == "encoder" else "exact"
        self.plan = PhonePlan(corpus) if corpus.alignment_hash and probes[0].position == "frame" else None
        self.abouts = [
            About(
                format=FORMAT,
                site=probe.name,
                n_units=probe.n_units,
                position=probe.position,
                model=reference.name,
                model_sha256=reference.sha256,
                corpus=corpus.name,
                corpus_hash=corpus.hash,
                alignment_hash=corpus.alignment_hash,
                speed=self.speed,
                top=top,
                texts=text_source(corpus) if probe.position == "token" else None,
                part=part,
                base=probe.base if probe.derived else None,
                units_sha256=probe.derived.sha256 if probe.derived else None,
            )
            for probe in probes
        ]
        key = hashlib.blake2b("\n".join(about.model_dump_json() for about in self.abouts).encode(), digest_size=8)
        self.checkpoints = corpus_folder(reference, corpus) / BUILDING / key.hexdigest()
        self.batches = list(_batches(corpus, part))
        phones = self.plan.phones if self.plan else None
        texts = self.abouts[0].texts
        words = frequent_words(corpus) if texts == "corpus" else None
        self.records = [
            _Record(
                SiteStatistics(probe.n_units, top),
                PhoneStatistics(probe.n_units, phones) if phones else None,
                WordStatistics(probe.n_units, words) if texts else None,
            )
            for probe in probes
        ]
        self.done = 0
        """How many batches are in the records."""

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Hold the pass: nobody else may touch its checkpoints."""
        return locked(self.checkpoints, f"{self.probes[0].name} over corpus {self.corpus.name!r}")

    def hear(self, progress: Progress) -> None:
        """Hear what is left of the clips, from the newest checkpoint on."""
        self._resume()
        left = self.batches[self.done :]
        if left or self.part != WHOLE:
            ear = make_ear(self.probes, self.corpus, self.model, self.speed)
            self._borrow_calibration(ear)
            self._learn_directions()
            names = self.probes[0].name if len(self.probes) == 1 else f"{len(self.probes)} sites"
            clips = iter(progress.track([at for batch in left for at in batch], f"Listening with {names}"))
            saved = time.monotonic()
            for batch in left:
                # Each clip is drawn when it is needed, so that progress stays true.
                self._take_in(list(ear([next(clips) for _ in batch])))
                self.done += 1
                self._calibrate(at_end=False)
                if time.monotonic() - saved > CHECKPOINT_S:
                    self._save(f"{self.done:08d}")
                    saved = time.monotonic()
            next(clips, None)  # so that progress sees the end
        self._calibrate(at_end=True)

    def write(self, folder: Path) -> None:
        """Write each site's statistics below a folder, and drop the checkpoint."""
        for record, about, probe in zip(self.records, self.abouts, self.probes, strict=True):
            record.write(folder / probe.folder, about)
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def finish(self) -> None:
        """Let the last checkpoint stand as finished, for `_land_finished`."""
        self._save(FINISHED)

    def _take_in(self, batch: Sequence[Heard]) -> None:
        """Let every site's record learn a batch: the sites side by side, for each is learned from alone."""
        tracks = [
            self.plan.track(self.corpus.clips[heard.at], n) if self.plan and (n := len(heard.activations[0])) else None
            for heard in batch
        ]

        def learn(site: int) -> None:
            for heard, track in zip(batch, tracks, strict=True):
                self.records[site].update(heard.activations[site], heard, track, self.corpus.clips[heard.at].id)

        self._side_by_side(learn)

    def _calibrate(self, *, at_end: bool) -> None:
        def calibrate(site: int) -> None:
            phones = self.records[site].phones
            if phones and not phones.calibrated and (at_end or phones.n_calibration_frames >= CALIBRATION_FRAMES):
                phones.calibrate()

        self._side_by_side(calibrate)

    def _side_by_side(self, work: Callable[[int], None]) -> None:
        """Do something for every site, on as many cores as there are: numpy lets go of the lock while it computes."""
        with ThreadPoolExecutor(max_workers=min(len(self.probes), n_cores())) as pool:
            for _ in pool.map(work, range(len(self.probes))):
                pass

    def _learn_directions(self) -> None:
        if self.probes[0].source != "mel":
            for record, probe in zip(self.records, self.probes, strict=True):
                if probe.derived is None:
                    record.directions = unit_directions(self.model(), probe.name)
                    record.effects = site_effects(self.model(), probe.name)
                elif probe.derived.directions is not None:
                    record.directions = at_length_one(probe.derived.directions()).astype(np.float16)

    def _borrow_calibration(self, ear: Ear) -> None:
        """For a part: what a pass over the whole corpus would have calibrated on, so that the parts fit together."""
        todo = [record.phones for record in self.records if record.phones and not record.phones.calibrated]
        if self.part == WHOLE or not todo or not self.plan:
            return
        scratch = [PhoneStatistics(probe.n_units, self.plan.phones) for probe in self.probes]
        for batch in _batches(self.corpus, WHOLE):
            for heard in ear(batch):
                track = self.plan.track(self.corpus.clips[heard.at], len(heard.activations[0]))
                for phones, values in zip(scratch, heard.activations, strict=True):
                    phones.update(values, track)
            if scratch[0].n_calibration_frames >= CALIBRATION_FRAMES:
                break
        for record, phones in zip(self.records, scratch, strict=True):
            phones.calibrate()
            record.phones = PhoneStatistics(phones.n_units, self.plan.phones, phones.calibration)

    def _save(self, name: str) -> None:
        """One checkpoint of all sites; the earlier ones go."""
        newest = self.checkpoints / name
        with atomic_folder(newest) as temporary:

            def write(site: int) -> None:
                about = self.abouts[site]
                self.records[site].write(temporary / self.probes[site].folder, about, whole=name == FINISHED)

            self._side_by_side(write)
        for old in self.checkpoints.iterdir():
            if old != newest:
                shutil.rmtree(old, ignore_errors=True)

    def _resume(self) -> None:
        """Take up the newest checkpoint that can be read."""
        for folder in sorted(self.checkpoints.glob("[0-9]*"), reverse=True):
            with contextlib.suppress(DamagedAtlas):
                self.records = [_Record.read(folder / probe.folder) for probe in self.probes]
                self.done = int(folder.name)
                return


def _batches(corpus: Corpus, part: Part) -> Iterator[list[int]]:
    """The places of a part's clips in batches, in the order in which they are heard."""
    which, n_parts = part
    for first in range(0, len(corpus.clips), ORDERED_CLIPS):
        if first // ORDERED_CLIPS % n_parts == which - 1:
            chunk = list(range(first, min(first + ORDERED_CLIPS, len(corpus.clips))))
            chunk.sort(key=lambda at: corpus.clips[at].duration_s)
            for start in range(0, len(chunk), BATCH_CLIPS):
                yield chunk[start : start + BATCH_CLIPS]
