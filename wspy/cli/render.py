"""Blocks and JSON on the terminal."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wspy.blocks import Audio, Block, Cell, Column, Figure, Table, Text
from wspy.cli.plain import plain

if TYPE_CHECKING:
    from rich.console import Console

UNBOUNDED = 100_000
"""The width of a page that nobody looks at: pipes and files get whole lines."""
_WRAPPED_COLUMN = 12
_SOUNDS_SHOWN = 5


def print_json(value: object) -> None:
    """One JSON document on stdout: dataclasses, models and paths as plain values, NaN and infinity as strings."""
    from pydantic_core import to_jsonable_python

    plain = to_jsonable_python(value, inf_nan_mode="strings", fallback=str)
    sys.stdout.write(json.dumps(_strict(plain), indent=1) + "\n")


def _strict(value: object) -> object:
    """The same value with NaN and infinity, which JSON lacks, as the strings that result.json has for them."""
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    return [_strict(item) for item in value] if isinstance(value, list) else value


def stdout_console(width: int | None = None) -> Console:
    """A console for results: as wide as the terminal, unbounded where there is none, coloured on a terminal alone."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(
        file=sys.stdout,
        width=width or (None if terminal else UNBOUNDED),
        force_terminal=terminal,
        markup=False,
        highlight=False,
        emoji=False,
    )


def print_blocks(blocks: Sequence[Block], folder: Path | None = None, console: Console | None = None) -> None:
    """Show blocks in order, neighbouring sounds as one list. `folder` is the run folder that audio lies in."""
    console = console or stdout_console()
    for sounds, group in itertools.groupby(blocks, lambda block: isinstance(block, Audio)):
        if sounds:
            _print_sounds([block for block in group if isinstance(block, Audio)], folder, console)
            console.print()
            continue
        for block in group:
            match block:
                case Text():
                    _print_text(block, console)
                case Table():
                    _print_table(block, console)
                case Figure():
                    console.print(f"Figure: {plain(block.title)} (in the report)")
            console.print()


def _print_sounds(sounds: Sequence[Audio], folder: Path | None, console: Console) -> None:
    """The first few sounds with their files. What comes below a sound in the report is left to it."""
    leading = [sound for sound in sounds if sound.figure is not None] or sounds
    shown = leading[:_SOUNDS_SHOWN]
    for sound in shown:
        path = str(folder / sound.path if folder else sound.path)
        console.print(f"{plain(path)}  {plain(sound.title)}", soft_wrap=True)
    if len(sounds) > len(shown):
        console.print(f"and {len(sounds) - len(shown)} more sounds beside them; the report plays all.")


def print_rows(title: str, columns: Sequence[str | Column], rows: Sequence[Sequence[Cell]], none: str) -> None:
    """A list of things on stdout, or the line that says there are none."""
    if not rows:
        print(none)
        return
    named = tuple(Column(name=column) if isinstance(column, str) else column for column in columns)
    print_blocks([Table(title=title, columns=named, rows=tuple(tuple(row) for row in rows))])


def cell_text(value: Cell, column: Column) -> str:
    """A cell as it is read: a fraction with the column's digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{column.decimals}f}"
    return plain(str(value))


def _print_text(block: Text, console: Console) -> None:
    if not console.is_terminal:  # Markdown is made to be read as it is
        console.print(plain(block.markdown))
        return
    from markdown_it import MarkdownIt
    from rich.markdown import Markdown

    page = Markdown("")
    page.parsed = (
        MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).parse(plain(block.markdown))
    )
    console.print(page)


def _print_table(block: Table, console: Console) -> None:
    heads = [plain(f"{column.name} ({column.unit})" if column.unit else column.name) for column in block.columns]
    numeric = [_is_numeric(row[at] for row in block.rows) for at in range(len(heads))]
    rows = [[cell_text(value, column) for value, column in zip(row, block.columns, strict=True)] for row in block.rows]
    if _least_width(heads, rows, numeric) <= console.width:
        _print_grid(plain(block.title), heads, rows, numeric, console)
    else:
        _print_records(plain(block.title), heads, rows, console)


def _is_numeric(values: object) -> bool:
    assert hasattr(values, "__iter__")
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present)


def _least_width(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> int:
    """The narrowest page on which no number is broken and text columns still hold a word or two."""
    from rich.cells import cell_len

    width = 3 * len(heads) + 1
    for at, head in enumerate(heads):
        widest = max(cell_len(cell) for cell in [head, *(row[at] for row in rows)])
        width += widest if numeric[at] else min(widest, _WRAPPED_COLUMN)
    return width


def _print_grid(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool], console: Console
) -> None:
    console.print(title, style="bold")
    if not console.is_terminal:
        console.file.writelines(_lines(heads, rows, numeric))
        return
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text as Plain

    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False)
    for head, number in zip(heads, numeric, strict=True):
        least = None if number else min(_WRAPPED_COLUMN, len(head))
        grid.add_column(
            Plain(head), justify="right" if number else "left", no_wrap=number, overflow="fold", min_width=least
        )
    for row in rows:
        grid.add_row(*(Plain(cell) for cell in row))
    console.print(grid)


def _lines(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> Iterator[str]:
    """A table for pipes and files, one line to a row, in the form that Markdown has too."""
    from rich.cells import cell_len

    lines = [[" ".join(cell.split()) for cell in row] for row in [heads, *rows]]
    widths = [max(3, *(cell_len(line[at]) for line in lines)) for at in range(len(heads))]

    def padded(at: int, cell: str) -> str:
        space = " " * (widths[at] - cell_len(cell))
        return space + cell if numeric[at] else cell + space

    for number, line in enumerate(lines):
        yield "| " + " | ".join(padded(at, cell) for at, cell in enumerate(line)) + " |\n"
        if number == 0:
            rules = ("-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True))
            yield "| " + " | ".join(rules) + " |\n"


def _print_records(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """A table for a page too narrow for it: each row as lines of heading and value."""
    console.print(title, style="bold")
    for number, row in enumerate(rows, 1):
        console.print(f"{number}.", style="bold")
        for head, cell in zip(heads, row, strict=True):
            console.print(f"  {head}: {cell}")
