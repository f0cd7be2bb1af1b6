"""Progress on stderr: bars on a terminal, a line every few seconds elsewhere, nothing where it is to be quiet."""

from __future__ import annotations

import collections
import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, TextIO, TypeVar

from wspy.cli.plain import plain
from wspy.progress import Progress, Silent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import Task, TaskID
    from rich.text import Text

T = TypeVar("T")
Clock = Callable[[], float]

WINDOW_S = 30.0
"""The estimate follows the rate of this much of the past: long enough to be steady, short enough to notice a change."""
BURSTS = 40
"""And of at least so many items, so that one burst more or less does not matter."""
LINE_EVERY_S = 5.0
_MOST_MARKS = 1000
_FEW = 10
"""Of so few items, the first alone tells the time of the rest."""


class Estimate:
    """The time left of a loop, from its rate over the last `WINDOW_S` seconds, or `BURSTS` items if that is longer.

    The rate counts from the end of the first item, which often carries the cost of starting up. Items that come in
    bursts, as when batches are gathered, look free until the work on them begins; so once nothing has come for longer
    than the rate allows, the wait counts as well.
    """

    def __init__(self, total: int | None, clock: Clock = time.monotonic) -> None:
        self.total, self.done = total, 0
        self._clock = clock
        self._start = clock()
        self._marks: collections.deque[tuple[float, int]] = collections.deque([(self._start, 0)])

    def advance(self) -> None:
        """Count one more item as done."""
        self.done += 1
        now = self._clock()
        # Marks closer than the window's thousandth would only cost memory.
        if len(self._marks) > 1 and now - self._marks[-2][0] < WINDOW_S / _MOST_MARKS:
            self._marks.pop()
        self._marks.append((now, self.done))
        if self.done > 1 and self._marks[0][1] == 0:
            self._marks.popleft()
        while len(self._marks) > 2 and self._marks[1][0] <= now - WINDOW_S and self._marks[1][1] <= self.done - BURSTS:
            self._marks.popleft()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the loop began."""
        return self._clock() - self._start

    @property
    def left_s(self) -> float | None:
        """Seconds left, counted down since the last item; None without a total, and before there is evidence."""
        if self.total is None or not self.done or (self.done == 1 and self.total > _FEW):
            return None
        (first_s, first), (last_s, last) = self._marks[0], self._marks[-1]
        now = self._clock()
        per_item_s = (last_s - first_s) / (last - first)
        waited_s = now - last_s
        if waited_s > 2 * per_item_s:
            return (self.total - last) * (now - first_s) / (last - first)
        return max(0.0, (self.total - last) * per_item_s - waited_s)


def clock_text(seconds: float | None) -> str:
    """A length of time as m:ss or h:mm:ss."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _total_of(items: Iterable[T], total: int | None) -> int | None:
    return len(items) if total is None and isinstance(items, Sized) else total


class Lines:
    """Plain lines, for logs and pipes: at the start, every `LINE_EVERY_S` seconds, and at the end."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self._stream, self._clock = stream, clock

    def track(self, items: Iterable[T], description: str, total: int | None = None, unit: str = "clips") -> Iterator[T]:
        estimate = Estimate(_total_of(items, total), self._clock)
        of = "" if estimate.total is None else f"/{estimate.total}"
        self.note(description if estimate.total is None else f"{description}: {estimate.total} {unit}")
        told_s = self._clock()
        try:
            for item in items:
                yield item
                estimate.advance()
                if self._clock() - told_s >= LINE_EVERY_S and estimate.done != estimate.total:
                    told_s = self._clock()
                    left = "" if estimate.left_s is None else f", about {clock_text(estimate.left_s)} left"
                    times = f"{clock_text(estimate.elapsed_s)} elapsed{left}"
                    self.note(f"{description}: {estimate.done}{of} {unit}, {times}")
        except GeneratorExit:
            # Whoever needs `total` items takes no more, so the last one ends here.
            estimate.advance()
            if estimate.done == estimate.total:
                self.note(f"{description}: {estimate.done}{of} {unit}, done in {clock_text(estimate.elapsed_s)}")
            raise
        self.note(f"{description}: {estimate.done}{of} {unit}, done in {clock_text(estimate.elapsed_s)}")

    def note(self, message: str) -> None:
        print(plain(message), file=self._stream, flush=True)


class TerminalBars:
    """Bars of rich, with wspy's own estimate beside them. Loops may nest; the bars leave with the outermost."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._running: list[TaskID] = []

    def track(self, items: Iterable[T], description: str, total: int | None = None, unit: str = "clips") -> Iterator[T]:
        estimate = Estimate(_total_of(items, total))
        if not self._running:
            self._bars.start()
        task = self._bars.add_task(description, total=estimate.total, estimate=estimate, unit=unit)
        self._running.append(task)
        try:
            for item in items:
                yield item
                estimate.advance()
                self._bars.advance(task)
        except GeneratorExit:  # whoever needs `total` items takes no more
            estimate.advance()
            self._bars.advance(task)
            raise
        finally:
            self._running.remove(task)
            if self._running:
                self._bars.remove_task(task)
            else:  # the finished bar stays on the screen, and the next one begins below it
                self._bars.stop()
                self._bars.remove_task(task)

    def note(self, message: str) -> None:
        self._bars.console.print(plain(message), markup=False, highlight=False)


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Times(ProgressColumn):
        """How many are done, and the times."""

        def render(self, task: Task) -> Text:
            estimate: Estimate = task.fields["estimate"]
            of = "" if estimate.total is None else f"/{estimate.total}"
            left = "" if estimate.total is None else f", {clock_text(estimate.left_s)} left"
            return Text(f"{estimate.done}{of} {task.fields['unit']}  {clock_text(estimate.elapsed_s)} elapsed{left}")

    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        Times(),
        console=Console(stderr=True, highlight=False),
        redirect_stdout=False,
    )


@contextlib.contextmanager
def shown_progress(quiet: bool) -> Iterator[Progress]:
    """The progress that suits this stderr. What the work prints meanwhile goes to stderr too."""
    stream = sys.stderr
    with contextlib.redirect_stdout(stream):
        if quiet:
            yield Silent()
        elif stream.isatty():
            yield TerminalBars(_bars())
        else:
            yield Lines(stream)
