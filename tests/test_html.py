"""Blocks as HTML: structure, and that nothing from data becomes markup."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from wspy.blocks import Audio, Block, Column, Figure, Table, Text
from wspy.html import NOTEBOOK_HEIGHT, page, render_blocks, render_notebook, script_json

ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


class Parsed(HTMLParser):
    """The elements of a page as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._in = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def rendered(*blocks: Block) -> Parsed:
    return Parsed(render_blocks(blocks, media=lambda path: f"media/{path}"))


def figure(text: str = "f", span_s: float = 2.0) -> Figure:
    layout = {"height": 234, "xaxis": {"range": [0, span_s], "title": {"text": text}}}
    return Figure(title=text, caption=text, spec={"data": [], "layout": layout})


@pytest.mark.parametrize(
    "block",
    [
        Text(markdown=ATTACK),
        Text(markdown=f"# {ATTACK}\n\n`{ATTACK}`"),
        Table(title=ATTACK, columns=(Column(name=ATTACK, unit=ATTACK, description=ATTACK),), rows=((ATTACK,),)),
        figure(ATTACK),
        Audio(title=ATTACK, path="a.wav", caption=ATTACK, figure=figure(ATTACK)),
        Audio(title="a", path=ATTACK),
    ],
    ids=lambda block: str(block.kind),
)
def test_what_comes_from_data_is_never_markup(block: Block) -> None:
    parsed = rendered(block)
    assert all(a.get("type") == "application/json" for a in parsed.all("script"))
    assert not parsed.all("img")
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    if block.kind != "audio" or block.caption:
        assert "<script>alert(1)</script>" in parsed.text


def test_markdown_fetches_and_runs_nothing() -> None:
    parsed = rendered(Text(markdown="**b** ![x](http://a/b.png) [y](javascript:alert(1)) [z](https://a.example/)"))
    assert parsed.all("strong") and not parsed.all("img")
    assert [a["href"] for a in parsed.all("a")] == ["http://a/b.png", "https://a.example/"]


def test_script_json_stays_inside_its_element_and_has_no_nan() -> None:
    value = {"a": ["</script><!--", "é &lt;"], "b": [1.5, float("nan"), float("inf")]}
    text = script_json(value)  # type: ignore[arg-type]
    assert "<" not in text and "&" not in text
    assert json.loads(text) == {"a": ["</script><!--", "é &lt;"], "b": [1.5, None, None]}


def test_table_cells_are_set_and_sorted_by_kind() -> None:
    columns = (
        Column(name="peak", unit="s", description="When.", decimals=3),
        Column(name="n"),
        Column(name="word"),
        Column(name="voiced"),
    )
    rows = ((1.23456, 7, "she", True), (-0.5, None, "x-y", False), (None, 12, None, None), (float("nan"), 1, "a", True))
    html = render_blocks([Table(title="t", columns=columns, rows=rows)], media=str)
    parsed = Parsed(html)
    cells = parsed.all("td")
    assert len(cells) == 16 and len(parsed.all("th")) == 4
    assert [c["class"] for c in cells[:4]] == ["num", "num", "word", "word"]
    assert ">1.235<" in html and ">−0.500<" in html and ">x-y<" in html and ">yes<" in html and "nan" not in html
    assert [c.get("data-v") for c in cells[:6]] == ["1.23456", "7", None, None, "-0.5", None]
    assert parsed.all("button")[0]["title"] == "When." and "(s)" in parsed.text


def test_figure_keeps_its_place_and_carries_its_specification() -> None:
    block = figure()
    parsed = rendered(block)
    plot = next(a for a in parsed.all("div") if a.get("class") == "plot")
    assert plot["style"] == "height:234px" and plot["aria-label"] == "f"
    assert json.loads(parsed.scripts[0]) == block.spec


def test_audio_without_a_figure_joins_the_card_before_it() -> None:
    sounds = [Audio(title=str(n), path=f"{n}.wav", figure=figure() if n in (0, 2) else None) for n in range(5)]
    parsed = rendered(*sounds)
    assert len(parsed.all("article")) == 2
    assert [a["src"] for a in parsed.all("audio")] == [f"media/{n}.wav" for n in range(5)]
    assert len(rendered(*sounds[3:]).all("article")) == 2
    assert rendered(Audio(title="l", path="l.wav", figure=figure(span_s=9))).all("article")[0]["class"] == "card wide"


def test_page_allows_its_own_scripts_and_no_connection() -> None:
    html = page("t<>", "<p>x</p>", plotly_src="assets/plotly.min.js")
    parsed = Parsed(html)
    policy = next(a["content"] or "" for a in parsed.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    directives = {d.split()[0]: d.split()[1:] for d in policy.split(";")}
    assert directives["default-src"] == ["'none'"] and "connect-src" not in directives
    assert "'unsafe-inline'" not in directives["script-src"] and "'unsafe-eval'" not in directives["script-src"]
    assert not re.search(r"https?:", policy) and "&lt;&gt;" in html


def test_notebook_holds_sound_and_scripts_within_itself(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    blocks: list[Block] = [Text(markdown=ATTACK), Audio(title="a", path="a.wav", figure=figure())]
    outer = Parsed(render_notebook(blocks, tmp_path))
    (frame,) = outer.all("iframe")
    assert len(outer.elements) == 1 and "allow-same-origin" not in (frame["sandbox"] or "")
    document = frame["srcdoc"] or ""
    assert document.count("* plotly.js v") == 1 and 'src="data:audio/wav;base64,UklGRg=="' in document
    assert not re.search(r'<(?:script|link|img|audio)[^>]*\b(?:src|href)="(?!data:)', document)


def test_notebook_is_no_taller_than_it_needs_and_no_heavier() -> None:
    short = render_notebook([Text(markdown="hello")], None)
    assert len(short) < 60_000  # no plotly where nothing is drawn
    height = int(re.findall(r"height:(\d+)px", short)[-1])
    assert height < 200
    long = render_notebook([Text(markdown="x")] * 100, None)
    assert int(re.findall(r"height:(\d+)px", long)[-1]) == NOTEBOOK_HEIGHT


def test_notebook_names_sound_that_it_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wspy.html.NOTEBOOK_AUDIO_BYTES", 5)
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
    html = unescape(render_notebook([Audio(title=n, path=f"{n}.wav") for n in "abc"], tmp_path))
    assert html.count("<audio ") == 1 and "<code>b.wav</code>" in html and "<code>c.wav</code>" in html
