"""How long work tells the person who waits for it: one small protocol, implemented by each front end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Shows how far a loop is and how long it has left."""

    def track(self, items: Iterable[T], description: str, total: int | None = None, unit: str = "clips") -> Iterator[T]:
        """Yield `items`, showing the share done and the time left; `total` where `items` has no length."""
        ...

    def note(self, message: str) -> None:
        """Say one line, for instance what was skipped and why."""
        ...


class Silent:
    """Shows nothing: the default in Python."""

    def track(self, items: Iterable[T], description: str, total: int | None = None, unit: str = "clips") -> Iterator[T]:
        yield from items

    def note(self, message: str) -> None:
        return
