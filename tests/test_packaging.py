"""What is installed is what the repository says."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent
EXTRAS = ("offline", "base", "hub", "words", "dev", "docs")


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in pinned)
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in pinned)}


def test_every_plugin_folder_is_an_installed_entry_point() -> None:
    folders = {path.parent.name for path in (REPOSITORY / "plugins").glob("*/__init__.py")}
    points = importlib.metadata.distribution("wspy").entry_points.select(group="wspy")
    installed = {point.module for point in points}
    assert folders == installed, "a plugin was added or removed since wspy was installed: run `make test` again"


def test_constraints_pin_every_package_that_wspy_brings(pins: dict[str, str]) -> None:
    missing, seen = set(), set()
    todo = [Requirement(f"wspy[{','.join(EXTRAS)}]")]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        if name not in pins and name != "wspy":
            missing.add(name)
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        for need in map(Requirement, needs):
            extras = requirement.extras or {""}
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(need)
    assert not missing


def test_no_requirement_is_named_twice() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for needs in (project["dependencies"], *project["optional-dependencies"].values()):
        names = [canonicalize_name(Requirement(need).name) for need in needs]
        assert len(names) == len(set(names))


def test_pins_fit_the_ranges(pins: dict[str, str]) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = [*project["dependencies"], *(need for extra in EXTRAS for need in project["optional-dependencies"][extra])]
    for requirement in map(Requirement, ranges):
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier
