"""From phone statistics to labels: the same choice for units and controls, and who beats whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import wspy
from wspy.atlas import (
    LAGS,
    auroc_table,
    beats_control,
    benjamini_hochberg,
    broad_class,
    chosen_on_first_half,
    eligible_phones,
    label_units,
    permuted_auroc_table,
)
from wspy.audio import FRAME_S
from wspy.corpus import SILENCE
from wspy.errors import InputError, OutOfRange
from wspy_phones import Control, Evidence, LabelledUnit, Phones, RangeSummary, SiteLabels
from wspy_phones.peaks import PeakLabel, PeakPhones, Purity
from wspy_phones.ranges import UnitRanges, summarise, unit_ranges
from wspy_phones.tables import as_csv, as_markdown

if TYPE_CHECKING:
    from wspy.atlas import SiteAtlas, UnitLabel, UnitPhones

PURE = 0.6
SHOWN = 20  # units per site in the result; all are in the CSV
HEAT_UNITS = 60
MIN_CONTROLS = 40  # of the same kind, silence or sound; with fewer, a unit is compared with all


def label_sites(inputs: Phones.Inputs, context: wspy.Context) -> Phones.Result:
    """Label the units of the sites that were asked for, and the controls by the same rule."""
    sites = _sites(inputs, context)
    context.check_sites(sites)
    corpus = context.corpus
    if corpus.alignment_info is None:
        raise InputError(f"Corpus {corpus.name!r} has no phones: align it with `wspy corpus align {corpus.name}`.")
    atlases = context.atlases(sites)
    speed = atlases[0].about.speed
    random: list[SiteAtlas | None] = [None] * len(sites)
    if inputs.random_weights:
        random = list(context.atlases(sites, speed=speed, random_weights=True))
    peaks = PeakPhones(context, inputs.top)
    mel_atlas = context.atlas("mel")
    mel, bands = _chosen(mel_atlas, peaks, context.rng), _best_bands(mel_atlas.phones())
    labels: list[SiteLabels] = []
    arrays: dict[str, np.ndarray] = {}
    rows: list[tuple[str, float, LabelledUnit]] = []
    for atlas, shuffled in zip(atlases, random, strict=True):
        units = atlas.phones()
        if not eligible_phones(units).any():
            raise InputError(f"Corpus {corpus.name!r} is too small: no phone lasts a second in either half of it.")
        mine = _labels(units, atlas, peaks, context.rng)
        controls = {"shuffled labels": _shuffled_labels(atlas, units, peaks), "mel bands": mel}
        if shuffled is not None:
            controls["shuffled weights"] = _chosen(shuffled, peaks, context.rng)
        named, beaten = _compare(mine, controls, bands, inputs.fdr)
        ranges = summarise([one.ranges for one in mine])
        labels.append(_site_labels(atlas, units, named, ranges, controls, beaten))
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
        labels=context.save("labels.csv", as_csv(rows)),
        table=context.save("labels.md", as_markdown(rows)),
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


# --- units and controls by the same choice ----------------------------------------------------------------


@dataclass(frozen=True)
class _Chosen:
    """What the units of a site, or of a control, reach with the phone that was best on half A."""

    auroc: np.ndarray
    silent: np.ndarray
    """Whether that phone is silence."""
    peaks: np.ndarray
    """Share of half B's strongest clips with the phone that is most common among those of half A; only of units that
    have clips enough, for the others would be beaten without effort."""
    peaks_silent: np.ndarray
    purity: np.ndarray | None
    """Share of the strongest clips with the most common phone; None for shuffled labels."""
    ranges: RangeSummary | None = None


def _chosen(atlas: SiteAtlas, peaks: PeakPhones, rng: np.random.Generator) -> _Chosen:
    units = atlas.phones()
    found = label_units(units, rng, n_bootstrap=1)
    heard = _enough(peaks.labels(atlas))
    return _Chosen(
        np.array([label.auroc for label in found]),
        np.array([label.phone == SILENCE for label in found]),
        np.array([label.share for label in heard]),
        np.array([label.phone == SILENCE for label in heard]),
        np.array([purity.share for purity in peaks.purities(atlas)]),
        summarise(unit_ranges(atlas, units)),
    )


def _enough(heard: Sequence[PeakLabel]) -> list[PeakLabel]:
    return [label for label in heard if label.phone is not None]


def _shuffled_labels(atlas: SiteAtlas, units: UnitPhones, peaks: PeakPhones) -> _Chosen:
    table = permuted_auroc_table(units)
    best = chosen_on_first_half(table, eligible_phones(units))
    names = np.array(units.phones)
    heard = _enough(peaks.labels(atlas, shuffled=True))
    return _Chosen(
        table[np.arange(len(best)), 1, best].astype(np.float64),
        names[best] == SILENCE,
        np.array([label.share for label in heard]),
        np.array([label.phone == SILENCE for label in heard]),
        None,
    )


def _best_bands(mel: UnitPhones) -> dict[str, float]:
    """Per phone what the mel band reaches on half B that tells it best on half A."""
    table = auroc_table(mel)
    best = np.nan_to_num(table[:, 0]).argmax(axis=0)
    return {phone: float(table[best[at], 1, at]) for at, phone in enumerate(mel.phones)}


@dataclass(frozen=True)
class _Mine:
    """What was found of one unit."""

    frames: UnitLabel
    peaks: PeakLabel
    purity: Purity
    ranges: UnitRanges
    lags_s: dict[str, float]
    """Per phone the lag at which its mean activation is highest."""


def _labels(units: UnitPhones, atlas: SiteAtlas, peaks: PeakPhones, rng: np.random.Generator) -> list[_Mine]:
    labels = label_units(units, rng)
    lags = (np.array(LAGS)[units.means.argmax(axis=2)] * FRAME_S).tolist()
    own = [dict(zip(units.phones, row, strict=True)) for row in lags]
    found = (labels, peaks.labels(atlas), peaks.purities(atlas), unit_ranges(atlas, units), own)
    return [_Mine(*parts) for parts in zip(*found, strict=True)]


@dataclass(frozen=True)
class _P:
    """p of each unit against one control, by all frames and by the strongest clips."""

    frames: np.ndarray
    peaks: np.ndarray


def _compare(
    mine: Sequence[_Mine], controls: dict[str, _Chosen], bands: dict[str, float], fdr: float
) -> tuple[list[LabelledUnit], dict[str, int]]:
    """Each unit with its p against every control and its label, if any; and per control how many units beat it.

    There are two ways to a label, so each has half of the false discovery rate.
    """
    auroc, share = np.array([m.frames.auroc for m in mine]), np.array([m.peaks.share for m in mine])
    silent = np.array([m.frames.phone == SILENCE for m in mine])
    peaks_silent = np.array([m.peaks.phone == SILENCE for m in mine])
    p = {
        name: _P(
            _p(auroc, silent, control.auroc, control.silent),
            _p(share, peaks_silent, control.peaks, control.peaks_silent),
        )
        for name, control in controls.items()
    }
    by_frames = {name: benjamini_hochberg(one.frames) <= fdr / 2 for name, one in p.items()}
    by_peaks = {name: benjamini_hochberg(one.peaks) <= fdr / 2 for name, one in p.items()}
    deciding = [name for name in ("shuffled labels", "shuffled weights") if name in p]
    frames_beat = np.all([by_frames[name] for name in deciding], axis=0)
    peaks_beat = np.all([by_peaks[name] for name in deciding], axis=0)
    beaten = {name: int((by_frames[name] | by_peaks[name]).sum()) for name in p}
    named = [
        _unit(m, at, p, bands[m.frames.phone], bool(frames_beat[at]), bool(peaks_beat[at])) for at, m in enumerate(mine)
    ]
    return named, beaten


def _unit(mine: _Mine, at: int, p: dict[str, _P], band: float, by_frames: bool, by_peaks: bool) -> LabelledUnit:
    label, purity, peaks = mine.frames, mine.purity, mine.peaks
    weights = p.get("shuffled weights")
    own = label.phone if by_frames else peaks.phone if by_peaks else None
    evidence: dict[tuple[bool, bool], Evidence | None] = {
        (True, True): "both",
        (True, False): "all frames",
        (False, True): "strongest clips",
        (False, False): None,
    }
    return LabelledUnit(
        unit=label.unit,
        label=own,
        label_class=broad_class(own) if own is not None and label.broad_class is not None else None,
        evidence=evidence[by_frames, by_peaks],
        phone=label.phone,
        auroc=label.auroc,
        low=None if np.isnan(label.auroc_low) else label.auroc_low,
        high=None if np.isnan(label.auroc_high) else label.auroc_high,
        average_precision=label.average_precision,
        base_rate=label.base_rate,
        count=label.count,
        own_lag_s=round(mine.lags_s[own or label.phone], 3),
        peak_phone=peaks.phone,
        peak_share=peaks.share,
        peak_count=peaks.count,
        purity=purity.share if purity.count else None,
        purity_phone=purity.phone,
        purity_count=purity.count,
        p_shuffled_labels=float(p["shuffled labels"].frames[at]),
        p_random_weights=float(weights.frames[at]) if weights is not None else None,
        p_mel=float(p["mel bands"].frames[at]),
        band_auroc=band,
        p_peaks_shuffled_labels=float(p["shuffled labels"].peaks[at]),
        p_peaks_random_weights=float(weights.peaks[at]) if weights is not None else None,
        p_peaks_mel=float(p["mel bands"].peaks[at]),
        entropy_bits=mine.ranges.entropy_bits,
        leading=mine.ranges.leading,
        takes_over=mine.ranges.takes_over,
    )


def _p(values: np.ndarray, silent: np.ndarray, control: np.ndarray, control_silent: np.ndarray) -> np.ndarray:
    """Silence is told from sound by loudness alone, so it is compared with silence, and sounds with sounds."""
    p = np.empty(len(values))
    for kind in (False, True):
        same = control[control_silent == kind]
        p[silent == kind] = beats_control(values[silent == kind], same if len(same) >= MIN_CONTROLS else control)
    return p


def _site_labels(
    atlas: SiteAtlas,
    units: UnitPhones,
    named: Sequence[LabelledUnit],
    ranges: RangeSummary,
    controls: dict[str, _Chosen],
    beaten: dict[str, int],
) -> SiteLabels:
    purities = np.array([unit.purity for unit in named if unit.purity is not None])
    best = _best(named)
    evidence = Counter(unit.evidence for unit in best)
    return SiteLabels(
        site=atlas.about.site,
        speed=atlas.about.speed,
        lag_s=units.lag * FRAME_S,
        own_lag_s=float(np.median([unit.own_lag_s for unit in best])) if best else None,
        n_units=len(named),
        n_labelled=len(best),
        n_by_frames=evidence["all frames"] + evidence["both"],
        n_by_peaks=evidence["strongest clips"] + evidence["both"],
        n_heard=sum(unit.purity_phone == unit.label for unit in best),
        n_above_bands=sum(unit.low is not None and unit.low > unit.band_auroc for unit in best),
        median_auroc=float(np.median([unit.auroc for unit in named])),
        highest_auroc=max(unit.auroc for unit in named),
        median_peak_share=float(np.median([unit.peak_share for unit in named])),
        median_purity=float(np.median(purities)) if len(purities) else None,
        share_pure=_share_pure(purities),
        ranges=ranges,
        controls=tuple(
            Control(
                name=name,
                n_units=len(control.auroc),
                median_auroc=float(np.median(control.auroc)),
                highest_auroc=float(control.auroc.max()),
                median_purity=None if control.purity is None else float(np.nanmedian(control.purity)),
                share_pure=None if control.purity is None else _share_pure(control.purity),
                n_peaking=len(control.peaks),
                median_peak_share=float(np.median(control.peaks)) if len(control.peaks) else 0.0,
                n_beaten=beaten[name],
                ranges=control.ranges,
            )
            for name, control in controls.items()
        ),
        best=tuple(best[:SHOWN]),
        phones=dict(Counter(unit.label for unit in best if unit.label is not None).most_common()),
    )


def _share_pure(purities: np.ndarray) -> float | None:
    known = purities[~np.isnan(purities)]
    return float((known >= PURE).mean()) if len(known) else None


def _best(named: Sequence[LabelledUnit]) -> list[LabelledUnit]:
    """The labelled units, clearest first: by AUROC, then those that have their label by the strongest clips alone."""

    def order(unit: LabelledUnit) -> tuple[bool, float]:
        by_peaks = unit.evidence == "strongest clips"
        return by_peaks, -unit.peak_share if by_peaks else -unit.auroc

    return sorted((unit for unit in named if unit.label is not None), key=order)


# --- what is kept -----------------------------------------------------------------------------------------


def _arrays(
    site: str, units: UnitPhones, named: Sequence[LabelledUnit], controls: dict[str, _Chosen]
) -> dict[str, np.ndarray]:
    """For the figures: AUROC of units and controls, and for the best units the mean activation at every phone."""
    arrays: dict[str, np.ndarray] = {f"{site}.auroc": np.array([unit.auroc for unit in named], np.float32)}
    for name, control in controls.items():
        arrays[f"{site}.{name.replace(' ', '_')}"] = control.auroc.astype(np.float32)
    best = _best(named)[:HEAT_UNITS]
    best.sort(key=lambda unit: (unit.label_class or "", unit.label or "", -unit.auroc))
    chosen = np.array([unit.unit for unit in best], np.int32)
    means = units.means[chosen][:, :, LAGS.index(units.lag)] if len(chosen) else np.zeros((0, len(units.phones)))
    standard = (means - means.mean(axis=1, keepdims=True)) / np.maximum(means.std(axis=1, keepdims=True), 1e-9)
    arrays[f"{site}.best"] = chosen
    arrays[f"{site}.means"] = standard.T.astype(np.float32)
    arrays[f"{site}.phones"] = np.array(units.phones)
    return arrays
