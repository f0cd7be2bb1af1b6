"""The hooks that a plugin may implement: this is the whole extension surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable

    import typer

    from wspy.analysis import AnyAnalysis
    from wspy.atlas import OpenSite
    from wspy.corpus import Source

hookspec = pluggy.HookspecMarker("wspy")
hookimpl = pluggy.HookimplMarker("wspy")


@hookspec
def register_analyses(register: Callable[[type[AnyAnalysis]], None]) -> None:
    """Call `register(MyAnalysis)` once for each analysis."""


@hookspec
def register_corpora(register: Callable[[str, Source], None]) -> None:
    """Call `register("scheme", source)` for each source that `wspy corpus make --from scheme:...` should know."""


@hookspec
def register_sites(register: Callable[[str, OpenSite], None]) -> None:
    """Call `register("scheme", open_site)` for each kind of computed units that are named `scheme:...` as a site."""


@hookspec
def register_commands(app: typer.Typer) -> None:
    """Add commands of your own to the `wspy` command line."""
