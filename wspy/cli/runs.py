"""`wspy runs` and `wspy report`: what earlier analyses found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from wspy.cli.options import AsJson, RunName

if TYPE_CHECKING:
    from wspy.runs import Run, RunSummary

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show and remove runs.")


def add_commands(root: typer.Typer) -> None:
    """Put the commands of this module on the command line."""
    root.add_typer(app, name="runs")
    root.command("report")(report)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the runs that are kept, newest first."""
    from wspy.cli.render import print_json, print_rows
    from wspy.runs import list_runs

    runs = list_runs()
    if as_json:
        print_json(runs)
        return
    headings = ("name", "analysis", "inputs", "started", "model", "corpus")
    rows = [(run.name, run.analysis, _inputs(run), run.started, run.model, run.corpus) for run in runs]
    print_rows("Runs", headings, rows, "No runs yet. To make one: wspy analyze NAME (wspy analyses lists the names)")


def _inputs(run: RunSummary) -> str:
    given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in run.inputs.items()}
    return " ".join(f"{name}={value}" for name, value in given.items())


@app.command()
def show(run: RunName, as_json: AsJson = False) -> None:
    """Show what a run found, and where it comes from."""
    from wspy.blocks import Column, Table
    from wspy.cli.render import print_blocks
    from wspy.runs import open_run

    opened = open_run(run)
    if as_json:
        print_record(opened)
        return
    provenance = opened.record.provenance.model_dump(exclude={"packages"})
    rows = [(name, str(value)) for name, value in provenance.items() if value is not None]
    rows += opened.record.provenance.packages.items()
    columns = (Column(name="what"), Column(name="value"))
    print_blocks([*opened.blocks(), Table(title="Provenance", columns=columns, rows=tuple(rows))], opened.path)
    print(opened.path)


@app.command()
def remove(run: RunName) -> None:
    """Delete a run with its media."""
    from wspy.runs import remove_run

    remove_run(run)


def report(run: RunName) -> None:
    """Write the report of a run again, and print its path."""
    from wspy.report import write_report
    from wspy.runs import open_run

    print(write_report(open_run(run)))


def print_record(run: Run) -> None:
    """A run as one JSON document: its record and its folder."""
    from wspy.cli.render import print_json

    print_json({**run.record.model_dump(), "run": str(run.path)})
