"""What can be wrong with a dictionary that comes from another library, or goes there."""

from __future__ import annotations

from pathlib import Path

import wspy
from wspy.errors import known_names


class UnknownLayout(wspy.InputError):
    """A folder that holds no dictionary of a known layout."""

    def __init__(self, folder: Path, layouts: str) -> None:
        super().__init__(f"{folder} holds no dictionary that wspy knows: {layouts}.")


class NotSaid(wspy.InputError):
    """Something that the folder does not say, and the command did not either."""

    def __init__(self, folder: Path, what: str, option: str) -> None:
        super().__init__(f"{folder} does not say {what} the dictionary is of: give {option}.")


class CannotExport(wspy.InputError):
    """A dictionary that the other library cannot compute."""

    def __init__(self, layout: str, why: str, instead: str) -> None:
        super().__init__(f"{layout} cannot compute this dictionary: {why}. Export it with --format {instead}.")


class NotEmpty(wspy.InputError):
    """A folder to write into that holds something."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} is there and not empty: give a new folder.")


class UnknownFormat(wspy.InputError):
    """A layout that wspy does not write."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"There is no layout {name!r}.{known_names(name, known)}")
