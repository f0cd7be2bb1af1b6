"""The report of a run: one folder with a page that opens from disk, plays, draws and fetches nothing."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from wspy.files import atomic_path, home, write_atomic
from wspy.html import page, plotly_js, render_blocks

if TYPE_CHECKING:
    from pydantic import JsonValue

    from wspy.runs import Run

REPORT = "report.html"
PLOTLY = "assets/plotly.min.js"


def write_report(run: Run) -> Path:
    """Write `report.html` into a run's folder, with the scripts it needs beside it, and give its path.

    Raises:
        NotWritable: the run folder cannot be written, or the disk is full.
    """
    body = "\n".join(
        [
            _bar(run),
            '<main id="result">',
            _heading(run),
            render_blocks(run.blocks(), media=quote),
            _inputs(run),
            _provenance(run),
            "</main>",
        ]
    )
    _place_plotly(run.path / PLOTLY)
    report = run.path / REPORT
    write_atomic(report, page(_title(run), body, plotly_src=PLOTLY))
    return report


def _place_plotly(target: Path) -> None:
    """Put plotly's script into the run folder: a second name of one cached copy where the file system has that."""
    source = plotly_js()
    size = source.stat().st_size
    if target.is_file() and target.stat().st_size == size:
        return
    cached = home() / "assets" / f"plotly-{importlib.metadata.version('plotly')}.min.js"
    if not (cached.is_file() and cached.stat().st_size == size):
        with atomic_path(cached) as temporary:
            shutil.copyfile(source, temporary)
    with atomic_path(target) as temporary:
        temporary.unlink()
        try:
            os.link(cached, temporary)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(cached, temporary)


def _asked(run: Run) -> list[tuple[str, str]]:
    """The inputs that a person chose: those without a default, and those that differ from it."""
    fields = run.analysis.Inputs.model_fields
    chosen = []
    for name, value in run.record.inputs.items():
        field = fields.get(name)
        if value is None or (field is not None and not field.is_required() and field.get_default() == value):
            continue
        chosen.append((name, _shown(value)))
    return chosen


def _shown(value: JsonValue) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value) or "none"
    return str(value)


def _title(run: Run) -> str:
    asked = ", ".join(f"{name} {value}" for name, value in _asked(run))
    return f"{run.analysis.name}: {asked}" if asked else run.analysis.name


def _bar(run: Run) -> str:
    return (
        f'<header class="bar"><div><span class="run"><b>wspy {escape(run.analysis.name)}</b> '
        f'{escape(run.name)}</span><nav aria-label="Sections"><a href="#result">Result</a>'
        '<a href="#inputs">Inputs</a><a href="#provenance">Provenance</a></nav></div></header>'
    )


def _heading(run: Run) -> str:
    made = run.record.provenance
    asked = [*_asked(run), *((n, v) for n, v in (("model", made.model), ("corpus", made.corpus)) if v)]
    chips = "".join(f"<li><span>{escape(name)}</span>{escape(value)}</li>" for name, value in asked)
    return (
        f'<h1>{escape(run.analysis.name)}</h1><p class="summary">{escape(run.analysis.summary)}</p>'
        f'<ul class="asked" aria-label="What was asked">{chips}</ul>'
    )


def _inputs(run: Run) -> str:
    fields = run.analysis.Inputs.model_fields
    rows = "".join(
        f'<tr><td class="word">{escape(name)}</td><td>{escape(_shown(value))}</td>'
        f"<td>{escape((fields[name].description or '') if name in fields else '')}</td></tr>"
        for name, value in run.record.inputs.items()
    )
    return (
        '<h2 id="inputs">Inputs</h2><div class="scroll inputs"><table><thead><tr><th>input</th><th>value</th>'
        f"<th>meaning</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _provenance(run: Run) -> str:
    made = run.record.provenance
    rows = [
        ("started", made.started),
        ("duration", f"{made.duration_s:g} s"),
        ("seed", str(made.seed)),
        ("model", made.model),
        ("model SHA-256", made.model_sha256),
        ("corpus", made.corpus),
        ("corpus hash", made.corpus_hash),
        ("alignment hash", made.alignment_hash),
        ("device", made.device),
        ("wspy", made.wspy),
        ("plugin", made.plugin),
        ("platform", made.platform),
        ("packages", ", ".join(f"{name} {version}" for name, version in made.packages.items())),
    ]
    terms = "".join(f"<dt>{name}</dt><dd>{_term(name, value)}</dd>" for name, value in rows if value)
    return (
        '<h2 id="provenance">Provenance</h2><p>The same again:</p>'
        f'<pre tabindex="0"><code>{escape(made.command)}</code></pre><dl class="provenance">{terms}</dl>'
    )


def _term(name: str, value: str) -> str:
    return f"<code>{escape(value)}</code>" if name.endswith(("hash", "SHA-256")) else escape(value)
