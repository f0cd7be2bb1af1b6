"""To be written."""

from __future__ import annotations

from collections.abc import Callable

import wspy


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    """Nothing yet."""
