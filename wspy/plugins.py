"""Finding plugins, and keeping each one's trouble to itself.

A plugin is a module behind an entry point of the group `wspy`. Each is loaded by itself, with a hook caller of its
own, so that one that fails at import, misspells a hook, registers a name twice or was written for a later API costs one
line and stops nothing else. `WSPY_PLUGINS=a,b` (or empty) selects plugins by entry-point name, bundled ones included.

Importing this module imports neither pydantic nor any plugin, so that `wspy --help` is quick.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pluggy

from wspy import hookspecs
from wspy.errors import UnknownAnalysis

if TYPE_CHECKING:
    import typer

    from wspy.analysis import AnyAnalysis
    from wspy.atlas import OpenSite
    from wspy.corpus import Source

GROUP = "wspy"
OWN_SOURCES = ("demo", "hf")
"""The schemes that wspy itself knows, named here so that finding a clash with them imports nothing."""
_LONGEST_PROBLEM = 300


@dataclass
class Plugin:
    """One installed plugin and what became of it."""

    name: str
    distribution: str
    version: str
    status: Literal["loaded", "failed", "off"] = "off"
    problems: list[str] = field(default_factory=list)
    analyses: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    sites: list[str] = field(default_factory=list)
    manager: pluggy.PluginManager | None = None


@dataclass
class Plugins:
    """All installed plugins and everything they registered."""

    plugins: list[Plugin] = field(default_factory=list)
    analyses: dict[str, type[AnyAnalysis]] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    sites: dict[str, OpenSite] = field(default_factory=dict)
    """What computes units, by scheme."""
    owners: dict[str, Plugin] = field(default_factory=dict)

    def analysis(self, name: str) -> AnyAnalysis:
        """A fresh instance of the analysis of that name.

        Raises:
            UnknownAnalysis: no plugin registered it.
        """
        if name not in self.analyses:
            raise UnknownAnalysis(name, self.analyses)
        return self.analyses[name]()

    def owner(self, analysis: str) -> Plugin:
        """The plugin that registered an analysis."""
        return self.owners[f"analysis {analysis!r}"]

    def add_commands(self, app: typer.Typer) -> None:
        """Let every plugin add its own commands to the command line."""
        for plugin in self.plugins:
            if plugin.manager is not None:
                before = len(plugin.problems)
                _guarded(plugin, "adding commands", functools.partial(plugin.manager.hook.register_commands, app=app))
                _tell(plugin, before)


def _selected() -> set[str] | None:
    """Entry-point names that `WSPY_PLUGINS` allows; None where it is not set."""
    value = os.environ.get("WSPY_PLUGINS")
    return None if value is None else {name.strip() for name in value.split(",") if name.strip()}


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    """Entry points of the group, bundled ones first, then by distribution, so that a clash always ends the same way."""

    def order(point: importlib.metadata.EntryPoint) -> tuple[bool, str, str]:
        distribution = _distribution(point)[0]
        return distribution != "wspy", distribution, point.name

    return sorted(importlib.metadata.entry_points(group=GROUP), key=order)


def _distribution(point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of the package that a plugin came with; damaged metadata has neither."""
    metadata = point.dist.metadata if point.dist else None
    name, version = (metadata["Name"], metadata["Version"]) if metadata else (None, None)
    return name or "unknown distribution", version or ""


def _tell(plugin: Plugin, since: int = 0) -> None:
    """One line on stderr for all that is wrong with a plugin."""
    if plugin.problems[since:]:
        origin = f"{plugin.distribution} {plugin.version}".strip()
        print(f"wspy: plugin {plugin.name!r} of {origin}: {'; '.join(plugin.problems[since:])}", file=sys.stderr)


def _guarded(plugin: Plugin, what: str, call: Callable[[], object]) -> bool:
    """Run one call into a plugin; an exception of any kind becomes a problem of the plugin. True when it went well.

    What a plugin prints goes to stderr: stdout holds results alone.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            call()
    except (Exception, SystemExit) as error:
        message = " ".join(str(error).split())[:_LONGEST_PROBLEM]
        plugin.problems.append(f"{what} failed with {type(error).__name__}{': ' if message else ''}{message}")
        return False
    return True


def load_plugins(with_commands_only: bool = False) -> Plugins:
    """Load every selected plugin, once per process and value of `WSPY_PLUGINS`.

    Args:
        with_commands_only: Leave the others unloaded, for help texts that name no analysis.
    """
    return _load(os.environ.get("WSPY_PLUGINS"), with_commands_only)


def _may_add_commands(point: importlib.metadata.EntryPoint) -> bool:
    """Whether a plugin could implement `register_commands`, told from its source text, without importing it."""
    try:
        if "." in point.module or point.attr:  # finding these would import them
            return True
        spec = importlib.util.find_spec(point.module)
        source = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    except (ImportError, OSError, ValueError):
        return True  # loading says what is wrong with it
    return "register_commands" in source or "import *" in source


@functools.cache
def _load(selection: str | None, with_commands_only: bool) -> Plugins:
    found = Plugins()
    selected = _selected()
    for point in _entry_points():
        plugin = Plugin(point.name, *_distribution(point))
        found.plugins.append(plugin)
        if selected is not None and point.name not in selected:
            continue
        if not with_commands_only or _may_add_commands(point):
            _load_one(plugin, point, found, with_commands_only)
            plugin.status = "failed" if plugin.problems else "loaded"
            _tell(plugin)
    for name in sorted((selected or set()) - {plugin.name for plugin in found.plugins}):
        print(f"wspy: WSPY_PLUGINS names {name!r}, but no such plugin is installed.", file=sys.stderr)
    return found


def _load_one(
    plugin: Plugin, point: importlib.metadata.EntryPoint, found: Plugins, commands_only: bool = False
) -> None:
    """Load one plugin; for its commands alone, its analyses are not registered, since that imports them."""
    staged_analyses: list[type[AnyAnalysis]] = []
    staged_sources: list[tuple[str, Source]] = []
    staged_sites: list[tuple[str, OpenSite]] = []

    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)

    def load() -> None:
        module = point.load()
        manager.register(module, name=plugin.name)
        manager.check_pending()
        if not manager.get_hookcallers(module):
            raise TypeError("it implements no hook: mark its functions with @wspy.hookimpl")

    def register() -> None:
        manager.hook.register_analyses(register=staged_analyses.append)
        manager.hook.register_corpora(register=lambda scheme, source: staged_sources.append((scheme, source)))
        manager.hook.register_sites(register=lambda scheme, open_site: staged_sites.append((scheme, open_site)))

    if not _guarded(plugin, "loading", load):
        return
    if not commands_only and not _guarded(plugin, "registering", register):
        return
    plugin.manager = manager
    for analysis in staged_analyses:
        _add_analysis(plugin, analysis, found)
    for scheme, source in staged_sources:
        if scheme in OWN_SOURCES:
            plugin.problems.append(f"corpus source {scheme!r} is wspy's own")
        elif _claim(plugin, f"corpus source {scheme!r}", found):
            found.sources[scheme] = source
            plugin.sources.append(scheme)
    for scheme, open_site in staged_sites:
        _add_sites(plugin, scheme, open_site, found)


def _add_sites(plugin: Plugin, scheme: str, open_site: OpenSite, found: Plugins) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", scheme):  # it becomes part of a folder's name
        plugin.problems.append(f"sites {scheme!r} must be lower-case letters, digits and dashes")
    elif _claim(plugin, f"sites {scheme!r}", found):
        found.sites[scheme] = open_site
        plugin.sites.append(scheme)


def _add_analysis(plugin: Plugin, analysis: type[AnyAnalysis], found: Plugins) -> None:
    from wspy.analysis import check_analysis_class

    if not _guarded(plugin, "an analysis", functools.partial(check_analysis_class, analysis)):
        return
    if _claim(plugin, f"analysis {analysis.name!r}", found):
        found.analyses[analysis.name] = analysis
        plugin.analyses.append(analysis.name)


def _claim(plugin: Plugin, what: str, found: Plugins) -> bool:
    """Take a name for a plugin, or say whose it is."""
    if what not in found.owners:
        found.owners[what] = plugin
        return True
    first = found.owners[what]
    plugin.problems.append(f"{what} is already registered by plugin {first.name!r} of {first.distribution}")
    return False
