"""Running an analysis, and the folder that keeps what came of it.

A run folder holds `result.json` (analysis, inputs, result, provenance), the media that the result names, and
`report.html` where one was asked for. It appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.metadata
import json
import platform
import re
import reprlib
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

import wspy
from wspy.analysis import AnyAnalysis, Context, Inputs, Result
from wspy.blocks import Block
from wspy.errors import BadInput, Busy, NotARun, NotWritable, OutputExists, UnknownCorpus, UnknownRun
from wspy.files import atomic_folder, home, locked, write_atomic
from wspy.model.reference import DEFAULT_MODEL, check_device_name
from wspy.plugins import load_plugins
from wspy.progress import Progress, Silent

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from wspy.corpus import Corpus
    from wspy.model import Model, ModelReference

RECORD = "result.json"
DEFAULT_CORPUS = "demo"
_VERSIONS = ("openai-whisper", "torch", "numpy", "pydantic")


class Provenance(BaseModel):
    """Everything needed to say where a result comes from, and to get it again."""

    model_config = ConfigDict(frozen=True)

    wspy: str = Field(description="Version of wspy.")
    plugin: str = Field(description="Distribution and version that the analysis comes from.")
    command: str = Field(description="The command line that gives this run again.")
    started: str = Field(description="Start, ISO 8601 in UTC.")
    duration_s: float = Field(description="Seconds that the analysis took.")
    seed: int = Field(description="Seed of every random choice.")
    model: str | None = Field(description="Name of the model; null where it was not used.")
    model_sha256: str | None = Field(description="SHA-256 of the weights file.")
    corpus: str | None = Field(description="Name of the corpus; null where it was not used.")
    corpus_hash: str | None = Field(description="Hash of the corpus' audio and clip list.")
    alignment_hash: str | None = Field(description="Hash of the corpus' alignment; null where there is none.")
    device: str | None = Field(description="Device that the model ran on; null where everything came from disk.")
    platform: str = Field(description="Python and operating system.")
    packages: dict[str, str] = Field(description="Versions of the packages that shape the numbers.")


class Record(BaseModel):
    """The content of `result.json`."""

    # JSON has no infinity and no NaN: as strings they come back as the numbers they were, at any depth.
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    analysis: str = Field(description="Name of the analysis.")
    inputs: dict[str, JsonValue] = Field(description="What was asked, defaults included.")
    result: dict[str, JsonValue] = Field(description="What was found: the analysis' own Result.")
    provenance: Provenance = Field(description="Where it comes from.")


@dataclass(frozen=True)
class Run:
    """One execution of an analysis, kept as a folder."""

    path: Path
    record: Record
    analysis: AnyAnalysis
    result: Result

    @property
    def name(self) -> str:
        """What `wspy runs show` calls it."""
        return self.path.name

    def blocks(self) -> list[Block]:
        """What a person sees of it, put together once for every front end that asks."""
        return self._blocks

    @functools.cached_property
    def _blocks(self) -> list[Block]:
        blocks: list[Block] = self.analysis.view(self.result)
        return blocks


@dataclass(frozen=True)
class RunSummary:
    """A line of `wspy runs list`."""

    name: str
    analysis: str
    inputs: dict[str, JsonValue]
    started: str
    model: str | None
    corpus: str | None
    path: Path


def runs_folder() -> Path:
    """Where runs are kept unless `--out` says otherwise."""
    return home() / "runs"


def validated(analysis: AnyAnalysis, values: dict[str, object]) -> Inputs:
    """The inputs of an analysis from plain values.

    Raises:
        BadInput: the first value that does not fit, in one line.
    """
    try:
        inputs: Inputs = analysis.Inputs.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadInput(analysis.name, ".".join(str(part) for part in first["loc"]), _why(first)) from None
    return inputs


_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def _why(error: ErrorDetails) -> str:
    """What is wrong with a value, in a person's words rather than pydantic's."""
    kind, bounds = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "it is needed"
    if kind == "extra_forbidden":
        return "there is no such input"
    bound = next((name for name in _BOUNDS if name in bounds), None)
    if bound:
        must = f"{_BOUNDS[bound]} {bounds[bound]}"
    elif kind.startswith("int_"):
        must = "a whole number"
    elif kind.startswith("float_") or kind == "finite_number":
        must = "a number"
    elif kind == "literal_error":
        must = str(bounds["expected"])
    else:
        return f"{' '.join(error['msg'].split())}, not {reprlib.repr(error['input'])}"
    return f"must be {must}, not {reprlib.repr(error['input'])}"


def run_analysis(
    analysis: AnyAnalysis,
    inputs: Inputs,
    *,
    model: str | Model = DEFAULT_MODEL,
    corpus: str | Corpus = DEFAULT_CORPUS,
    device: str | None = None,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
    context_class: type[Context] = Context,
) -> Run:
    """Run an analysis and keep what comes of it.

    Args:
        model: A name that `wspy models` lists, the path of a checkpoint, or a loaded model.
        corpus: A name that `wspy corpus list` lists, or an open corpus; `demo` is made where it does not exist.
        device: `cuda`, `mps` or `cpu`; None takes the best there is.
        out: The run folder; None makes one below `runs_folder()`.
        context_class: What the analysis is given; a front end may share its models, or refuse to write.

    Raises:
        InputError: something given cannot be used; nothing is left behind.
    """
    check_device_name(device)  # even where the model turns out not to be needed
    progress = progress or Silent()
    started = datetime.datetime.now(datetime.UTC)
    name = f"{started:%Y%m%d-%H%M%S}-{analysis.name}-{secrets.token_hex(2)}"
    path = (out.expanduser() if out else runs_folder() / name).absolute()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputExists(str(path))
    with contextlib.ExitStack() as stack:
        if out is None:
            stack.enter_context(_at_work(path))
        folder = stack.enter_context(atomic_folder(path))
        context = _context(context_class, model, corpus, device, seed, folder, progress)
        clock = time.monotonic()
        result = analysis.run(inputs, context)
        record = Record(
            analysis=analysis.name,
            inputs=inputs.model_dump(mode="json"),
            result=result.model_dump(mode="json"),
            provenance=_provenance(analysis, inputs, context, started, time.monotonic() - clock),
        )
        write_atomic(folder / RECORD, record.model_dump_json(indent=1) + "\n")
    result.attach(path, functools.partial(analysis.view, result))
    return Run(path, record, analysis, result)


_LEFTOVER = re.compile(r"\.(\d{8}-\d{6}-.+)\.[a-z0-9_]{8}")


@contextlib.contextmanager
def _at_work(path: Path) -> Iterator[None]:
    """Hold the lock of a run below `runs_folder()` while it is made, and remove what killed ones left.

    The lock of a killed process is free again, so nothing of a run that is still being made is touched.
    """
    for left in path.parent.glob(".*"):
        named = _LEFTOVER.fullmatch(left.name)
        if named and left.is_dir():
            with contextlib.suppress(Busy, NotWritable), _run_lock(path.with_name(named[1])):
                shutil.rmtree(left, ignore_errors=True)
    with _run_lock(path):
        yield


@contextlib.contextmanager
def _run_lock(path: Path) -> Iterator[None]:
    with locked(path, f"run {path.name!r}", wait_s=0.0):
        try:
            yield
        finally:
            path.with_name(f".{path.name}.lock").unlink(missing_ok=True)


def _context(
    context_class: type[Context],
    model: str | Model,
    corpus: str | Corpus,
    device: str | None,
    seed: int,
    folder: Path,
    progress: Progress,
) -> Context:
    """The context of one run. What it may need of models and corpora is imported when it is needed."""

    def found() -> ModelReference:
        from wspy.model import find_model

        return find_model(model) if isinstance(model, str) else model.reference

    def loaded() -> Model:
        from wspy.model import load_model

        return load_model(model, device) if isinstance(model, str) else model

    def opened() -> Corpus:
        from wspy.corpus import ensure_demo, open_corpus

        if not isinstance(corpus, str):
            return corpus
        try:
            return open_corpus(corpus)
        except UnknownCorpus:
            if corpus != DEFAULT_CORPUS:
                raise
            return ensure_demo(progress)

    return context_class(
        reference=found,
        model=loaded,
        corpus=opened,
        folder=folder,
        seed=seed,
        sites=load_plugins().sites,
        progress=progress,
    )


def _provenance(
    analysis: AnyAnalysis, inputs: Inputs, context: Context, started: datetime.datetime, duration_s: float
) -> Provenance:
    used = context.__dict__  # cached properties appear here once they have been touched
    reference, corpus, model = used.get("reference"), used.get("corpus"), used.get("model")
    reference = reference or (model.reference if model else None)
    owner = load_plugins().owners.get(f"analysis {analysis.name!r}")
    return Provenance(
        wspy=wspy.__version__,
        plugin=f"{owner.distribution} {owner.version}" if owner else f"{type(analysis).__module__} (not installed)",
        command=_command(analysis, inputs, context, used),
        started=started.isoformat(timespec="seconds"),
        duration_s=round(duration_s, 3),
        seed=context.seed,
        model=reference.name if reference else None,
        model_sha256=reference.sha256 if reference else None,
        corpus=corpus.name if corpus else None,
        corpus_hash=corpus.hash if corpus else None,
        alignment_hash=corpus.alignment_hash if corpus else None,
        device=str(model.device) if model else None,
        platform=f"Python {platform.python_version()}, {platform.platform(terse=True)}",
        packages={name: _version(name) for name in _VERSIONS},
    )


def _command(analysis: AnyAnalysis, inputs: Inputs, context: Context, used: dict[str, object]) -> str:
    """The command line that asks the same question again."""
    import shlex

    from wspy.fields import input_fields

    words = ["wspy", "analyze", analysis.name]
    values = inputs.model_dump(mode="json", exclude_defaults=True)
    for field in input_fields(analysis.Inputs):
        value = values.get(field.name)
        if value is None:
            continue
        flag = "--" + field.name.replace("_", "-")
        if field.kind == "audio":
            words.append(str(value))
        elif field.kind == "flag":
            words.append(flag if value else "--no-" + flag[2:])
        elif isinstance(value, list):
            for item in value or [""]:  # an empty list is one empty value
                words += [flag, str(item)]
        else:
            words += [flag, str(value)]
    if "corpus" in used and context.corpus.name != DEFAULT_CORPUS:
        words += ["--corpus", context.corpus.name]
    if "reference" in used or "model" in used:
        reference = context.reference
        # A checkpoint of the user's own is found by its path, a published one by its name.
        own = reference.path is not None and reference.published_name != reference.name
        model = str(reference.path) if own else reference.name
        words += [] if model == DEFAULT_MODEL else ["--model", model]
    if context.seed:
        words += ["--seed", str(context.seed)]
    return shlex.join(words)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def open_run(name: str | Path) -> Run:
    """A finished run by name or path, ready to be viewed again.

    Raises:
        UnknownRun: there is none of that name.
        NotARun: the folder does not hold a readable run.
        UnknownAnalysis: the plugin that made it is not installed.
    """
    path = _find(str(name))
    if path is None:
        given = Path(name).expanduser().absolute()
        if not str(name) or not _is_run(given):
            raise UnknownRun(str(name), [run.name for run in list_runs()])
        path = given
    record = _read(path)
    analysis = load_plugins().analysis(record.analysis)
    try:
        result = analysis.Result.model_validate(record.result)
    except ValidationError as error:
        raise NotARun(str(path), f"its result is of another version ({error.error_count()} fields differ)") from None
    result.attach(path, functools.partial(analysis.view, result))
    return Run(path, record, analysis, result)


def analyze(
    analysis: str,
    *,
    model: str | Model = DEFAULT_MODEL,
    corpus: str | Corpus = DEFAULT_CORPUS,
    device: str | None = None,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
    **inputs: object,
) -> Result:
    """Run an analysis by name and give its typed result, which a notebook shows with sound and figures.

    `wspy.analyze("neuron", layer=2, idx=3)` is `wspy analyze neuron --layer 2 --idx 3`; the other arguments are those
    of `run_analysis`.

    Raises:
        InputError: something given cannot be used; nothing is left behind.
    """
    chosen = load_plugins().analysis(analysis)
    return run_analysis(
        chosen,
        validated(chosen, inputs),
        model=model,
        corpus=corpus,
        device=device,
        seed=seed,
        out=out,
        progress=progress,
    ).result


def _is_run(path: Path) -> bool:
    try:
        return (path / RECORD).is_file()
    except OSError:  # for instance a name that is too long
        return False


def _find(name: str) -> Path | None:
    """The folder of a run below `runs_folder()`; None for a name with a way out of it, and for none of that name."""
    path = runs_folder() / name
    return path if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) and _is_run(path) else None


def _read(path: Path) -> Record:
    try:
        return Record.model_validate_json((path / RECORD).read_bytes())
    except OSError as error:
        raise NotARun(str(path), f"{RECORD}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or RECORD
        raise NotARun(str(path), f"{where}: {first['msg']}") from None


def list_runs() -> list[RunSummary]:
    """The runs below `runs_folder()`, newest first; folders that hold no readable run are left out."""
    found = []
    for record_path in runs_folder().glob(f"*/{RECORD}"):
        if record_path.parent.name.startswith("."):
            continue  # being written
        try:
            raw = json.loads(record_path.read_bytes())
            provenance = raw["provenance"]
            summary = RunSummary(
                record_path.parent.name,
                raw["analysis"],
                raw["inputs"],
                provenance["started"],
                provenance["model"],
                provenance["corpus"],
                record_path.parent,
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not a run of ours: `wspy runs show` on it says why
        found.append(summary)
    return sorted(found, key=lambda run: (run.started, run.name), reverse=True)


def remove_run(name: str) -> None:
    """Delete a run folder by name.

    Raises:
        UnknownRun: there is none of that name.
    """
    path = _find(name)
    if path is None:
        raise UnknownRun(name, [run.name for run in list_runs()])
    try:
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
    except OSError as error:
        raise NotWritable(str(path), error.strerror or str(error)) from error
