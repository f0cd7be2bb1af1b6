"""Blocks as HTML: for the report of a run and for a notebook.

Everything that comes from data is escaped, in text, in attributes and in the JSON of figures; a transcript that says
`<script>` shows as those letters. Pages fetch nothing from a network: their Content-Security-Policy forbids it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import json
import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from wspy.blocks import Audio, Block, Cell, Column, Figure, Table, Text

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

NOTEBOOK_HEIGHT = 760
"""Pixels; a longer result scrolls inside its cell."""
NOTEBOOK_AUDIO_BYTES = 24_000_000
"""Sound put into one notebook cell; what exceeds it stays in the run folder and is named."""

_FIGURE_HEIGHT = 360
_WORD_LETTERS = 24
_FIND = (
    '<div class="find"><input type="search" placeholder="Find a point" aria-label="Find a point in {title}" '
    'autocomplete="off" spellcheck="false"><output></output></div>'
)
_WIDE_S = 4.0  # a longer time axis takes the width of the page


def render_blocks(blocks: Sequence[Block], *, media: Callable[[str], str]) -> str:
    """An HTML fragment for all blocks in order, to be shown in a `page`.

    Args:
        media: Turns the path of a media file in the run folder into a URL; an empty one means that it cannot be played.
    """
    parts: list[str] = []
    for group in _grouped(blocks):
        if isinstance(group, list):
            parts.append(f'<div class="audios">{"".join(_card(card, media) for card in _cards(group))}</div>')
        elif isinstance(group, Text):
            parts.append(f'<div class="text">{_markdown().render(group.markdown)}</div>')
        elif isinstance(group, Table):
            parts.append(_table(group))
        else:
            parts.append(_figure(group))
    return "\n".join(parts)


def _grouped(blocks: Sequence[Block]) -> Iterator[Text | Table | Figure | list[Audio]]:
    """Blocks, with neighbouring audio together."""
    sounds: list[Audio] = []
    for block in blocks:
        if isinstance(block, Audio):
            sounds.append(block)
            continue
        if sounds:
            yield sounds
            sounds = []
        yield block
    if sounds:
        yield sounds


def _cards(sounds: Sequence[Audio]) -> list[list[Audio]]:
    """One card per audio; one without a figure joins the card of the audio with a figure before it."""
    cards: list[list[Audio]] = []
    for sound in sounds:
        if sound.figure is None and cards and cards[-1][0].figure is not None:
            cards[-1].append(sound)
        else:
            cards.append([sound])
    return cards


@functools.cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    # Raw HTML becomes text and pictures are off: they would be fetched from wherever the text says.
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")


# --- tables -----------------------------------------------------------------------------------------------


def _table(table: Table) -> str:
    kinds = [_kind([row[n] for row in table.rows]) for n in range(len(table.columns))]
    heads = "".join(_head(column, kind) for column, kind in zip(table.columns, kinds, strict=True))
    body = "".join(
        f"<tr>{''.join(_cell(*cell) for cell in zip(row, table.columns, kinds, strict=True))}</tr>"
        for row in table.rows
    )
    described = [column for column in table.columns if column.description]
    legend = ""
    if described:
        terms = "".join(f"<dt>{escape(c.name)}</dt><dd>{escape(c.description)}</dd>" for c in described)
        legend = f'<details class="legend"><summary>What the columns mean</summary><dl>{terms}</dl></details>'
    title = escape(table.title)
    long = " long" if len(table.rows) > 30 else ""
    return (
        f'<section class="table"><h3>{title}</h3><div class="scroll{long}" tabindex="0" role="region" '
        f'aria-label="{title}"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>{legend}</section>'
    )


def _kind(cells: Sequence[Cell]) -> Literal["num", "word", "prose"]:
    """How a column is set: numbers to the right, words in one line, longer text wrapped."""
    present = [cell for cell in cells if cell is not None]
    if present and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in present):
        return "num"
    return "word" if all(len(str(cell)) <= _WORD_LETTERS for cell in present) else "prose"


def _head(column: Column, kind: str) -> str:
    unit = f' <span class="unit">({escape(column.unit)})</span>' if column.unit else ""
    tip = f' title="{escape(column.description)}"' if column.description else ""
    return f'<th scope="col" class="{kind}"><button type="button"{tip}>{escape(column.name)}{unit}</button></th>'


def _cell(cell: Cell, column: Column, kind: str) -> str:
    value, shown = "", ""
    if isinstance(cell, bool):
        shown = "yes" if cell else "no"
    elif isinstance(cell, int):
        value, shown = str(cell), str(cell)
    elif isinstance(cell, float) and math.isfinite(cell):
        value, shown = repr(cell), f"{cell:.{column.decimals}f}"
    elif isinstance(cell, float):
        shown = "" if math.isnan(cell) else "∞" if cell > 0 else "-∞"
    elif cell is not None:
        shown = escape(cell)
    sort_by = f' data-v="{value}"' if value else ""
    return f'<td class="{kind}"{sort_by}>{shown.replace("-", "−") if value else shown}</td>'


# --- figures and audio ------------------------------------------------------------------------------------


def script_json(value: JsonValue) -> str:
    """JSON that stays inside a `<script>` element whatever strings it holds; not-a-number becomes null."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _finite(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _figure(figure: Figure) -> str:
    caption = f"<figcaption>{escape(figure.caption)}</figcaption>" if figure.caption else ""
    find = _FIND.format(title=escape(figure.title)) if figure.search else ""
    return f'<figure class="figure"><h3>{escape(figure.title)}</h3>{find}{_plot(figure)}{caption}</figure>'


def _plot(figure: Figure) -> str:
    """The place of a figure and its specification; the page's script draws it when it comes into view."""
    layout = figure.spec.get("layout")
    height = layout.get("height") if isinstance(layout, dict) else None
    pixels = int(height) if isinstance(height, int | float) else _FIGURE_HEIGHT
    return (
        f'<div class="plot" role="img" aria-label="{escape(figure.title)}" style="height:{pixels}px"></div>'
        f'<script type="application/json" class="spec">{script_json(figure.spec)}</script>'
    )


def _card(card: Sequence[Audio], media: Callable[[str], str]) -> str:
    wide = " wide" if _span_s(card[0].figure) > _WIDE_S else ""
    return f'<article class="card{wide}">{"".join(_audio(sound, media) for sound in card)}</article>'


def _span_s(figure: Figure | None) -> float:
    """The length of a figure's time axis, 0 where it states none."""
    layout = figure.spec.get("layout") if figure else None
    axis = layout.get("xaxis") if isinstance(layout, dict) else None
    match axis.get("range") if isinstance(axis, dict) else None:
        case [int() | float() as start, int() | float() as end]:
            return float(end - start)
        case _:
            return 0.0


def _audio(audio: Audio, media: Callable[[str], str]) -> str:
    title = escape(audio.title)
    caption = f'<p class="caption">{escape(audio.caption)}</p>' if audio.caption else ""
    url = media(audio.path)
    if url:
        player = f'<audio controls preload="metadata" src="{escape(url)}" aria-label="{title}"></audio>'
    else:
        player = f'<p class="caption">Kept in the run folder: <code>{escape(audio.path)}</code></p>'
    figure = ""
    if audio.figure is not None:
        note = f'<p class="caption">{escape(audio.figure.caption)}</p>' if audio.figure.caption else ""
        figure = f'<div class="timed">{_plot(audio.figure)}</div>{note}'
    return f'<div class="audio"><h4>{title}</h4>{caption}{player}{figure}</div>'


# --- pages ------------------------------------------------------------------------------------------------


@functools.cache
def asset(name: str) -> str:
    """The text of one of wspy's own style sheets or scripts."""
    return (Path(__file__).parent / "assets" / name).read_text("utf-8")


def plotly_js() -> Path:
    """Plotly's script as the plotly package ships it, found without importing plotly."""
    found = importlib.util.find_spec("plotly")
    if found is None or found.origin is None:
        raise ImportError("plotly is not installed: pip install plotly")
    return Path(found.origin).parent / "package_data" / "plotly.min.js"


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def page(title: str, body: str, *, plotly_src: str | None = None, plotly_inline: str | None = None) -> str:
    """A whole page around a body of rendered blocks, with wspy's style and script in it.

    The policy in its head allows this page's own scripts, sound and picture data, and no connection of any kind.
    """
    script = asset("page.js")
    allowed = ["'self'", "file:", _hash(script)]
    plotly = ""
    if plotly_inline is not None:
        allowed.append(_hash(plotly_inline))
        plotly = f"<script data-plotly>{plotly_inline}</script>"
    elif plotly_src is not None:
        plotly = f'<script data-plotly defer src="{escape(plotly_src)}"></script>'
    policy = (
        f"default-src 'none'; script-src {' '.join(allowed)}; style-src 'unsafe-inline'; img-src data: blob:; "
        "media-src 'self' file: data:; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy, quote=False)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{asset('page.css')}</style>\n</head>\n<body>\n{body}\n"
        f"{plotly}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def render_notebook(blocks: Sequence[Block], folder: Path | None) -> str:
    """One self-contained frame for a notebook: style, scripts, figures and sound are all inside.

    Args:
        folder: The run folder that holds the media; None where there is none, then audio is only named.
    """
    left = NOTEBOOK_AUDIO_BYTES

    def media(path: str) -> str:
        nonlocal left
        if folder is None or not (folder / path).is_file():
            return ""
        size = (folder / path).stat().st_size
        if size > left:
            return ""
        left -= size
        return "data:audio/wav;base64," + base64.b64encode((folder / path).read_bytes()).decode("ascii")

    drawn = any(isinstance(block, Figure) or (isinstance(block, Audio) and block.figure) for block in blocks)
    plotly = plotly_js().read_text("utf-8") if drawn else None
    body = f'<main class="notebook">{render_blocks(blocks, media=media)}</main>'
    document = page("wspy", body, plotly_inline=plotly)
    height = min(NOTEBOOK_HEIGHT, 40 + sum(_rough_height(block) for block in blocks))
    return (
        f'<iframe sandbox="allow-scripts allow-downloads" title="wspy result" loading="lazy" '
        f'srcdoc="{escape(document)}" style="width:100%;height:{height}px;border:0;color-scheme:light dark"></iframe>'
    )


def _rough_height(block: Block) -> int:
    if isinstance(block, Text):
        return 40 + 24 * (block.markdown.count("\n") + len(block.markdown) // 100)
    if isinstance(block, Table):
        return 110 + 34 * len(block.rows)
    return 440 if isinstance(block, Figure) or block.figure else 130
