"""The page "Write a plugin" can be followed to the letter, and shows every hook, input type and block."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import wspy
import wspy.figures
from wspy import fields, hookspecs
from wspy.analysis import check_analysis_class
from wspy.audio import log_mel
from wspy.cli.new_plugin import write_plugin
from wspy.fields import input_fields
from wspy.testing import check_analysis, tone

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "plugins.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def block(word: str) -> str:
    (found,) = (text for text in BLOCKS if word in text)
    return found


@pytest.fixture(autouse=True)
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example as if it were installed."""
    monkeypatch.syspath_prepend(str(DOCS / "examples" / "wspy-hello"))
    yield
    sys.modules.pop("wspy_hello", None)


def run(text: str, folder: Path, name: str = "block_of_the_page") -> ModuleType:
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        sys.modules.pop(name, None)
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def test_the_change_of_the_page_works_in_a_new_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_plugin("loudest", tmp_path)
    path = folder / "wspy_loudest.py"
    lines = path.read_text(encoding="utf-8").splitlines()
    (needed,) = (at for at, line in enumerate(lines) if line.strip().startswith("site, clips ="))
    changed = block("inputs.part ==").splitlines()
    lines[needed : needed + 1] = ["        " + line for line in changed]
    (top,) = (at for at, line in enumerate(lines) if line.strip().startswith("top: Count"))
    lines.insert(top + 1, "        " + block("part: Literal").strip())
    (imports,) = (at for at, line in enumerate(lines) if line.startswith("from typing import"))
    lines.insert(imports, "from typing import Literal")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    module = importlib.import_module("wspy_loudest")
    checked = check_analysis(module.Loudest, {"part": "mlp", "clips": 2}, folder=tmp_path)
    assert checked.result.site == "encoder.blocks.0.mlp"  # type: ignore[attr-defined]
    assert "--part mlp" in checked.record.provenance.command
    del sys.modules["wspy_loudest"]


def test_the_files_of_a_new_plugin_are_those_that_are_listed(tmp_path: Path) -> None:
    folder = write_plugin("loudest", tmp_path)
    listed = PAGE.partition("wspy-loudest/\n")[2].partition("```")[0]
    named = set(re.findall(r"(?:^|\s)([\w/]*(?:\.\w+|LICENSE))(?=\s)", listed))
    assert named == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_input_type_is_shown_and_taken(tmp_path: Path) -> None:
    shown = input_fields(run(block("class Everything"), tmp_path).Everything)
    vocabulary = {
        name: value
        for name, value in vars(fields).items()
        if typing.get_origin(value) is typing.Annotated and not name.startswith("_")
    }
    roles = {
        next(mark.name for mark in typing.get_args(kind) if isinstance(mark, fields.Role))
        for kind in vocabulary.values()
    }
    assert {field.role for field in shown} >= roles
    assert {field.kind for field in shown} == set(typing.get_args(fields.Kind))
    listed = re.search(r"members: \[(.*?)\]", PAGE.partition("::: wspy.fields")[2])
    assert listed and set(listed[1].split(", ")) == set(vocabulary)


def test_every_block_and_figure_is_shown_and_drawn(tmp_path: Path) -> None:
    from wspy.html import render_blocks

    made = run(block("def everything("), tmp_path).everything(log_mel(tone()), "a.wav")
    assert {item.kind for item in made} == {"text", "table", "figure", "audio"}
    used = set(re.findall(r"\b(\w+)\(", block("def everything(")))
    drawing = {name for name in wspy.figures.__all__ if inspect.isfunction(getattr(wspy.figures, name))}
    assert drawing - used <= {"mel_band", "plain", "typed"}  # the tools of those who write figures by hand
    assert "<audio" in render_blocks(made, media=str)


def test_the_other_analyses_of_the_page_are_taken(tmp_path: Path) -> None:
    registered: list[type[wspy.AnyAnalysis]] = []
    module = run(block("class Backwards"), tmp_path, "backwards_of_the_page")
    module.register_analyses(registered.append)
    for analysis in registered:
        check_analysis_class(analysis)
    folder = tmp_path / "check"
    folder.mkdir()
    sys.path.insert(0, str(tmp_path))  # its module is imported in a process of its own, too
    try:
        checked = check_analysis(module.Backwards, {"clips": 2}, folder=folder)
    finally:
        sys.path.remove(str(tmp_path))
    (table,) = (item for item in checked.blocks() if item.kind == "table")
    strengths = [row[1] for row in table.rows]
    assert strengths == sorted(strengths)


def test_the_layout_of_the_page_arranges_a_form(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from wspy.web import Settings, Studio, build_app

    assert build_app(Studio(Settings()), {"hello": run(block("class Arranged"), tmp_path).Arranged})


@pytest.mark.parametrize("name", [n for n, v in vars(hookspecs).items() if hasattr(v, "wspy_spec")])
def test_every_hook_is_shown_with_its_exact_arguments(name: str) -> None:
    hook = getattr(hookspecs, name)
    shown = re.findall(rf"^def {name}\((.*?)\)", PAGE, re.MULTILINE)
    assert shown, f"docs/plugins.md has no example of {name}"
    for arguments in shown:
        assert re.findall(r"(\w+):", re.sub(r"\[.*?\](?=[,)]|$)", "", arguments)) == list(
            inspect.signature(hook).parameters
        )
    assert (inspect.getdoc(hook) or "").count("\n") == 0
