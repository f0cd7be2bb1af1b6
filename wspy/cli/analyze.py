"""`wspy analyze NAME`: one command for each analysis, generated from its `Inputs`.

Every input arrives as the words the user typed and is checked by `wspy.runs.validated`, as in Python and on the web;
what is left out takes the default of `Inputs`, so that defaults live nowhere else.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer

from wspy.analysis import AnyAnalysis, Inputs
from wspy.cli.options import AsJson, ModelName, Quiet, corpus_names
from wspy.cli.progress import shown_progress
from wspy.cli.runs import print_record
from wspy.fields import InputField, input_fields
from wspy.model.reference import DEFAULT_MODEL
from wspy.runs import DEFAULT_CORPUS, Run, run_analysis, validated

_METAVARS = {"integer": "N", "number": "X", "text": "TEXT", "integers": "N,...", "numbers": "X,...", "texts": "TEXT"}


Act = Callable[[AnyAnalysis, dict[str, object], "Common"], None]
"""What is done with an analysis, the values that were typed for its inputs, and the options that every analysis has."""


def add_analysis(group: typer.Typer, analysis: type[AnyAnalysis]) -> None:
    """Add the command of one analysis."""
    group.command(analysis.name, help=analysis.summary, short_help=analysis.summary)(_command(analysis))


def _command(analysis: type[AnyAnalysis], act: Act | None = None) -> Callable[..., None]:
    """A function whose signature is that of the analysis, for Typer to read; it runs it, or `act`s instead."""
    fields = input_fields(analysis.Inputs)

    def command(**given: object) -> None:
        values = {field.name: _value(field, given[field.name]) for field in fields if given[field.name] is not None}
        (act or run_and_print)(analysis(), values, Common.take(given))

    parameters = [_parameter(field) for field in sorted(fields, key=lambda field: not field.required)]
    parameters += _COMMON
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def inputs_of_words(analysis: type[AnyAnalysis], words: Sequence[str]) -> Inputs:
    """What the words after `wspy analyze NAME` ask of an analysis, which is not run.

    Raises:
        Exception: the command line would refuse them.
    """
    asked: list[Inputs] = []
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(analysis.name)(_command(analysis, lambda made, values, _: asked.append(validated(made, values))))
    typer.main.get_command(app).main(args=list(words), prog_name=f"wspy analyze {analysis.name}", standalone_mode=False)
    return asked[0]


# --- one input --------------------------------------------------------------------------------------------


def _parameter(field: InputField) -> inspect.Parameter:
    """An input as a parameter: audio by position, everything else as an option."""
    name = field.name.replace("_", "-")
    default = inspect.Parameter.empty if field.required else None
    kind: object
    if field.kind == "audio":
        # By position where it may be left out, too: `wspy analyze NAME recording.wav`.
        kind = Path if field.required else Path | None
        settings = typer.Argument(
            metavar=name.upper(), exists=True, dir_okay=False, help=_help(field), show_default=False
        )
    elif field.kind == "flag":
        kind = bool if field.required else bool | None
        settings = typer.Option(f"--{name}/--no-{name}", help=_help(field), show_default=False)
    else:
        item = list[str] if field.kind in ("integers", "numbers", "texts") else str
        kind = item if field.required else item | None
        metavar = "|".join(field.choices) or _METAVARS[field.kind]
        settings = typer.Option(
            f"--{name}",
            metavar=metavar,
            help=_help(field),
            show_default=False,
            autocompletion=_completions(field.choices) if field.choices else None,
        )
    return _keyword(field.name, Annotated[kind, settings], default)


def _completions(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def _keyword(name: str, annotation: object, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _help(field: InputField) -> str:
    """The description, with the range, how to give several, and the default."""
    notes = []
    if field.minimum is not None and field.maximum is not None:
        notes.append(f"{field.minimum:g} to {field.maximum:g}")
    elif field.minimum is not None:
        notes.append(f"{field.minimum:g} or more")
    elif field.maximum is not None:
        notes.append(f"{field.maximum:g} or less")
    if field.kind in ("integers", "numbers", "texts"):
        notes.append("may be given several times")
    if field.default not in (None, []) and not field.required:
        notes.append(f"default: {_default_text(field)}")
    return f"{field.description} [{'; '.join(notes)}]" if notes else field.description


def _default_text(field: InputField) -> str:
    if isinstance(field.default, bool):
        return f"--{'' if field.default else 'no-'}{field.name.replace('_', '-')}"
    return ",".join(map(str, field.default)) if isinstance(field.default, list) else str(field.default)


def _value(field: InputField, given: object) -> object:
    """What the user typed for one input, before it is checked; `1,2` is two numbers, an empty word none."""
    if field.kind in ("integers", "numbers"):
        return [part for word in cast(list[str], given) for part in word.split(",") if part]
    if field.kind == "texts" and given == [""]:
        return []
    return given


# --- the run ----------------------------------------------------------------------------------------------


_COMMON = [
    _keyword("model", ModelName, DEFAULT_MODEL),
    _keyword(
        "corpus",
        Annotated[
            str,
            typer.Option(
                "--corpus", metavar="CORPUS", help="A name that `wspy corpus list` lists.", autocompletion=corpus_names
            ),
        ],
        DEFAULT_CORPUS,
    ),
    _keyword(
        "device",
        Annotated[str | None, typer.Option("--device", metavar="cuda|mps|cpu", help="The best there is if left out.")],
        None,
    ),
    _keyword(
        "seed", Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of every random choice.")], 0
    ),
    _keyword(
        "out",
        Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="The run folder, new or empty.")],
        None,
    ),
    _keyword("json", AsJson, False),
    _keyword("quiet", Quiet, False),
    _keyword(
        "debug",
        Annotated[bool, typer.Option("--debug", help="Show tracebacks and warnings.", show_default=False)],
        False,
    ),
]


@dataclass(frozen=True)
class Common:
    """The options of every analysis."""

    model: str
    corpus: str
    device: str | None
    seed: int
    out: Path | None
    json: bool
    quiet: bool

    @classmethod
    def take(cls, given: Mapping[str, object]) -> Common:
        return cls(
            model=cast(str, given["model"]),
            corpus=cast(str, given["corpus"]),
            device=cast("str | None", given["device"]),
            seed=cast(int, given["seed"]),
            out=cast("Path | None", given["out"]),
            json=bool(given["json"]),
            quiet=bool(given["quiet"]),
        )


def run_and_print(analysis: AnyAnalysis, values: dict[str, object], common: Common) -> None:
    """Run an analysis, write its report, and print what it found."""
    inputs = validated(analysis, values)
    with shown_progress(common.quiet) as progress:
        run = run_analysis(
            analysis,
            inputs,
            model=common.model,
            corpus=common.corpus,
            device=common.device,
            seed=common.seed,
            out=common.out,
            progress=progress,
        )
    try:
        with contextlib.redirect_stdout(sys.stderr):
            from wspy.report import write_report

            write_report(run)
    finally:  # the run is whole, whatever became of its report
        if common.json:
            print_record(run)
        else:
            _print_run(run)


def _print_run(run: Run) -> None:
    """The result, then the folder on the last line, for people and for `tail -1` alike."""
    from wspy.cli.render import print_blocks

    try:
        with contextlib.redirect_stdout(sys.stderr):
            blocks = run.blocks()
        print_blocks(blocks, run.path)
        report = run.path / "report.html"
        if report.is_file():
            print(f"Report: {report}")
    finally:
        print(run.path)
