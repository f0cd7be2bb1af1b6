"""From phone statistics to labels: the same choice for units and controls, and who beats whom."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import wspy
from wspy.atlas import (
    LAGS,
    PhonePlan,
    beats_control,
    benjamini_hochberg,
    chosen_on_first_half,
    eligible_phones,
    label_units,
    permuted_auroc_table,
)
from wspy.audio import FRAME_S
from wspy.corpus import SILENCE
from wspy.errors import InputError, OutOfRange
from wspy_phones import Control, LabelledUnit, Phones, SiteLabels

if TYPE_CHECKING:
    from wspy.atlas import SiteAtlas, UnitLabel, UnitPhones

PURE = 0.6
SHOWN = 20  # units per site in the result; all are in the CSV
HEAT_UNITS = 60
MIN_CONTROLS = 40  # of the same kind, silence or sound; with fewer, a unit is compared with all
COLUMNS = ("site", "lag_s", *LabelledUnit.model_fields)


def label_sites(inputs: Phones.Inputs, context: wspy.Context) -> Phones.Result:
    """Label the units of the sites that were asked for, and the controls by the same rule."""
    sites = _sites(inputs, context)
    corpus = context.corpus
    if corpus.alignment_info is None:
        raise InputError(f"Corpus {corpus.name!r} has no phones: align it with `wspy corpus align {corpus.name}`.")
    atlases = context.atlases(sites)
    speed = atlases[0].about.speed
    random: list[SiteAtlas | None] = [None] * len(sites)
    if inputs.random_weights:
        random = list(context.atlases(sites, speed=speed, random_weights=True))
    peaks = _PeakPhones(context, inputs.top)
    mel = _chosen(context.atlas("mel"), peaks, context.rng)
    labels: list[SiteLabels] = []
    arrays: dict[str, np.ndarray] = {}
    rows: list[tuple[str, float, LabelledUnit]] = []
    for atlas, shuffled in zip(atlases, random, strict=True):
        units = atlas.phones()
        if not eligible_phones(units).any():
            raise InputError(f"Corpus {corpus.name!r} is too small: no phone lasts a second in either half of it.")
        mine = _labels(units, atlas, peaks, context.rng)
        controls = {"shuffled labels": _shuffled_labels(units), "mel bands": mel}
        if shuffled is not None:
            controls["shuffled weights"] = _chosen(shuffled, peaks, context.rng)
        named = _compare(mine, controls, inputs.fdr)
        labels.append(_site_labels(atlas, units, named, controls, inputs.fdr))
        rows += [(atlas.about.site, units.lag * FRAME_S, unit) for unit in named]
        arrays |= _arrays(atlas.about.site, units, named, controls)
    first = atlases[0].phones()
    n_clips, n_frames = atlases[0].counts
    return Phones.Result(
        model=atlases[0].about.model,
        corpus=corpus.name,
        alignment=f"{', '.join(corpus.alignment_info.sources)}; phones: {corpus.alignment_info.phone_set}",
        n_clips=n_clips,
        n_frames=n_frames,
        groups=peaks.groups,
        n_groups=int((first.group_counts[1::2].sum(axis=1) > 0).sum()),
        fdr=inputs.fdr,
        sites=tuple(labels),
        labels=context.save("labels.csv", _csv(rows)),
        table=context.save("labels.md", _markdown(rows)),
        arrays=context.save("arrays.npz", arrays),
    )


def _sites(inputs: Phones.Inputs, context: wspy.Context) -> list[str]:
    """Neurons of one layer or of all, or the site that was named."""
    if inputs.site is not None:
        if inputs.layer is not None:
            raise InputError("--layer and --site both say what to label: give one of them.")
        return [inputs.site]
    n_layers = context.reference.dims.n_audio_layer
    if inputs.layer is not None and inputs.layer >= n_layers:
        raise OutOfRange("Layer", inputs.layer, 0, n_layers - 1, f"the encoder of {context.reference.name}")
    layers = range(n_layers) if inputs.layer is None else [inputs.layer]
    return [f"encoder.blocks.{layer}.mlp.1" for layer in layers]


# --- what a person hears at the peaks ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Purity:
    """The most common phone at the peaks of a unit's top clips."""

    phone: str | None
    share: float
    count: int


class _PeakPhones:
    """Looks up which phone is heard at the peaks of top clips."""

    def __init__(self, context: wspy.Context, top: int) -> None:
        self.corpus, self.top = context.corpus, top
        self.plan = PhonePlan(self.corpus)
        self.groups = f"{self.plan.grouped_by}s"
        self._tracks: dict[int, np.ndarray] = {}

    def purity(self, atlas: SiteAtlas) -> list[_Purity]:
        """Of every unit of a site, the site's lag allowed for."""
        lag = atlas.lag_frames or 0
        clips, frames = atlas.peaks(1)
        found = []
        for clip_row, frame_row in zip(clips[:, : self.top].tolist(), frames[:, : self.top].tolist(), strict=True):
            ids = [self._phone(clip, frame - lag) for clip, frame in zip(clip_row, frame_row, strict=True) if clip >= 0]
            counts = Counter(phone for phone in ids if phone is not None)
            phone, most = min(counts.items(), key=lambda item: (-item[1], item[0])) if counts else (None, 0)
            n = counts.total()
            found.append(_Purity(phone, most / n if n else float("nan"), n))
        return found

    def _phone(self, at: int, frame: int) -> str | None:
        if at not in self._tracks:
            clip = self.corpus.clips[at]
            self._tracks[at] = self.plan.track(clip, round(clip.duration_s / FRAME_S) + 1).ids
        ids = self._tracks[at]
        known = 0 <= frame < len(ids) and ids[frame] >= 0
        return self.plan.phones[ids[frame]] if known else None


# --- units and controls by the same choice ----------------------------------------------------------------


@dataclass(frozen=True)
class _Chosen:
    """What the units of a site, or of a control, reach with the phone that was best on half A."""

    auroc: np.ndarray
    silent: np.ndarray
    """Whether that phone is silence."""
    purity: np.ndarray | None
    """Share of the top clips with the most common phone; None for shuffled labels."""


def _chosen(atlas: SiteAtlas, peaks: _PeakPhones, rng: np.random.Generator) -> _Chosen:
    found = label_units(atlas.phones(), rng, n_bootstrap=1)
    return _Chosen(
        np.array([label.auroc for label in found]),
        np.array([label.phone == SILENCE for label in found]),
        np.array([purity.share for purity in peaks.purity(atlas)]),
    )


def _shuffled_labels(units: UnitPhones) -> _Chosen:
    table = permuted_auroc_table(units)
    best = chosen_on_first_half(table, eligible_phones(units))
    names = np.array(units.phones)
    return _Chosen(table[np.arange(len(best)), 1, best].astype(np.float64), names[best] == SILENCE, None)


def _labels(
    units: UnitPhones, atlas: SiteAtlas, peaks: _PeakPhones, rng: np.random.Generator
) -> list[tuple[UnitLabel, _Purity]]:
    return list(zip(label_units(units, rng), peaks.purity(atlas), strict=True))


def _compare(mine: Sequence[tuple[UnitLabel, _Purity]], controls: dict[str, _Chosen], fdr: float) -> list[LabelledUnit]:
    """Each unit with its p against every control, and whether it beats those that decide."""
    values = np.array([label.auroc for label, _ in mine])
    silent = np.array([label.phone == SILENCE for label, _ in mine])
    p = {name: _p(values, silent, control) for name, control in controls.items()}
    deciding = [name for name in ("shuffled labels", "shuffled weights") if name in p]
    beats = np.all([benjamini_hochberg(p[name]) <= fdr for name in deciding], axis=0)
    weights = p.get("shuffled weights")
    return [
        LabelledUnit(
            unit=label.unit,
            phone=label.phone,
            broad_class=label.broad_class,
            auroc=label.auroc,
            low=None if np.isnan(label.auroc_low) else label.auroc_low,
            high=None if np.isnan(label.auroc_high) else label.auroc_high,
            average_precision=label.average_precision,
            base_rate=label.base_rate,
            count=label.count,
            purity=purity.share if purity.count else None,
            purity_phone=purity.phone,
            purity_count=purity.count,
            p_shuffled_labels=float(p["shuffled labels"][at]),
            p_random_weights=float(weights[at]) if weights is not None else None,
            p_mel=float(p["mel bands"][at]),
            labelled=bool(beats[at]),
        )
        for at, (label, purity) in enumerate(mine)
    ]


def _p(values: np.ndarray, silent: np.ndarray, control: _Chosen) -> np.ndarray:
    """Silence is told from sound by loudness alone, so it is compared with silence, and sounds with sounds."""
    p = np.empty(len(values))
    for kind in (False, True):
        same = control.auroc[control.silent == kind]
        p[silent == kind] = beats_control(values[silent == kind], same if len(same) >= MIN_CONTROLS else control.auroc)
    return p


def _site_labels(
    atlas: SiteAtlas, units: UnitPhones, named: Sequence[LabelledUnit], controls: dict[str, _Chosen], fdr: float
) -> SiteLabels:
    p = {"shuffled labels": "p_shuffled_labels", "mel bands": "p_mel", "shuffled weights": "p_random_weights"}
    purities = np.array([unit.purity for unit in named if unit.purity is not None])
    best = sorted((unit for unit in named if unit.labelled), key=lambda unit: -unit.auroc)
    return SiteLabels(
        site=atlas.about.site,
        speed=atlas.about.speed,
        lag_s=units.lag * FRAME_S,
        n_units=len(named),
        n_labelled=len(best),
        median_auroc=float(np.median([unit.auroc for unit in named])),
        median_purity=float(np.median(purities)) if len(purities) else None,
        share_pure=float((purities >= PURE).mean()) if len(purities) else None,
        controls=tuple(
            Control(
                name=name,
                n_units=len(control.auroc),
                median_auroc=float(np.median(control.auroc)),
                highest_auroc=float(control.auroc.max()),
                median_purity=None if control.purity is None else float(np.nanmedian(control.purity)),
                n_beaten=int((benjamini_hochberg(np.array([getattr(unit, p[name]) for unit in named])) <= fdr).sum()),
            )
            for name, control in controls.items()
        ),
        best=tuple(best[:SHOWN]),
        phones=dict(Counter(unit.phone for unit in best).most_common()),
    )


# --- what is kept -----------------------------------------------------------------------------------------


def _arrays(
    site: str, units: UnitPhones, named: Sequence[LabelledUnit], controls: dict[str, _Chosen]
) -> dict[str, np.ndarray]:
    """For the figures: AUROC of units and controls, and for the best units the mean activation at every phone."""
    arrays: dict[str, np.ndarray] = {f"{site}.auroc": np.array([unit.auroc for unit in named], np.float32)}
    for name, control in controls.items():
        arrays[f"{site}.{name.replace(' ', '_')}"] = control.auroc.astype(np.float32)
    best = sorted((unit for unit in named if unit.labelled), key=lambda unit: -unit.auroc)[:HEAT_UNITS]
    best.sort(key=lambda unit: (unit.broad_class or "", unit.phone, -unit.auroc))
    chosen = np.array([unit.unit for unit in best], np.int32)
    means = units.means[chosen][:, :, LAGS.index(units.lag)] if len(chosen) else np.zeros((0, len(units.phones)))
    standard = (means - means.mean(axis=1, keepdims=True)) / np.maximum(means.std(axis=1, keepdims=True), 1e-9)
    arrays[f"{site}.best"] = chosen
    arrays[f"{site}.means"] = standard.T.astype(np.float32)
    arrays[f"{site}.phones"] = np.array(units.phones)
    return arrays


def _csv(rows: Sequence[tuple[str, float, LabelledUnit]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for site, lag_s, unit in rows:
        values = (getattr(unit, name) for name in LabelledUnit.model_fields)
        writer.writerow(
            [site, f"{lag_s:.2f}", *(f"{value:.6g}" if isinstance(value, float) else value for value in values)]
        )
    return text.getvalue().encode()


def _markdown(rows: Sequence[tuple[str, float, LabelledUnit]]) -> bytes:
    """The labelled units, in the manner of the post's table: a unit and what it answers to."""
    lines = ["| site | unit | sound | class | AUROC | purity |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {site} | {unit.unit} | {unit.phone} | {unit.broad_class or ''} | {unit.auroc:.2f} "
        f"| {'' if unit.purity is None else f'{unit.purity:.0%} {unit.purity_phone}'} |"
        for site, _, unit in rows
        if unit.labelled
    ]
    return "\n".join([*lines, ""]).encode()
