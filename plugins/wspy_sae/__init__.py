"""Sparse dictionaries: train, judge, listen, exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import wspy

if TYPE_CHECKING:
    import typer

    from wspy.atlas import OpenSite


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    from wspy_sae.judge import SaeEval

    register(SaeEval)


@wspy.hookimpl
def register_sites(register: Callable[[str, OpenSite], None]) -> None:
    from wspy_sae.site import SCHEME, open_sae

    register(SCHEME, open_sae)


@wspy.hookimpl
def register_commands(app: typer.Typer) -> None:
    from wspy_sae.commands import add_commands

    add_commands(app)
