"""What must be true of every hook, every public name, every plugin and every page, whoever adds the next one."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import wspy
from wspy import hookspecs
from wspy.plugins import load_plugins

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
NAVIGATION = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
TESTS = {
    path: path.read_text(encoding="utf-8")
    for path in (REPOSITORY / "tests").rglob("test_*.py")
    if path != Path(__file__).resolve()
}
HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "wspy_spec")]
PLUGINS = sorted(path.parent for path in (REPOSITORY / "plugins").glob("*/__init__.py"))
PACKAGES = (
    *("wspy", "wspy.atlas", "wspy.audio", "wspy.blocks", "wspy.corpus", "wspy.fields", "wspy.figures", "wspy.html"),
    *(
        "wspy.model",
        "wspy.report",
        "wspy.runs",
        "wspy.terminal",
        "wspy.testing",
        "wspy.units",
        "wspy.web",
        "wspy.words",
    ),
)
"""Where names are that plugins and notebooks may use."""


# --- hooks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_exact_arguments(hook: str) -> None:
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    wanted = list(inspect.signature(getattr(hookspecs, hook)).parameters)
    shown = re.findall(rf"^def {hook}\((.*)\) -> None:", page, re.MULTILINE)
    assert shown, f"docs/plugins.md shows no {hook}"
    assert all(re.findall(r"(?:^|, )(\w+):", arguments) == wanted for arguments in shown)
    assert "::: wspy.hookspecs" in page  # the signatures with their types are generated there
    for argument in wanted:
        assert f"{argument}" in (inspect.getdoc(getattr(hookspecs, hook)) or "") or argument == "app"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_tested_in_a_plugin_that_is_loaded(hook: str) -> None:
    loaded = "run_cli(", "make_plugin"
    tests = [path for path, text in TESTS.items() if f"def {hook}(" in text and all(word in text for word in loaded)]
    assert tests, f"no test installs a plugin with {hook} and lets the command line load it"


# --- public names -----------------------------------------------------------------------------------------


WRAPPED = ("__func__", "fget", "func")
"""Where class methods, properties and cached properties keep their function."""


def public() -> Iterator[tuple[str, object]]:
    """Every public function, class, and method or property of one, by its dotted name."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        own = [n for n, v in vars(module).items() if n[0] != "_" and getattr(v, "__module__", None) == package]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            if not str(getattr(value, "__module__", "")).startswith("wspy"):
                continue
            if inspect.isfunction(value) or inspect.isclass(value):
                yield f"{package}.{name}", value
            for inner, member in vars(value).items() if inspect.isclass(value) else ():
                function = next((getattr(member, kind) for kind in WRAPPED if hasattr(member, kind)), member)
                if inspect.isfunction(function) and (inner[0] != "_" or inner == "__init__"):
                    yield f"{package}.{name}.{inner}", function


PUBLIC = dict(public())


def test_there_are_public_names() -> None:
    assert len(PUBLIC) > 300
    assert {"wspy.capture", "wspy.Corpus.audio", "wspy.audio.log_mel", "wspy.testing.check_analysis"} <= set(PUBLIC)


def test_every_public_name_has_a_docstring() -> None:
    silent = [name for name, value in PUBLIC.items() if not value.__doc__ and not name.endswith(".__init__")]
    assert not silent


def test_every_tensor_that_crosses_a_public_name_says_its_shape() -> None:
    """As `Float[Tensor, "batch frame"]`; many at once (`Mapping[str, Tensor]`) in the docstring."""
    bare = []
    for name, value in PUBLIC.items():
        for argument, annotation in getattr(value, "__annotations__", {}).items():
            text = re.sub(r"\w+\[(?:\w+\.)*(?:Tensor|ndarray), *[\"'][^\"']*[\"']\]", "", str(annotation))
            if not re.search(r"\b(Tensor|ndarray)\b", text):
                continue
            told = re.search(r"\b(shape|batch|array|unit|samples|tensor)", value.__doc__ or "")
            many = re.search(r"(Mapping|dict|Callable)\[", text)
            if not (many and (told or name.endswith("__init__"))):
                bare.append(f"{name}: {argument}: {annotation}")
    assert not bare


def test_every_length_of_time_says_its_unit() -> None:
    """A number of seconds, samples or frames has it in its name, or in the docstring."""
    silent = []
    for name, value in PUBLIC.items():
        for argument, annotation in getattr(value, "__annotations__", {}).items():
            timed = re.match(r"(start|end|stop|duration|length|time|at|rate|period|lag|window|hop)s?$", argument)
            if timed and re.fullmatch(r"(int|float)( \| None)?", str(annotation)):
                whole = PUBLIC[name.removesuffix(".__init__")]
                said = f"{inspect.getdoc(value)} {inspect.getdoc(whole)} {_beside(argument, whole)}"
                if not re.search(r"second|frame|sample|token|Hz|axis|steps?|lines?|character", said, re.IGNORECASE):
                    silent.append(f"{name}: {argument}")
    assert not silent


def _beside(field: str, whole: object) -> str:
    """The docstring under a field of a class."""
    source = inspect.getsource(whole) if inspect.isclass(whole) else ""
    found = re.search(rf'^    {field}: [^\n]*\n    """(.*?)"""', source, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


# --- bundled plugins --------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_every_bundled_plugin_has_entry_point_contract_and_tests(folder: Path) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["wspy"]
    assert folder.name in points.values()
    contract = project["tool"]["importlinter"]
    assert folder.name in contract["root_packages"]
    assert folder.name in contract["contracts"][-1]["source_modules"]
    assert any(re.search(rf"\b{folder.name}\b", text) for path, text in TESTS.items() if path.parent.name == "plugins")
    opening = inspect.getdoc(importlib.import_module(folder.name)) or ""
    assert len(opening) > 30


@pytest.mark.parametrize("name", sorted(load_plugins().analyses))
def test_every_analysis_has_a_page_that_is_found_and_a_test(name: str) -> None:
    page = DOCS / "analyses" / f"{name}.md"
    assert page.is_file(), f"{name} has no page"
    assert f"{name}: analyses/{name}.md" in NAVIGATION, "mkdocs.yml lacks the page"
    text = page.read_text(encoding="utf-8")
    assert f"wspy analyze {name}" in text, "the page lacks a command line"
    assert f'wspy.analyze("{name}"' in text, "the page lacks the same in Python"
    assert f"<!-- generated: inputs {name} -->" in text, "the page lacks the table of inputs"
    assert any(re.search(rf"[\"']{name}[\"']|\b{type_name(name)}\b", text) for text in TESTS.values()), "no test"


def type_name(name: str) -> str:
    return type(load_plugins().analysis(name)).__name__


def test_every_command_of_a_bundled_plugin_is_tried_in_a_test_and_said_on_a_page() -> None:
    import typer
    from typer.main import get_command

    app = typer.Typer(callback=lambda: None)
    load_plugins().add_commands(app)
    pages = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    for group, command in getattr(get_command(app), "commands", {}).items():
        for inner in getattr(command, "commands", {}) or [""]:
            words = f"{group} {inner}".strip()
            assert f"wspy {words}" in pages, f"no page shows wspy {words}"
            tried = [text for text in TESTS.values() if all(f'"{word}"' in text for word in words.split())]
            assert tried, f"no test runs wspy {words}"


# --- pages and habits -------------------------------------------------------------------------------------


def test_no_block_of_a_page_is_out_of_sight_of_the_tests() -> None:
    """tests/docs/test_pages.py checks every block of these; tests/docs/test_notebooks.py runs the notebooks."""
    spec = importlib.util.spec_from_file_location("policed_pages", REPOSITORY / "tests" / "docs" / "test_pages.py")
    assert spec is not None and spec.loader is not None
    import sys

    sys.modules["policed_pages"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seen = set(module.PAGES)
    written = {path for path in REPOSITORY.rglob("*.md") if not _unseen(path)}
    exempt = {"CHANGELOG.md"}  # it shows no blocks
    assert {path.relative_to(REPOSITORY).as_posix() for path in written - seen} <= exempt
    assert "```" not in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    notebooks = TESTS[REPOSITORY / "tests" / "docs" / "test_notebooks.py"]
    assert all(f'"{path.stem}"' in notebooks for path in DOCS.rglob("*.ipynb"))


def _unseen(path: Path) -> bool:
    parts = path.relative_to(REPOSITORY).parts
    return parts[0][0] == "." or parts[0] in ("build", "dist", "node_modules") or parts[:2] == ("docs", "gen")


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == wspy.__version__
    assert cited["cff-version"] == "1.2.0" and cited["title"] and cited["authors"] and cited["license"] == "MIT"
    assert f"## {wspy.__version__}" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_hook_before_a_commit_is_a_program_that_is_here() -> None:
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in config["repos"]} == {"local"}  # nothing is fetched
    for hook in hooks:
        assert hook["language"] == "system" and hook["entry"].startswith(".venv/bin/")
    assert {"ruff-check", "ruff-format", "mypy", "import-linter"} <= {hook["id"] for hook in hooks}


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.stem
)
def test_an_issue_template_is_one_that_github_shows(path: Path) -> None:
    template = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert set(template) <= {"blank_issues_enabled", "contact_links"}
        return
    assert template["name"] and template["description"]
    ids = [field["id"] for field in template["body"] if field["type"] != "markdown"]
    assert len(ids) == len(set(ids)) > 0
    for field in template["body"]:
        assert field["type"] in ("markdown", "input", "textarea", "dropdown", "checkboxes")
        assert field["attributes"].get("label") or field["type"] == "markdown"


def test_a_bug_report_asks_for_what_the_doctor_says() -> None:
    assert "wspy doctor" in (REPOSITORY / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")
