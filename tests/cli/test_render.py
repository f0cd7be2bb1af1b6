"""Blocks on the terminal."""

from __future__ import annotations

import io
import json
import math

import pytest
from rich.console import Console

from wspy.blocks import Audio, Column, Figure, Table, Text
from wspy.cli.render import cell_text, print_blocks, print_json

TABLE = Table(
    title="Peaks",
    columns=(
        Column(name="clip", description="where it is heard"),
        Column(name="activation", decimals=4),
        Column(name="count"),
        Column(name="known"),
    ),
    rows=(("a rather long name of a clip", 12345678.90123, 1234567890, True), ("b", -0.5, None, None)),
)


def shown(*blocks, width: int = 80, terminal: bool = True) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=terminal, color_system=None, markup=False, highlight=False
    )
    print_blocks(blocks, None, console)
    return stream.getvalue()


@pytest.mark.parametrize("width", [20, 30, 45, 60, 80, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_numbers_are_whole_at_any_width(width, terminal):
    text = shown(TABLE, width=width, terminal=terminal)
    for number in ("12345678.9012", "1234567890", "-0.5000"):
        assert number in text


def test_a_file_gets_one_line_for_each_row():
    lines = shown(TABLE, width=100_000, terminal=False).splitlines()
    assert lines[1].startswith("| clip")
    assert lines[3].startswith("| a rather long name of a clip | 12345678.9012 | 1234567890 | yes")
    assert len({len(line) for line in lines[1:5]}) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (3, "3"),
        (0.12345, "0.123"),
        (math.nan, "nan"),
        ("a\x1b[31m\x07b", "a\ufffd[31m\ufffdb"),
    ],
)
def test_cells(value, text):
    assert cell_text(value, Column(name="x", decimals=3)) == text


def test_figures_are_pointed_to():
    assert "Figure: A curve (in the report)" in shown(Figure(title="A curve", spec={}))


def test_the_first_sounds_are_listed_and_the_others_counted():
    picture = Figure(title="A picture", spec={})
    pairs = [
        [
            Audio(title=f"Clip {n}", path=f"audio/{n}.wav", figure=picture),
            Audio(title="Peak", path=f"audio/{n}-peak.wav"),
        ]
        for n in range(7)
    ]
    lines = shown(*(sound for pair in pairs for sound in pair), width=200).splitlines()
    assert lines[:5] == [f"audio/{n}.wav  Clip {n}" for n in range(5)]
    assert lines[5] == "and 9 more sounds beside them; the report plays all."
    assert shown(Audio(title="Heard", path="audio/one.wav")).splitlines() == ["audio/one.wav  Heard", ""]


def test_text_is_markdown_on_a_terminal_and_html_is_not_interpreted():
    text = shown(Text(markdown="a **bold** word and <b>raw</b> html [brackets]"))
    assert "bold" in text
    assert "**" not in text
    assert "<b>raw</b>" in text
    assert "[brackets]" in text
    assert "**bold**" in shown(Text(markdown="a **bold** word"), terminal=False)


def test_json_is_strict(capsys):
    print_json({"a": [math.nan, math.inf, -math.inf, 1.5], "b": {"c": None}, "ю": TABLE})
    said = capsys.readouterr().out

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    document = json.loads(said, parse_constant=refuse)
    assert document["a"] == ["NaN", "Infinity", "-Infinity", 1.5]
    assert said.isascii()
