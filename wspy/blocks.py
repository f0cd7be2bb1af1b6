"""Pieces of a result that a person looks at or listens to. Each front end renders all four kinds.

Blocks are plain data: text, numbers, a Plotly specification, the name of a media file in the run folder. An analysis
says once in `view` what is to be seen; the terminal, the report, a notebook and the web app each draw it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Cell = str | int | float | bool | None


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(_Block):
    """A paragraph, heading or list."""

    kind: Literal["text"] = "text"
    markdown: str = Field(description="CommonMark; raw HTML is shown as text, never interpreted.")


class Column(_Block):
    """What one column of a table holds."""

    name: str = Field(description="Heading, as short as it can be.")
    unit: str = Field("", description="Unit of the numbers, for instance s; empty for none.")
    description: str = Field("", description="What the column means, shown on hover and under the table.")
    decimals: int = Field(2, ge=0, le=9, description="Digits after the point of a fraction.")


class Table(_Block):
    """Rows of values under named columns."""

    kind: Literal["table"] = "table"
    title: str = Field(description="What the rows are.")
    columns: tuple[Column, ...] = Field(description="One per cell of a row.")
    rows: tuple[tuple[Cell, ...], ...] = Field(description="Values, row by row; None shows as empty.")


class Figure(_Block):
    """An interactive Plotly figure."""

    kind: Literal["figure"] = "figure"
    title: str = Field(description="What is drawn.")
    caption: str = Field("", description="How to read it, in a sentence.")
    spec: dict[str, JsonValue] = Field(description="Plotly JSON: `data` and `layout`.")
    search: bool = Field(False, description="Whether a page offers a box that finds points by the text of their label.")


class Audio(_Block):
    """A player, with a picture on the same time axis where there is one."""

    kind: Literal["audio"] = "audio"
    title: str = Field(description="What is heard.")
    path: str = Field(description="The WAV file, relative to the run folder.")
    caption: str = Field("", description="What to listen for.")
    figure: Figure | None = Field(
        None, description="A figure whose x axis is this audio's time in seconds; a cursor runs along it."
    )


Block = Annotated[Text | Table | Figure | Audio, Field(discriminator="kind")]


def escape_markdown(text: str) -> str:
    """Text that a paragraph or a table in Markdown shows as it is, on one line; an underscore within a word is no
    mark."""
    return re.sub(r"([\\`*\[\]<>~|]|\b_|_\b)", r"\\\1", " ".join(text.split()))
