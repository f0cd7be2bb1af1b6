"""What the phone statistics of an atlas say about its units: labels, how sure they are, and what chance would give.

A unit's label is the phone that it tells best from all other sounds: the one with the highest AUROC, the chance that a
random frame of that phone has a higher activation than a random frame of anything else. It is chosen on one half of the
speakers (or clips) and reported on the other, since the best of forty phones looks good by chance alone. Controls go
through the same choice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from wspy.atlas.bins import bin_edges
from wspy.atlas.phone_arrays import N_RANKS, UnitPhones
from wspy.atlas.tracks import OTHER
from wspy.corpus.clips import SILENCE

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Float64, Int, Int64

    Histogram = Int[np.ndarray, "*shape bin"]

MIN_COUNT = 50  # frames of a phone in either half, one second: below it a phone cannot be a label
_INTERVAL = (0.025, 0.975)
_UNITS_AT_ONCE = 8  # keeps intermediate tables in the cache

BroadClass = Literal["stops", "fricatives", "affricates", "nasals", "liquids", "glides", "vowels", "silence"]

# ARPABET and, after each comma, what TIMIT adds: closures with their stops, the flap dx, the glottal stop q.
_SYMBOLS: dict[BroadClass, str] = {
    "stops": "P B T D K G, PCL BCL TCL DCL KCL GCL DX Q",
    "fricatives": "F V TH DH S Z SH ZH HH, HV",
    "affricates": "CH JH",
    "nasals": "M N NG, EM EN ENG NX",
    "liquids": "L R, EL",
    "glides": "W Y, WH",
    "vowels": "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW, AX AXR AX-H IX UX",
    "silence": f"{SILENCE}, PAU EPI H# #H SP",
}
_CLASS_OF = {symbol: name for name, symbols in _SYMBOLS.items() for symbol in symbols.replace(",", "").split()}
CLASSES: tuple[BroadClass, ...] = tuple(_SYMBOLS)


# --- classes of phones ------------------------------------------------------------------------------------


def broad_class(phone: str) -> BroadClass | None:
    """The manner of an ARPABET phone, with or without its stress digit, or of a symbol of TIMIT; None for others."""
    return _CLASS_OF.get(re.sub(r"(?<=[A-Z])[012]$", "", phone.upper()))


def broad_classes(phones: Sequence[str]) -> tuple[BroadClass | None, ...]:
    """The manner of each phone of a corpus.

    Other alphabets share letters with these, so where a symbol is of neither only silence has a class.
    """
    known = all(broad_class(phone) or phone in ("NOISE", OTHER) for phone in phones)
    return tuple(broad_class(phone) if known or phone == SILENCE else None for phone in phones)


# --- how well a unit tells a phone from the rest ----------------------------------------------------------


def auroc(hist_phone: Histogram, hist_rest: Histogram) -> Float64[np.ndarray, "*shape"]:
    """The chance that a frame of the phone lies in a higher bin than one of the rest, ties half; NaN without either."""
    phone, rest = np.asarray(hist_phone, np.float64), np.asarray(hist_rest, np.float64)
    below = rest.cumsum(axis=-1) - rest / 2
    pairs = phone.sum(axis=-1) * rest.sum(axis=-1)
    return _ratio((phone * below).sum(axis=-1), pairs)


def average_precision(hist_phone: Histogram, hist_rest: Histogram) -> Float64[np.ndarray, "*shape"]:
    """Precision, averaged over the phone's frames from the highest activation down; NaN where it has none.

    Frames of one bin are taken as evenly mixed: from a phone and b frames in all above the bin, p and n in it, frame by
    frame (a + 1/2 + p t) / (b + 1/2 + n t) with t from 0 to 1, whose integral has a closed form.
    """
    phone, rest = (np.asarray(h, np.float64)[..., ::-1] for h in (hist_phone, hist_rest))
    n = phone + rest
    a, b = phone.cumsum(axis=-1) - phone + 0.5, n.cumsum(axis=-1) - n + 0.5
    share = phone / np.maximum(n, 1)
    logarithm = np.log1p(n / b, out=np.zeros_like(b), where=phone > 0)  # elsewhere it counts nothing
    precision: Float64[np.ndarray, "*shape bin"] = share + (a - share * b) / np.maximum(n, 1) * logarithm
    return _ratio((phone * precision).sum(axis=-1), phone.sum(axis=-1))


def _ratio(a: Float64[np.ndarray, "*shape"], b: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    ratio: Float64[np.ndarray, "*shape"] = np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)
    return ratio


def auroc_table(units: UnitPhones) -> Float32[np.ndarray, "unit half phone"]:
    """AUROC of every unit and phone on half A, on half B and on both; NaN where a half lacks the phone.

    The same as `auroc` of each phone against the rest, but the bins of all phones are counted once: within a phone the
    pairs of its own frames come to half of n squared, however they lie.
    """
    if units.auroc is not None:
        return units.auroc
    table = np.empty((len(units.histogram), 3, len(units.phones)), np.float32)
    for at in range(0, len(table), _UNITS_AT_ONCE):
        some = slice(at, at + _UNITS_AT_ONCE)
        halves = units.histogram[some].astype(np.float64)
        halves = np.concatenate([halves, halves.sum(axis=1, keepdims=True)], axis=1)
        together = halves.sum(axis=2)
        below = together.cumsum(axis=-1) - together / 2
        n = halves.sum(axis=-1)
        wins = (halves @ below[..., None])[..., 0] - n**2 / 2
        table[some] = _ratio(wins, n * (together.sum(axis=-1, keepdims=True) - n))
    return table


def label_precision(units: UnitPhones, minimum: int = MIN_COUNT) -> Float64[np.ndarray, " unit"]:
    """Average precision on half B of the phone that has the highest AUROC on half A; NaN where no phone is eligible."""
    eligible = eligible_phones(units, minimum)
    if not eligible.any():
        return np.full(len(units.histogram), np.nan)
    if units.average_precision is not None and minimum == MIN_COUNT:
        return units.average_precision.astype(np.float64)
    best = chosen_on_first_half(auroc_table(units), eligible)
    phone = units.histogram[np.arange(len(best)), 1, best].astype(np.int64)
    return average_precision(phone, units.histogram[:, 1].sum(axis=1, dtype=np.int64) - phone)


def rank_auroc(
    rank_sums: Float64[np.ndarray, "*shape phone"], counts: Float64[np.ndarray, "*shape phone"]
) -> Float64[np.ndarray, "*shape phone"]:
    """AUROC of each phone from sums of ranks; NaN without frames of the phone or of the rest.

    With F the share of all frames below, a frame of the phone (a share p of all) has on average
    F = p / 2 + (1 - p) AUROC, one of the rest F = p (1 - AUROC) + (1 - p) / 2: the difference is AUROC - 1/2, whatever
    p is. The ranks are F on the first clips, times 255; what those clips have more of shifts both averages alike.
    """
    sums, counts = np.asarray(rank_sums, np.float64), np.asarray(counts, np.float64)
    rest_sums, rest_counts = (x.sum(axis=-1, keepdims=True) - x for x in (sums, counts))
    mean, rest_mean = _ratio(sums, np.broadcast_to(counts, sums.shape)), _ratio(rest_sums, rest_counts + 0 * sums)
    values: Float64[np.ndarray, "*shape phone"] = 0.5 + (mean - rest_mean) / (N_RANKS - 1)
    return values


def permuted_auroc_table(units: UnitPhones) -> Float32[np.ndarray, "unit half phone"]:
    """AUROC of every unit and shuffled phone on half A and on half B, from sums of ranks."""
    table: Float32[np.ndarray, "unit half phone"] = rank_auroc(units.shuffled_rank_sums, units.shuffled_counts).astype(
        np.float32
    )
    return table


# --- labels -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UnitLabel:
    """The phone that a unit tells best from the rest, chosen on half A; all numbers are of half B."""

    unit: int
    phone: str
    broad_class: BroadClass | None
    auroc: float
    auroc_low: float
    """Lower end of the 95 % interval over the groups of half B; NaN where there are fewer than two."""
    auroc_high: float
    average_precision: float
    base_rate: float
    """Share of frames with this phone: the average precision of chance."""
    count: int
    """Frames of the phone."""
    chosen_auroc: float
    """AUROC on half A, on which it was the best: too high by the choice."""
    lag: int
    """Frames from the sound to the activation."""


def eligible_phones(units: UnitPhones, minimum: int = MIN_COUNT) -> Bool[np.ndarray, " phone"]:
    """Which phones have frames enough in both halves to be a label; those of shuffled phones are the same."""
    enough = (units.half_counts >= minimum).all(axis=0)
    return enough & np.array([phone != OTHER for phone in units.phones], bool)


def label_units(
    units: UnitPhones, rng: np.random.Generator, minimum: int = MIN_COUNT, n_bootstrap: int = 1000
) -> list[UnitLabel]:
    """The label of every unit, whether or not it beats its controls; none at all where no phone has frames enough."""
    eligible = eligible_phones(units, minimum)
    if not eligible.any():
        return []
    table = auroc_table(units)
    best = chosen_on_first_half(table, eligible)
    at = np.arange(len(best))
    low, high = _bootstrap(units, best, table[at, 1, best].astype(np.float64), rng, n_bootstrap)
    precision = label_precision(units, minimum)
    counts, classes = units.half_counts[1], broad_classes(units.phones)
    return [
        UnitLabel(
            unit=unit,
            phone=units.phones[phone],
            broad_class=classes[phone],
            auroc=float(table[unit, 1, phone]),
            auroc_low=float(low[unit]),
            auroc_high=float(high[unit]),
            average_precision=float(precision[unit]),
            base_rate=float(counts[phone] / counts.sum()),
            count=int(counts[phone]),
            chosen_auroc=float(table[unit, 0, phone]),
            lag=units.lag,
        )
        for unit, phone in enumerate(best)
    ]


def permuted_values(units: UnitPhones, minimum: int = MIN_COUNT) -> Float32[np.ndarray, " unit"]:
    """Per unit the AUROC on half B of the shuffled phone that was best on half A: what labels give by chance."""
    table, eligible = permuted_auroc_table(units), eligible_phones(units, minimum)
    if not eligible.any():
        return np.zeros(0, np.float32)
    best = chosen_on_first_half(table, eligible)
    values: Float32[np.ndarray, " unit"] = table[np.arange(len(best)), 1, best]
    return values


def chosen_on_first_half(
    table: Float32[np.ndarray, "unit half phone"], eligible: Bool[np.ndarray, " phone"]
) -> Int64[np.ndarray, " unit"]:
    """For each unit the place of the eligible phone with the highest AUROC in half A."""
    best: Int64[np.ndarray, " unit"] = np.where(eligible, np.nan_to_num(table[:, 0]), -1).argmax(axis=1)
    return best


def _bootstrap(
    units: UnitPhones,
    best: Int64[np.ndarray, " unit"],
    exact: Float64[np.ndarray, " unit"],
    rng: np.random.Generator,
    n_bootstrap: int,
) -> tuple[Float64[np.ndarray, " unit"], Float64[np.ndarray, " unit"]]:
    """95 % interval of AUROC on half B: its groups drawn again with replacement, AUROC from their sums of ranks.

    Drawn groups vary too little when they are few, by (G - 1) / G in variance, and quantiles of the normal distribution
    are narrower than those of Student's, so the interval is widened by both.
    """
    counts = units.group_counts[1::2].astype(np.float64)
    present = counts.sum(axis=1) > 0
    n_groups = int(present.sum())
    if n_groups < 2:
        nothing = np.full(len(best), np.nan)
        return nothing, nothing
    counts = counts[present]
    sums = units.rank_sums[:, 1::2][:, present].astype(np.float64)
    weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_bootstrap).astype(np.float64)
    weights = np.concatenate([np.ones((1, n_groups)), weights])  # the first is the sample itself
    mine = weights @ np.take_along_axis(sums, best[:, None, None], axis=2)[..., 0].T
    n_mine = (weights @ counts)[:, best]
    rest, n_rest = weights @ sums.sum(axis=2).T - mine, weights @ counts.sum(axis=1, keepdims=True) - n_mine
    values = (_ratio(mine, n_mine) - _ratio(rest, n_rest)) / (N_RANKS - 1)
    changes = values[1:] - values[0]
    spread = np.quantile(changes, _INTERVAL, axis=0)
    if (lacking := np.isnan(changes).any(axis=0)).any():  # units whose phone some draws lack, one by one: slow
        spread[:, lacking] = np.nanquantile(changes[:, lacking], _INTERVAL, axis=0)
    widened = exact + spread * np.sqrt(n_groups / (n_groups - 1)) * student_quantile(n_groups - 1) / 1.959964
    return np.clip(widened[0], 0, 1), np.clip(widened[1], 0, 1)


def student_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t, from the normal one (Abramowitz and Stegun 26.7.5); within 1 % from 3 on."""
    if degrees < 3:
        return (12.7062, 4.3027)[degrees - 1]
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + terms[0] / degrees + terms[1] / degrees**2 + terms[2] / degrees**3


# --- against controls -------------------------------------------------------------------------------------


def beats_control(
    values: Float64[np.ndarray, " unit"], control_values: Float64[np.ndarray, " control"]
) -> Float64[np.ndarray, " unit"]:
    """p of each value: the share of controls at least as high, the value itself counted as one of them."""
    control = np.sort(np.asarray(control_values, np.float64))
    control = control[~np.isnan(control)]
    as_high = len(control) - np.searchsorted(control, np.asarray(values, np.float64), side="left")
    p: Float64[np.ndarray, " unit"] = (1 + as_high) / (1 + len(control))
    return p


def benjamini_hochberg(p: Float64[np.ndarray, " unit"]) -> Float64[np.ndarray, " unit"]:
    """q of each p: the smallest false discovery rate at which it counts (Benjamini and Hochberg 1995)."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q


# --- what a unit answers to, range by range ---------------------------------------------------------------


def range_mix(
    histogram: Int[np.ndarray, "phone bin"], maximum: float, n_ranges: int = 10
) -> Float64[np.ndarray, "range phone"]:
    """Frames of each phone in equal ranges from zero to the unit's maximum, lowest range first.

    A bin that reaches over the end of a range is split in proportion. Zeros, of which rarely active units have most
    frames, are in no range. For the negative side give `histogram[:, ::-1]` and minus the minimum.
    """
    if not maximum > 0:
        return np.zeros((n_ranges, len(histogram)))
    edges = bin_edges().astype(np.float64)
    low, high = edges[:-1], edges[1:].copy()
    high[-1] = max(high[-1], maximum)  # the last bin has no end
    high = np.where((low < maximum) & (high > maximum), maximum, high)  # nothing lies above the maximum
    ends = np.linspace(0, maximum, n_ranges + 1)
    overlap = np.minimum(high, ends[1:, None]) - np.maximum(low, ends[:-1, None])
    shares = np.where(low < 0, 0, np.maximum(overlap, 0) / (high - low))  # zero's own bin begins below it
    mix: Float64[np.ndarray, "range phone"] = shares @ np.asarray(histogram, np.float64).T
    return mix


def mix_entropy(mix: Float64[np.ndarray, "range phone"]) -> Float64[np.ndarray, " range"]:
    """Entropy of the phones of each range in bits: 0 for a single one; NaN for a range without frames."""
    total = mix.sum(axis=1, keepdims=True)
    share = _ratio(mix, total + 0 * mix)
    bits = -(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1)
    return np.where(total[:, 0] > 0, np.abs(bits), np.nan)


def class_mix(mix: Float64[np.ndarray, "range phone"], phones: Sequence[str]) -> Float64[np.ndarray, "range class"]:
    """The same for `CLASSES`; phones without a class are left out."""
    classes = broad_classes(phones)
    return np.stack([mix[:, [found == name for found in classes]].sum(axis=1) for name in CLASSES], axis=1)


def leading_classes(mix: Float64[np.ndarray, "range phone"], phones: Sequence[str]) -> list[BroadClass | None]:
    """The most frequent class of each range; None where none has frames.

    Where it changes below the top, another class takes over.
    """
    by_class = class_mix(mix, phones)
    return [CLASSES[row.argmax()] if row.max() > 0 else None for row in by_class]
