"""What the commands of plugins need: the options, the progress and the tables that wspy's own commands have.

A plugin that implements `register_commands` adds functions to a Typer application. With these its commands look and
behave like all others: results on stdout as a table, or as one JSON document with `--json`; progress on stderr.

    import typer
    from wspy.terminal import AsJson, Quiet, print_json, print_rows, shown_progress
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wspy.cli.options import AsJson, ModelName, Quiet, corpus_names
from wspy.cli.progress import shown_progress

if TYPE_CHECKING:
    from wspy.blocks import Cell, Column

__all__ = [
    "AsJson",
    "CorpusOption",
    "DeviceOption",
    "ModelName",
    "Quiet",
    "analyze_and_print",
    "print_json",
    "print_rows",
    "shown_progress",
]

CorpusOption = Annotated[
    str,
    typer.Option(
        "--corpus", metavar="CORPUS", help="A name that `wspy corpus list` lists.", autocompletion=corpus_names
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="cuda|mps|cpu", help="The best there is if left out.")
]


def print_json(value: object) -> None:
    """One JSON document on stdout: dataclasses, models and paths as plain values, NaN and infinity as strings."""
    from wspy.cli import render  # which imports pydantic: not for --help

    render.print_json(value)


def print_rows(title: str, columns: Sequence[str | Column], rows: Sequence[Sequence[Cell]], nothing: str) -> None:
    """A table on stdout; where it has no rows, what to say instead."""
    from wspy.cli import render

    render.print_rows(title, columns, rows, nothing)


def analyze_and_print(
    name: str,
    inputs: Mapping[str, object],
    *,
    model: str,
    corpus: str,
    device: str | None = None,
    seed: int = 0,
    out: Path | None = None,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Run an analysis and show what it found, as `wspy analyze NAME` does.

    Raises:
        UnknownAnalysis: no plugin registered it.
        InputError: something given cannot be used.
    """
    from wspy.cli.analyze import Common, run_and_print
    from wspy.plugins import load_plugins

    common = Common(model=model, corpus=corpus, device=device, seed=seed, out=out, json=as_json, quiet=quiet)
    run_and_print(load_plugins().analysis(name), dict(inputs), common)
