"""The labels of all units as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from wspy_phones import LabelledUnit

COLUMNS = ("site", "lag_s", *LabelledUnit.model_fields)
HEADINGS = (
    *("site", "unit", "sound", "class", "by", "AUROC (95 %)", "AP (chance)", "frames", "lag (s)", "purity"),
    *("p shuffled labels", "p shuffled weights", "p mel bands", "best band"),
)
Row = tuple[str, float, LabelledUnit]
"""Site, lag in seconds, unit."""


def as_csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for site, lag_s, unit in rows:
        values = (getattr(unit, name) for name in LabelledUnit.model_fields)
        writer.writerow([site, f"{lag_s:.2f}", *map(_cell, values)])
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """Lists with semicolons, empty for null."""
    if isinstance(value, tuple):
        return ";".join(map(_cell, value))
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def as_markdown(rows: Sequence[Row]) -> bytes:
    """The labelled units, in the manner of the post's table: a unit and what it answers to, and how sure that is."""
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}"]
    for site, _, unit in rows:
        if unit.label is not None:
            interval = f" ({unit.low:.3f} to {unit.high:.3f})" if unit.low is not None and unit.high is not None else ""
            cells = (
                site,
                unit.unit,
                unit.label,
                unit.label_class or "",
                unit.evidence,
                f"{'' if unit.label == unit.phone else f'{unit.phone} '}{unit.auroc:.3f}{interval}",
                f"{unit.average_precision:.2f} ({unit.base_rate:.3f})",
                unit.count,
                f"{unit.own_lag_s:.2f}",
                "" if unit.purity is None else f"{unit.purity:.0%} {unit.purity_phone}",
                *(_p_text(p) for p in deciding_p(unit)),
                f"{unit.band_auroc:.3f}",
            )
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""]).encode()


def deciding_p(unit: LabelledUnit) -> tuple[float | None, float | None, float]:
    """p against each control of what the label rests on."""
    if unit.evidence == "strongest clips":
        return unit.p_peaks_shuffled_labels, unit.p_peaks_random_weights, unit.p_peaks_mel
    return unit.p_shuffled_labels, unit.p_random_weights, unit.p_mel


def _p_text(p: float | None) -> str:
    return "" if p is None else f"{p:.2g}"
