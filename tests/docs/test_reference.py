"""The reference is complete: every error, every site, every command."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from wspy import errors
from wspy.errors import AudioError, InputError, WspyError
from wspy.model import list_sites
from wspy.model.catalogue import PUBLISHED

REPOSITORY = Path(__file__).resolve().parents[2]
REFERENCE = REPOSITORY / "docs" / "reference"
NEVER_RAISED = {WspyError, InputError, AudioError}  # what others are kinds of


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_pages", REPOSITORY / "docs" / "gen" / "pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def error_classes() -> Iterator[type[WspyError]]:
    """Those of `wspy.errors`, and those that bundled plugins and the rest of wspy define."""
    for root, folder in ((REPOSITORY, "wspy"), (REPOSITORY / "plugins", ".")):
        for path in sorted((root / folder).rglob("*.py")):
            if not re.search(r"class \w+\(.*(?:Error|Atlas)\)", path.read_text(encoding="utf-8")):
                continue
            module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            for value in vars(importlib.import_module(module)).values():
                own = inspect.isclass(value) and issubclass(value, WspyError) and value.__module__ == module
                if own and value not in NEVER_RAISED:
                    yield value


ERRORS = {kind.__name__: kind for kind in error_classes()}
SECTIONS = dict(
    re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", (REFERENCE / "errors.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
)


def test_the_errors_are_those_of_the_code() -> None:
    assert len([kind for kind in ERRORS.values() if kind.__module__ == errors.__name__]) > 60
    undocumented, gone = set(ERRORS) - set(SECTIONS), set(SECTIONS) - set(ERRORS)
    assert not undocumented, "docs/reference/errors.md needs a section for each: symptom, cause, remedy"
    assert not gone


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_section_has_symptom_cause_and_remedy(name: str, pages: ModuleType) -> None:
    (mark,) = re.findall(r"<!-- generated: error ([\w.]+).*-->", SECTIONS[name])
    kind = pages.error_class(mark)
    assert kind is ERRORS[name]
    shown = pages.on_page_markdown(SECTIONS[name])
    symptom, cause, remedy = re.match(
        r"\s*\*\*Symptom\.\*\* (.*)\n\n\*\*Cause\.\*\* (.*)\n\n\*\*Remedy\.\*\* (.*)", shown, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    assert f"Exit code {kind.exit_code}" in symptom
    assert len(symptom.split("```")[1]) > 30
    assert cause == " ".join((inspect.getdoc(kind) or "").split()) and cause.endswith(".")
    assert len(remedy.split()) >= 6


@pytest.mark.parametrize("model", ["tiny.en", "base"])
def test_the_sites_of_a_model_are_all_there(model: str, pages: ModuleType) -> None:
    shown = pages.sites(model)
    listed = set(re.findall(r"^\| `(.*?)` \|", shown, re.MULTILINE))
    dims = PUBLISHED[model].dims
    assert {re.sub(r"blocks\.\d+", "blocks.N", site.name) for site in list_sites(dims)} == listed
    for layers in (dims.n_audio_layer, dims.n_text_layer):
        assert f"from 0 to {layers - 1}" in shown
    page = (REFERENCE / "sites.md").read_text("utf-8")
    assert f"<!-- generated: sites {model} -->" in page and "<!-- generated: sizes -->" in page
    axes = {
        axis.strip("` ") for axis in re.findall(r"^\| ([\w, ]+) \|", page, re.MULTILINE) for axis in axis.split(",")
    }
    used = {axis for site in list_sites(dims) for axis in site.shape.replace("2*", "").split()}
    assert used <= axes


def test_the_sizes_are_those_of_all_published_models(pages: ModuleType) -> None:
    rows = {row.split(" | ")[0].strip("| "): row for row in pages.sizes().splitlines()[2:]}
    assert set(rows) == set(PUBLISHED)
    assert "| 384 | 1536 | 6 | 64 | 4 | 4 | 51,864 |" in rows["tiny.en"]
    assert "| 32 | 4 | 51,866 |" in rows["turbo"]


def test_every_command_is_in_the_reference(pages: ModuleType) -> None:
    from typer.main import get_command

    from wspy.cli import build_app

    shown = pages.on_page_markdown((REFERENCE / "cli.md").read_text("utf-8"))
    headings = set(re.findall(r"^## wspy(.*)$", shown, re.MULTILINE))
    found: set[str] = set()

    def walk(command: object, path: str) -> None:
        found.add(path)
        for name, inner in getattr(command, "commands", {}).items():
            if not inner.hidden:
                walk(inner, f"{path} {name}")

    walk(get_command(build_app([])), "")
    walk(get_command(build_app(["analyze"])), "")
    assert found <= headings, "docs/reference/cli.md lacks a command"
    assert {" analyze neuron", " corpus make", " doctor", " new-plugin", " sae train"} <= found


def test_every_public_name_is_in_the_reference(pages: ModuleType) -> None:
    import wspy

    shown = pages.public()
    assert all(f"heading: wspy.{name}\n" in shown + "\n" for name in wspy.__all__ if not name.startswith("__"))
