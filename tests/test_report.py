"""The report of a run: what it holds, that it is self-contained, and that a browser plays and draws it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import Field

from wspy import figures
from wspy.analysis import Analysis, Context, Inputs, Result
from wspy.blocks import Audio, Block, Column, Figure, Table, Text
from wspy.html import page as html_page
from wspy.html import plotly_js, render_blocks
from wspy.report import write_report
from wspy.runs import Provenance, Record, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

ATTACK = "<script>alert(1)</script>"


class ToneInputs(Inputs):
    hz: float = Field(description="Pitch of the tone, in Hz.")
    note: str = Field("none", description="Anything.")


class ToneResult(Result):
    count: int


class Tone(Analysis[ToneInputs, ToneResult]):
    api = 1
    name = "tone"
    summary = "A tone, heard and seen."
    Inputs = ToneInputs
    Result = ToneResult

    def run(self, inputs: ToneInputs, context: Context) -> ToneResult:
        raise NotImplementedError

    def view(self, result: ToneResult) -> list[Block]:
        rng = np.random.default_rng(0)
        columns = (Column(name="n"), Column(name="text"))
        blocks: list[Block] = [
            Text(markdown=f"Heard: {ATTACK}"),
            Table(title="Clips", columns=columns, rows=tuple((n, ATTACK) for n in (10, 9, 200))),
            figures.histogram("All", [0, 1, 2], [3, 4], x_title="peak"),
        ]
        for n in range(result.count):
            figure = figures.spectrogram(
                f"Clip {n}",
                rng.random((80, 200), dtype=np.float32),
                duration_s=2.0,
                activation=rng.random(100, dtype=np.float32),
                peak_s=0.5,
            )
            blocks.append(Audio(title=f"{n} <b>", path="audio/tone.wav", figure=figure))
        return blocks


def make_run(folder: Path, count: int = 12) -> Run:
    (folder / "audio").mkdir(parents=True)
    with wave.open(str(folder / "audio" / "tone.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes((np.sin(np.arange(32000) * 0.17) * 9000).astype("<i2").tobytes())
    provenance = Provenance(
        wspy="0.1.0",
        plugin="wspy 0.1.0",
        command="wspy analyze tone --hz 440 --note '<i>'",
        started="2025-01-01T00:00:00+00:00",
        duration_s=1.25,
        seed=7,
        model="tiny.en",
        model_sha256="ab" * 32,
        corpus=None,
        corpus_hash=None,
        alignment_hash=None,
        device=None,
        platform="Python 3",
        packages={"numpy": "2.0"},
    )
    record = Record(analysis="tone", inputs={"hz": 440.0, "note": "none"}, result={}, provenance=provenance)
    return Run(folder, record, Tone(), ToneResult(count=count))  # type: ignore[arg-type]


def test_report_says_what_was_asked_and_where_it_comes_from(tmp_path: Path) -> None:
    html = write_report(make_run(tmp_path / "run")).read_text("utf-8")
    assert "<title>tone: hz 440.0</title>" in html  # `note` was left at its default
    assert "Pitch of the tone, in Hz." in html
    assert "wspy analyze tone --hz 440 --note &#x27;&lt;i&gt;&#x27;" in html
    assert "ab" * 32 in html and "1.25 s" in html and "<dt>seed</dt><dd>7</dd>" in html
    assert "<dt>corpus</dt>" not in html and ATTACK not in html


def test_report_folder_is_self_contained(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    html = write_report(run).read_text("utf-8")
    references = re.findall(r'<[^>]+\b(?:src|href)="([^"]+)"', html)
    assert "assets/plotly.min.js" in references
    for reference in references:
        assert reference.startswith("#") or (run.path / reference).is_file(), reference
    assert not re.search(r"@import|url\(", html)
    assert (run.path / "assets" / "plotly.min.js").read_bytes() == plotly_js().read_bytes()


def test_second_report_shares_the_script_and_rewriting_is_harmless(tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    before = write_report(first).read_bytes()
    write_report(second)
    assert (first.path / "assets/plotly.min.js").samefile(second.path / "assets/plotly.min.js")
    assert write_report(first).read_bytes() == before
    assert sorted(p.name for p in first.path.rglob("*")) == [
        "assets",
        "audio",
        "plotly.min.js",
        "report.html",
        "tone.wav",
    ]


def test_script_is_copied_where_it_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    run = make_run(tmp_path / "run")
    write_report(run)
    assert (run.path / "assets/plotly.min.js").stat().st_size == plotly_js().stat().st_size


def test_writing_html_imports_nothing_heavy() -> None:
    code = (
        "import sys, wspy.report, wspy.figures; print([m for m in ('torch', 'plotly', 'whisper') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- in a real browser ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"]
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu", *quiet])
        yield opened
        opened.close()


@pytest.mark.browser
def test_report_plays_draws_and_follows_the_sound(tmp_path: Path, browser: Browser) -> None:
    report = write_report(make_run(tmp_path / "run"))
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    troubles: list[str] = []
    requests: set[str] = set()
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: requests.add(request.url.split(":")[0]))
    page.goto(report.as_uri())

    page.wait_for_selector(".plot[data-drawn]")
    drawn = page.locator(".plot[data-drawn]").count()
    assert drawn < 13  # what is far below is left until it is scrolled to
    last = page.locator(".plot").last
    last.scroll_into_view_if_needed()
    page.wait_for_selector(".card:last-child .plot[data-drawn]")
    assert last.locator(".heatmaplayer image").count() == 1 and last.locator(".scatterlayer path.js-line").count() == 1

    player = page.locator("audio").last
    page.wait_for_function("() => [...document.querySelectorAll('audio')].at(-1).duration > 0")
    assert player.evaluate("a => a.duration") == pytest.approx(2.0, abs=0.01)
    player.evaluate("a => a.play()")
    cursor = last.locator(".cursor")
    cursor.wait_for(state="visible")
    before = cursor.evaluate("c => parseFloat(c.style.left)")
    page.wait_for_function(
        "x => parseFloat([...document.querySelectorAll('.cursor')].at(-1).style.left) > x + 5", arg=before
    )
    player.evaluate("a => a.pause()")

    box = last.bounding_box()
    assert box is not None
    left, width = last.evaluate("p => [p._fullLayout.xaxis._offset, p._fullLayout.xaxis._length]")
    page.mouse.click(box["x"] + left + width * 0.75, box["y"] + 150)
    assert player.evaluate("a => a.currentTime") == pytest.approx(1.5, abs=0.02)

    page.locator("th button").first.click()
    assert page.locator(".table tbody td:first-child").all_inner_texts() == ["9", "10", "200"]
    assert troubles == [] and requests == {"file"}
    page.close()


@pytest.mark.browser
def test_report_fits_a_narrow_dark_screen(tmp_path: Path, browser: Browser) -> None:
    report = write_report(make_run(tmp_path / "run", count=2))
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme="dark")
    page.goto(report.as_uri())
    page.locator(".plot").last.scroll_into_view_if_needed()
    page.wait_for_selector(".card:last-child .plot[data-drawn]")
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    ink = page.locator(".plot .xtitle").last.evaluate("t => getComputedStyle(t).fill")
    assert min(int(part) for part in re.findall(r"\d+", ink)[:3]) > 150  # light letters on the dark ground
    page.close()


@pytest.mark.browser
def test_points_are_found_by_their_label(tmp_path: Path, browser: Browser) -> None:
    labels = ["“ rug”", "“ rugged”", "“ mug”", "“ a&b”"]
    figure = figures.scatter("Map", [0, 1, 2, 3], [3, 2, 1, 0], labels, x_title="x", y_title="y", groups=["g (1)"] * 4)
    other = Figure(title="No points", spec={"data": [], "layout": {}})
    html = render_blocks([figure, other], media=str)
    (tmp_path / "plotly.min.js").write_bytes(plotly_js().read_bytes())
    (tmp_path / "page.html").write_text(html_page("t", html, plotly_src="plotly.min.js"), encoding="utf-8")
    page = browser.new_page(viewport={"width": 900, "height": 800})
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_selector(".plot[data-drawn]")
    box, said = page.locator(".find input"), page.locator(".find output")
    assert box.count() == 1  # a figure without points has no box

    def found() -> list[list[object]]:
        code = "() => document.querySelector('.plot').data.filter(t => t.name === 'found').map(t => [t.x, t.text])"
        traces: list[list[object]] = page.evaluate(code)
        return traces

    box.fill("RUG")
    assert found() == [[[0, 1], ["“ rug”", ""]]] and said.inner_text() == "2 found: “ rug”"
    box.press("Enter")
    low, high = page.evaluate("() => document.querySelector('.plot')._fullLayout.xaxis.range")
    assert low < 0 < high < 1
    box.fill("a&b")
    assert said.inner_text() == "1 found: “ a&b”"
    box.fill("carpet")
    assert found() == [[[], []]] and said.inner_text() == "not on this figure"
    box.fill("")
    assert found() == [] and said.inner_text() == "" and not troubles
    page.close()
