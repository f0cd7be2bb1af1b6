"""Sparse dictionaries: train, judge, listen, exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import wspy

if TYPE_CHECKING:
    import typer

    from wspy.atlas import DerivedSite, OpenSite
    from wspy.model import ModelReference


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    from wspy_sae.feature import Sae
    from wspy_sae.judge import SaeEval
    from wspy_sae.listening import Features
    from wspy_sae.steering import Steer

    register(SaeEval)
    register(Sae)
    register(Features)
    register(Steer)


@wspy.hookimpl
def register_sites(register: Callable[[str, OpenSite], None]) -> None:
    def open_sae(name: str, reference: ModelReference) -> DerivedSite:
        from wspy_sae.site import open_sae  # imports torch: only when a dictionary is asked for

        return open_sae(name, reference)

    register("sae", open_sae)


@wspy.hookimpl
def register_commands(app: typer.Typer) -> None:
    from wspy_sae.commands import add_commands

    add_commands(app)
