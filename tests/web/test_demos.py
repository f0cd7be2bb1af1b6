"""The curated apps in a real browser, each started as its first line says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import REPOSITORY, picture, started

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.real, pytest.mark.browser]
DEMOS = sorted((REPOSITORY / "demos").glob("*.py"))


@contextmanager
def demo(name: str, home: Path) -> Iterator[str]:
    with started([sys.executable, str(REPOSITORY / "demos" / f"{name}.py")], home) as address:
        yield address


def say(page: Page, words: str) -> None:
    """Take an example sentence."""
    page.locator(".wspy-example", has_text=words).click()


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.stem)
def test_each_is_one_short_file_that_says_how_to_start_it(path: Path) -> None:
    text = path.read_text()
    assert f"python demos/{path.name}" in text.split('"""')[1]
    assert text.count("\n") < 200
    assert re.search(r"^with blocks\(.*\) as demo:$", text, re.M) and "demo.launch(**launch_options(studio))" in text


def test_chop_takes_a_word_away(web_home: Path, page: Page) -> None:
    with demo("chop", web_home) as address:
        page.goto(address)
        say(page, "She asked three")
        words = page.locator("#score .wspy-words button")
        words.first.wait_for()
        assert "three" in words.all_inner_texts()
        words.filter(has_text="three").press("Enter")  # as a click does
        page.locator("#reads .wspy-reads").wait_for()
        written = page.locator("#reads .wspy-reads")
        assert "three" in written.locator("del").all_inner_texts()
        left = written.evaluate(
            "p => { const c = p.cloneNode(true); c.querySelectorAll('del').forEach(d => d.remove()); "
            "return c.textContent }"
        )
        assert "three" not in left and "questions" in left
        picture(page, "demo-chop")

        box = page.locator(".wspy-sound").bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 1, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.97, middle, steps=4)
        page.mouse.up()
        page.locator("#reads del", has_text="light").first.wait_for()
        heard = page.locator("audio").last
        heard.evaluate("a => new Promise((go) => { a.readyState ? go() : a.onloadedmetadata = go; })")
        assert heard.evaluate("a => a.duration") == pytest.approx(2.9, abs=0.8)


def test_attention_narrows_and_traces(web_home: Path, page: Page) -> None:
    with demo("attention", web_home) as address:
        page.goto(address)
        say(page, "She asked three")
        page.get_by_text("Each frame sees 75 frames (1.5 s)").wait_for()
        assert "three questions" in page.locator("#masked").inner_text()
        slider = page.get_by_role("slider").first
        slider.focus()
        for _ in range(2):
            page.keyboard.press("ArrowLeft")
        page.get_by_text("Each frame sees 20 frames (0.4 s)").wait_for()
        page.get_by_role("tab", name="Where a word came from").click()
        page.get_by_role("button", name="Trace the relevance").click()
        page.locator("#words .wspy-words button").filter(has_text="traffic").click()
        page.get_by_text("Half of the relevance of “traffic”").wait_for()
        assert page.locator("#words .wspy-stretch").is_visible()
        picture(page, "demo-attention")


def test_decoder_predicts_as_one_types(web_home: Path, page: Page) -> None:
    with demo("decoder", web_home) as address:
        page.goto(address)
        page.locator("#likely button").first.wait_for()
        page.locator("#prompt").get_by_role("textbox").fill(" thank")
        page.wait_for_function("document.querySelector('#likely button').innerText.includes('you')")
        page.locator("#likely button").first.click()
        page.wait_for_function("document.querySelector('#prompt textarea, #prompt input').value === ' thank you'")
        picture(page, "demo-decoder")
        page.get_by_role("tab", name="Neurons with a meaning").click()
        page.get_by_role("button", name="Read its words").click()
        frame = page.frame_locator("iframe.wspy-run")
        frame.locator("tbody tr").first.wait_for()


def test_listen_opens_neurons_from_map_table_and_address(web_home: Path, page: Page) -> None:
    with demo("listen", web_home) as address:
        page.goto(f"{address}/?model=tiny.en&corpus=demo&layer=1&idx=3")
        frame = page.frame_locator("iframe.wspy-run")
        frame.get_by_text("Neuron 3 of encoder.blocks.1.mlp.1").first.wait_for()
        assert page.locator("#map circle").count() == 1536
        picture(page, "demo-listen")
        page.locator("#map circle").nth(40).dispatch_event("click")
        frame.get_by_text("Neuron 40 of encoder.blocks.1.mlp.1").first.wait_for()
        assert page.url.endswith("?model=tiny.en&corpus=demo&layer=1&idx=40")
        page.locator("#neurons").get_by_text("5", exact=True).first.click()
        frame.get_by_text("Neuron 5 of encoder.blocks.1.mlp.1").first.wait_for()
        player = frame.locator("audio").first
        player.evaluate(
            "a => new Promise((go) => { if (a.readyState) return go(); a.onloadedmetadata = go; a.load(); })"
        )
        assert player.evaluate("a => a.duration") > 0.5
