"""Whether an analysis keeps what wspy promises to those who use one; what fails is told to its author."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import io
import json
import os
import shlex
import subprocess
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pydantic import BaseModel, ValidationError

from wspy.analysis import AnyAnalysis, Inputs, Media, Result, check_analysis_class
from wspy.blocks import Audio, Block, Figure, Table, Text
from wspy.errors import WspyError
from wspy.fields import input_fields
from wspy.runs import RECORD, Record, Run, run_analysis, validated
from wspy.testing.watch import at_home, scrambled, watched

if TYPE_CHECKING:
    from wspy.corpus import Corpus
    from wspy.model import Model

HEAVY = (
    "datasets",
    "gradio",
    "librosa",
    "matplotlib",
    "numpy",
    "onnxruntime",
    "pandas",
    "plotly",
    "scipy",
    "sklearn",
    "soundfile",
    "torch",
    "torchaudio",
    "transformers",
    "typer",
    "umap",
    "whisper",
)
"""What no module may import that has to be loaded for `wspy analyze --help`."""


def check_analysis(
    analysis: type[AnyAnalysis],
    inputs: Mapping[str, object] | None = None,
    *,
    folder: Path,
    model: Model | None = None,
    corpus: Corpus | None = None,
) -> Run:
    """Hold an analysis to the rules that every front end relies on, and give the run that was made for it.

    Its module imports nothing heavy; its inputs and results are described; both survive JSON; a command line and a web
    form can be made from it; it runs; the same seed gives the same result; what it shows can be drawn again from
    what is on disk; and no hook, changed weight, file, printed line or changed setting is left behind.

    Args:
        inputs: Values for the inputs that have no default, and others that make it quick. A recording that is needed
            and not named is the first clip of the corpus.
        folder: A folder for what is made, such as pytest's `tmp_path`. It is empty, or has a folder `home` with what
            the analysis needs in its WSPY_HOME.
        model: A random Whisper of two layers if left out.
        corpus: Clips of tones with texts, words and phones if left out.

    Raises:
        AssertionError: a rule that it breaks, and what to do about it.
    """
    from wspy.testing import tiny_whisper, tone_corpus

    _check_declaration(analysis)
    _check_import(analysis, folder)
    model, corpus = model or tiny_whisper(), corpus or tone_corpus()
    given = _given(analysis, inputs or {}, corpus, folder)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    runs = []
    for name, chaos in (("first", 1), ("second", 2)):
        with scrambled(chaos), watched(analysis.name, model, home, folder / f"beside-{name}"):
            runs.append(_run(analysis, given, model, corpus, folder / name))
    first, second = runs
    _check_result(first)
    _check_same(first, second)
    _check_view(first, home)
    _check_command_line(analysis, given, first)
    _check_form(analysis, home)
    return first


def _fail(analysis: type[AnyAnalysis] | AnyAnalysis, message: str) -> NoReturn:
    raise AssertionError(f"{analysis.name}: {message}")


# --- before it runs ---------------------------------------------------------------------------------------


def _check_declaration(analysis: type[AnyAnalysis]) -> None:
    """The class is whole, and every field of what it asks for and gives says what it is."""
    try:
        check_analysis_class(analysis)
    except TypeError as error:
        raise AssertionError(str(error)) from error
    for model in _models(analysis.Result, {Media}):
        for name, field in model.model_fields.items():
            if not (field.description or "").strip():
                _fail(analysis, f"{model.__qualname__}.{name} has no description: say what it is, with its unit")


def _models(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """A pydantic class and those inside its fields, each once."""
    seen.add(model)
    yield model
    todo: list[object] = [field.annotation for field in model.model_fields.values()]
    for kind in todo:  # grows while it is read
        todo += typing.get_args(kind)
        if inspect.isclass(kind) and issubclass(kind, BaseModel) and kind not in seen:
            yield from _models(kind, seen)


def _check_import(analysis: type[AnyAnalysis], folder: Path) -> None:
    """Importing the module that defines it costs next to nothing, and says nothing: in a process of its own."""
    module = analysis.__module__
    script = (
        f"import importlib, json, sys; importlib.import_module({module!r}); "
        f"print(); print(json.dumps(sorted({set(HEAVY)!r} & sys.modules.keys())))"
    )
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        _fail(analysis, f"its module {module!r} cannot be imported by itself ({last}): define it in an importable file")
    said, _, heavy = done.stdout.rstrip("\n").rpartition("\n")
    if said.strip():
        _fail(analysis, f"importing {module!r} prints {said.strip()!r}: stdout belongs to results")
    if names := json.loads(heavy):
        _fail(analysis, f"importing {module!r} imports {', '.join(names)}: import these inside run and view")


def _given(analysis: type[AnyAnalysis], values: Mapping[str, object], corpus: Corpus, folder: Path) -> Inputs:
    """The inputs to run with, taken through JSON and back."""
    filled = dict(values)
    for field in input_fields(analysis.Inputs):
        if field.required and field.kind == "audio" and field.name not in filled:
            from wspy.audio import write_wav

            filled[field.name] = folder / "recording.wav"
            write_wav(folder / "recording.wav", corpus.audio(corpus.clips[0]))
    try:
        given = validated(analysis(), filled)
    except WspyError as error:
        raise AssertionError(f"{error} Give check_analysis values that fit.") from error
    try:
        again = analysis.Inputs.model_validate_json(given.model_dump_json())
    except ValidationError as error:
        _fail(analysis, f"its inputs do not come back from JSON: {error}")
    if again != given:
        _fail(analysis, f"its inputs change on the way through JSON: {given!r} comes back as {again!r}")
    return given


def _run(analysis: type[AnyAnalysis], given: Inputs, model: Model, corpus: Corpus, path: Path) -> Run:
    try:
        return run_analysis(analysis(), given, model=model, corpus=corpus, seed=7, out=path)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise AssertionError(f"{analysis.name}: run({given!r}) on {corpus!r} raised {said}") from error


# --- what came of it --------------------------------------------------------------------------------------


def _files(run: Run) -> dict[str, Path]:
    """What the analysis put into the run folder, by its path there."""
    found = {path.relative_to(run.path).as_posix(): path for path in run.path.rglob("*") if path.is_file()}
    return {name: path for name, path in sorted(found.items()) if name != RECORD}


def _reopened(run: Run) -> Result:
    """The result as `wspy runs show` reads it."""
    record = Record.model_validate_json((run.path / RECORD).read_bytes())
    result: Result = type(run.analysis).Result.model_validate(record.result)
    result.attach(run.path, functools.partial(type(run.analysis)().view, result))
    return result


def _check_result(run: Run) -> None:
    """It is the declared class, survives JSON, and names exactly the files that are there."""
    analysis, result = run.analysis, run.result
    if not isinstance(result, analysis.Result):
        _fail(analysis, f"run returned {type(result).__name__}, and Result is {analysis.Result.__qualname__}")
    try:
        again = _reopened(run)
    except ValidationError as error:
        _fail(analysis, f"its result does not come back from JSON: {error}")
    if difference := _difference(result, again):
        _fail(analysis, f"its result changes on the way through JSON: {difference}")
    named, there = {media.path for media in _media(result)}, set(_files(run))
    if missing := sorted(named - there):
        _fail(analysis, f"its result names {missing[0]}, which is not in the run folder: save it with context.save")
    if unnamed := sorted(there - named):
        _fail(analysis, f"{unnamed[0]} is in the run folder, and no Media of the result names it")


def _media(value: object) -> Iterator[Media]:
    """Every `Media` inside a value, at any depth."""
    if isinstance(value, Media):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _media(getattr(value, name))
    elif isinstance(value, Mapping):
        yield from _media(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _media(item)


def _difference(one: BaseModel, other: BaseModel) -> str:
    """Where two models differ, as a path and both values; empty where they say the same."""
    found = _first_difference(
        one.model_dump(mode="json", by_alias=True), other.model_dump(mode="json", by_alias=True), type(one).__name__
    )
    return found or ""


def _first_difference(one: object, other: object, where: str) -> str | None:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        inner = ((key, f"{where}.{key}") for key in one)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        inner = ((at, f"{where}[{at}]") for at in range(len(one)))
    else:
        return None if repr(one) == repr(other) else f"{where} is {_short(one)} and then {_short(other)}"
    differences = (_first_difference(one[key], other[key], path) for key, path in inner)
    return next(filter(None, differences), None)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _check_same(first: Run, second: Run) -> None:
    """The same seed gave the same numbers and the same files, whatever chance there is elsewhere in the process."""
    advice = "take all chance from context.rng, and no clock, set order or path into the result"
    if difference := _difference(first.result, second.result):
        _fail(first.analysis, f"the same seed gives another result: {difference}: {advice}")
    one, other = _files(first), _files(second)
    changed = [name for name, path in one.items() if name not in other or path.read_bytes() != other[name].read_bytes()]
    if changed:
        _fail(first.analysis, f"the same seed gives another {changed[0]}: {advice}")


def _check_view(run: Run, home: Path) -> None:
    """What a person sees can be drawn by every front end, now and from disk."""
    analysis = run.analysis
    with watched(analysis.name, None, home, run.path.parent / "beside-view"):
        try:
            blocks = run.blocks()
        except Exception as error:
            raise AssertionError(f"{analysis.name}: view raised {type(error).__name__}: {error}") from error
        if not isinstance(blocks, list) or not blocks:
            _fail(analysis, f"view gave {_short(blocks)}: give a list of at least one block")
        for block in blocks:
            _check_block(analysis, block, _files(run))
        again = type(analysis)().view(_reopened(run))
    if [block.model_dump() for block in again] != [block.model_dump() for block in blocks]:
        _fail(analysis, "view shows something else once the run is read from disk: let it use nothing but the result")
    _draw(run, blocks)


def _check_block(analysis: AnyAnalysis, block: Block, files: Mapping[str, Path]) -> None:
    from wspy.audio import load_audio

    if not isinstance(block, Text | Table | Figure | Audio):
        _fail(analysis, f"view gave {_short(block)}, which is no block: use wspy.Text, Table, Figure or Audio")
    if isinstance(block, Table):
        for row in block.rows:
            if len(row) != len(block.columns):
                what = f"{len(row)} cells for {len(block.columns)} columns"
                _fail(analysis, f"a row of the table {block.title!r} has {what}")
    if isinstance(block, Audio):
        if block.path not in files:
            _fail(analysis, f"the sound {block.title!r} plays {block.path!r}, which is not in the run folder")
        try:
            load_audio(files[block.path])
        except WspyError as error:
            _fail(analysis, f"the sound {block.title!r} cannot be played: {error}")
    figure = block.figure if isinstance(block, Audio) else block if isinstance(block, Figure) else None
    if figure is not None:
        if not {"data", "layout"} <= figure.spec.keys():
            _fail(analysis, f"the figure {figure.title!r} lacks data or layout: Plotly needs both")
        try:
            json.dumps(figure.spec, allow_nan=False)
        except ValueError:
            _fail(analysis, f"the figure {figure.title!r} holds NaN or infinity, which JSON lacks: use None for a gap")


def _draw(run: Run, blocks: list[Block]) -> None:
    """As the terminal and as the report."""
    from rich.console import Console

    from wspy.cli.render import print_blocks
    from wspy.report import write_report

    page = io.StringIO()
    print_blocks(blocks, run.path, Console(file=page, width=100))
    report = write_report(run)
    if not page.getvalue().strip() or not report.stat().st_size:
        _fail(run.analysis, "nothing is seen of it")


# --- the front ends ---------------------------------------------------------------------------------------


def _check_command_line(analysis: type[AnyAnalysis], given: Inputs, run: Run) -> None:
    """`wspy analyze NAME` exists, and the command that the run names asks for the same again."""
    from wspy.cli.analyze import inputs_of_words

    command = run.record.provenance.command
    words = shlex.split(command)[3:]
    try:
        again = inputs_of_words(analysis, words)
    except Exception as error:
        raise AssertionError(f"{analysis.name}: the command line refuses {command!r}: {error}") from error
    if again != given:
        _fail(analysis, f"{command!r} asks for {again!r}, not for {given!r}")


def _check_form(analysis: type[AnyAnalysis], home: Path) -> None:
    """`wspy demo NAME` can be built, its own layout included; left out where gradio is not installed."""
    if importlib.util.find_spec("gradio") is None:
        return
    from wspy.web import Settings, Studio, build_app

    with at_home(home):
        try:
            build_app(Studio(Settings()), {analysis.name: analysis})
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise AssertionError(f"{analysis.name}: its form cannot be built: {said}") from error
