"""What a person sees of the labels: how many beat chance, which phones they have, and the best of them."""

from __future__ import annotations

import numpy as np

import wspy
from wspy.blocks import Cell
from wspy.figures import Axis, Curve, curves, heatmap, stacked_bars
from wspy_phones import Phones, RangeSummary, SiteLabels
from wspy_phones.tables import deciding_p

_CONTROLS = ("shuffled labels", "shuffled weights", "mel bands")
_STEPS = 25  # points of a distribution's line
MOST_PHONES = 24


def page(result: Phones.Result) -> list[wspy.Block]:
    """Counts first, then distributions, then single units."""
    with np.load(result.file(result.arrays)) as stored:
        arrays = dict(stored)
    blocks: list[wspy.Block] = [_summary(result), _counts(result), _mixed(result)]
    blocks += [_distribution(site, arrays) for site in result.sites]
    if any(site.phones for site in result.sites):
        blocks.append(_per_phone(result))
    for site in result.sites:
        if site.best:
            blocks += [_best(site), _heat(site, arrays)]
    return blocks


def _summary(result: Phones.Result) -> wspy.Text:
    n_units, n_labelled = sum(s.n_units for s in result.sites), sum(s.n_labelled for s in result.sites)
    deciding = "shuffled labels"
    if any(control.name == "shuffled weights" for control in result.sites[0].controls):
        deciding += " and shuffled weights"
    return wspy.Text(
        markdown=f"# {n_labelled:,} of {n_units:,} units of {result.model} have a phone of their own\n\n"
        f"Heard over {result.n_clips:,} clips of corpus {result.corpus!r}, {result.n_frames:,} frames of 20 ms. "
        f"Phones: {result.alignment}.\n\n"
        f"A unit is labelled if it tells its phone better than {deciding} give by chance, over all frames or at the "
        f"peaks of its strongest clips, at a false discovery rate of {result.fdr:.0%}. Labels are chosen on one half "
        f"of the {result.groups} and reported on the other, in which there are {result.n_groups} groups of "
        f"{result.groups}.\n\n"
        f"All units: `{result.labels.path}`; the labelled ones in Markdown: `{result.table.path}`."
    )


def _counts(result: Phones.Result) -> wspy.Table:
    return wspy.Table(
        title="How many units have a label, next to what the controls reach by the same choice",
        columns=(
            wspy.Column(name="site"),
            wspy.Column(name="what", description="The units of the site, or a control."),
            wspy.Column(name="units", description="How many there are."),
            wspy.Column(name="labelled", description="Units that beat shuffled labels and, where heard, weights."),
            wspy.Column(name="by frames", description="Labelled by AUROC over all frames."),
            wspy.Column(name="by peaks", description="Labelled by the clips with the highest peaks."),
            wspy.Column(name="heard", description="Labelled units with their label most often at the highest peaks."),
            wspy.Column(name="beaten by", description="Units that beat the control at the false discovery rate."),
            wspy.Column(name="above bands", description="Labelled, and surer than the best mel band for their phone."),
            wspy.Column(name="lag", unit="s", description="From the sound to the activation, for the site as a whole."),
            wspy.Column(name="own lag", unit="s", description="The same for each labelled unit alone; the median."),
            wspy.Column(name="median AUROC", decimals=3),
            wspy.Column(name="highest AUROC", decimals=3),
            wspy.Column(
                name="peak share", unit="%", decimals=0, description="Median share of the top clips with their phone."
            ),
            wspy.Column(name="median purity", unit="%", decimals=0, description="Of the clips with the highest peaks."),
            wspy.Column(name="at least 60 % pure", unit="%", decimals=0, description="Share of the units."),
        ),
        rows=tuple(row for site in result.sites for row in (_site_row(site), *_control_rows(site))),
    )


def _site_row(site: SiteLabels) -> tuple[Cell, ...]:
    counts = (site.n_units, site.n_labelled, site.n_by_frames, site.n_by_peaks, site.n_heard, None, site.n_above_bands)
    reached = (site.median_auroc, site.highest_auroc, 100 * site.median_peak_share)
    lags = (site.lag_s, site.own_lag_s)
    return site.site, "units", *counts, *lags, *reached, _percent(site.median_purity), _percent(site.share_pure)


def _control_rows(site: SiteLabels) -> list[tuple[Cell, ...]]:
    return [
        (
            site.site,
            control.name,
            *(control.n_units, None, None, None, None, control.n_beaten, None, None, None),
            *(control.median_auroc, control.highest_auroc, 100 * control.median_peak_share),
            _percent(control.median_purity),
            _percent(control.share_pure),
        )
        for control in site.controls
    ]


def _mixed(result: Phones.Result) -> wspy.Table:
    """Polysemanticity as a number."""

    def row(site: str, what: str, found: RangeSummary) -> tuple[Cell, ...]:
        bits = found.entropy_bits
        return site, what, found.n_units, bits[0], bits[1], bits[4], bits[-1], _percent(found.share_changing)

    return wspy.Table(
        title="How mixed the activation ranges are, from the maximum down to zero",
        columns=(
            wspy.Column(name="site"),
            wspy.Column(name="what", description="The units of the site, or a control."),
            wspy.Column(name="units", description="That are above zero at all."),
            wspy.Column(name="1st tenth", unit="bits", description="Median entropy of the phones nearest the maximum."),
            wspy.Column(name="2nd tenth", unit="bits", description="The same one range lower."),
            wspy.Column(name="5th tenth", unit="bits", description="The same half of the way down."),
            wspy.Column(name="last tenth", unit="bits", description="The same just above zero."),
            wspy.Column(name="changing", unit="%", decimals=0, description="Units with several classes on the way."),
        ),
        rows=tuple(
            row(site.site, what, found)
            for site in result.sites
            for what, found in [("units", site.ranges), *((each.name, each.ranges) for each in site.controls)]
            if found is not None
        ),
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _distribution(site: SiteLabels, arrays: dict[str, np.ndarray]) -> wspy.Figure:
    """How many units lie above each AUROC: lines do not depend on bins."""
    named = [("units", arrays[f"{site.site}.auroc"])]
    named += [(name, arrays[key]) for name in _CONTROLS if (key := f"{site.site}.{name.replace(' ', '_')}") in arrays]
    grid = np.linspace(0.4, 1.0, _STEPS)
    return curves(
        f"AUROC of {site.site} and its controls",
        [Curve(name, grid.tolist(), [100 * float((values > at).mean()) for at in grid]) for name, values in named],
        x_title="AUROC of the unit's own phone, on the half on which it was not chosen",
        y_title="units above it (%)",
        caption="The farther the line of the units lies to the right of those of the controls, the more was learned.",
    )


def _per_phone(result: Phones.Result) -> wspy.Figure:
    totals: dict[str, int] = {}
    for site in result.sites:
        for phone, count in site.phones.items():
            totals[phone] = totals.get(phone, 0) + count
    shown = sorted(totals, key=lambda phone: (-totals[phone], phone))
    rest = shown[MOST_PHONES:]
    rows = [*shown[:MOST_PHONES], *(["others"] if rest else [])]

    def counts(site: SiteLabels) -> list[float]:
        values: list[float] = [site.phones.get(phone, 0) for phone in shown[:MOST_PHONES]]
        return [*values, *([float(sum(site.phones.get(phone, 0) for phone in rest))] if rest else [])]

    return stacked_bars(
        "Labelled units per phone",
        rows,
        {site.site: counts(site) for site in result.sites},
        x_title="labelled units",
        y_title="phone",
        caption="Each part of a bar is one site. Frequent phones are easier to beat chance with.",
    )


def _best(site: SiteLabels) -> wspy.Table:
    return wspy.Table(
        title=f"The best labels of {site.site}",
        columns=(
            wspy.Column(name="unit"),
            wspy.Column(name="label"),
            wspy.Column(name="class"),
            wspy.Column(name="by", description="What the label rests on: all frames, the strongest clips, or both."),
            wspy.Column(name="AUROC", decimals=3, description="Of the phone that it tells best over all frames."),
            wspy.Column(name="from", decimals=3, description="Lower end of the 95 % bootstrap interval."),
            wspy.Column(name="to", decimals=3, description="Upper end of it."),
            wspy.Column(name="AP", decimals=2, description="Average precision."),
            wspy.Column(name="base", decimals=3, description="Share of frames with the phone: AP of chance."),
            wspy.Column(name="frames", description="Of the phone."),
            wspy.Column(name="lag", unit="s", description="From the phone to the unit's highest mean activation."),
            wspy.Column(name="purity", unit="%", decimals=0, description="Of the clips with the highest peaks."),
            wspy.Column(name="of", description="The most common phone at these peaks."),
            wspy.Column(name="p labels", decimals=4, description="Share of shuffled labels that do as well."),
            wspy.Column(name="p weights", decimals=4, description="The same with shuffled weights."),
            wspy.Column(name="p bands", decimals=4, description="Share of mel bands that do as well."),
            wspy.Column(name="best band", decimals=3, description="AUROC of the mel band that tells the phone best."),
        ),
        rows=tuple(
            (
                unit.unit,
                unit.label,
                unit.label_class,
                unit.evidence,
                unit.auroc,
                unit.low,
                unit.high,
                unit.average_precision,
                unit.base_rate,
                unit.count,
                unit.own_lag_s,
                None if unit.purity is None else 100 * unit.purity,
                unit.purity_phone,
                *deciding_p(unit),
                unit.band_auroc,
            )
            for unit in site.best
        ),
    )


def _heat(site: SiteLabels, arrays: dict[str, np.ndarray]) -> wspy.Figure:
    best, means = arrays[f"{site.site}.best"], arrays[f"{site.site}.means"]
    return heatmap(
        f"Mean activation of the best units of {site.site} at every phone",
        means,
        x=Axis("unit, by the class and phone of its label", labels=[str(unit) for unit in best.tolist()]),
        y=Axis("phone", labels=[str(phone) for phone in arrays[f"{site.site}.phones"]]),
        value="mean activation in standard deviations over the unit's phones",
        diverging=True,
        caption="A column with one bright cell is a unit for one phone; several bright cells share it.",
    )
