"""What the site is made of besides pages: plotly's script, notebooks as pages, figures and players on pages.

MkDocs calls the functions `on_...`. A line `<!-- show: NAME -->` is replaced by the
figure, players or table of that name in `docs/assets/findings`.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

import widgets
from mkdocs.plugins import event_priority

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent.parent
SHOW = re.compile(r"^<!-- show: ([\w.-]+) -->$", re.MULTILINE)
PLOTLY = "assets/plotly.js"
WORKER = "assets/worker.js"
SHIM = "https://unpkg.com/iframe-worker/shim"
ESCAPED = (0, 10, 13, 34, 60, 92)
"""Letters that a string in a script would have to escape, and the one that begins a tag."""
INLINE = re.compile(r"</?(?:a|br|code|em|p|pre|small|span|strong|t[dhr]|table|thead|tbody|li|ul|ol|div)\b[^>]*>")
LONGEST_OUTPUT = 4000
"""Letters of a notebook's stored output that a page shows."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what no page of `docs` holds by itself."""
    from mkdocs.structure.files import File

    for notebook in sorted((DOCS / "notebooks").glob("*.ipynb")):
        page = f"notebooks/{notebook.stem}.md"
        files.append(File.generated(config, page, content=notebook_page(notebook)))
    files.append(File.generated(config, PLOTLY, content=plotly()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Replace the marks of one page, and bring the script that draws and plays where there are any."""
    shown, n_marks = SHOW.subn(lambda mark: widgets.show(mark[1]), markdown)
    if not n_marks:
        return markdown
    up = "../" * page.file.src_uri.count("/")
    return f'{shown}\n\n<script src="{up}assets/findings.js" data-plotly="{up}{PLOTLY}" defer></script>\n'


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Take the search's helper for pages opened from disk from the site itself, and not from where the theme has it."""
    return output.replace(SHIM, f"{'../' * page.url.count('/')}{WORKER}")


def on_post_template(output_content: str, **_: object) -> str:
    """The same for the page of addresses that do not exist."""
    return output_content.replace(SHIM, WORKER)


@event_priority(-200)  # after the theme has written its index
def on_post_build(config: MkDocsConfig, **_: object) -> None:
    """Keep of the search's index, which every page loads, the text and no markup within paragraphs."""
    index = Path(config.site_dir) / "search" / "search_index.json"
    content = json.loads(index.read_text(encoding="utf-8"))
    for entry in content["docs"]:
        entry["text"] = " ".join(INLINE.sub(" ", entry["text"]).split())
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    index.write_text(text, encoding="utf-8")
    (index.parent / "search_index.js").write_text(f"var __index = {text}", encoding="utf-8")


def plotly() -> str:
    """The installed plotly's script, packed: a page loads a third of it, once its first figure comes near.

    Seven bits make a letter: of UTF-8's letters of one byte, those that a string must escape are written with two.
    """
    import numpy as np

    from wspy.html import plotly_js

    packed = np.frombuffer(gzip.compress(plotly_js().read_bytes(), 9, mtime=0), np.uint8)
    bits = np.unpackbits(packed)
    sevens = np.pad(bits, (0, -len(bits) % 7)).reshape(-1, 7)
    codes = np.packbits(np.pad(sevens, ((0, 0), (1, 0))), axis=1)[:, 0].astype(np.uint16)
    codes[np.isin(codes, ESCAPED)] += 128
    return f'window.packedPlotly="{codes.astype("<u2").tobytes().decode("utf-16-le")}";\n'


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: its text, its code, and what was printed."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [_cell(cell) for cell in notebook["cells"]]
    note = f"[Download this notebook]({path.name}){{ download }} and run it with wspy's environment as its kernel."
    return "\n\n".join([cells[0], note, *cells[1:]]) + "\n"


def _cell(cell: dict[str, object]) -> str:
    source = "".join(_lines(cell["source"]))
    if cell["cell_type"] == "markdown":
        return source
    printed = "".join(_printed(cell)).rstrip()
    code = f"```python\n{source}\n```"
    if not printed:
        return code
    fence = "`" * max(3, *(len(ticks) + 1 for ticks in re.findall("`+", printed)), 0)
    return f"{code}\n\n{fence}text\n{printed[:LONGEST_OUTPUT]}\n{fence}"


def _printed(cell: dict[str, object]) -> Iterator[str]:
    outputs = cell.get("outputs", [])
    assert isinstance(outputs, list)
    for output in outputs:
        yield from _lines(output.get("text", output.get("data", {}).get("text/plain", [])))


def _lines(text: object) -> list[str]:
    """Notebooks keep text as one string or as lines."""
    return [text] if isinstance(text, str) else list(text) if isinstance(text, list) else []
