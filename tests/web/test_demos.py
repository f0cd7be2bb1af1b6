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
def demo(name: str, home: Path, when: str = "URL:") -> Iterator[str]:
    with started([sys.executable, str(REPOSITORY / "demos" / f"{name}.py")], home, when) as address:
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
    with demo("chop", web_home, when="starting at") as address:
        # The page is there before the app, and turns into it by itself.
        page.goto(address)
        assert page.locator("h1").inner_text() == "Chop"
        assert page.locator("[role=status]").inner_text() == "Starting: a few seconds"
        page.locator(".wspy-example").first.wait_for()
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

        page.locator(".wspy-sound").focus()  # the same without a mouse
        stretch = page.locator(".wspy-stretch")
        before = stretch.bounding_box()
        page.keyboard.press("Shift+ArrowLeft")
        after = stretch.bounding_box()
        assert before is not None and after is not None and after["width"] < before["width"]
        page.keyboard.press("Enter")
        page.locator("#reads .wspy-reads").wait_for()


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
        curve = page.frame_locator("iframe.wspy-part:visible")
        curve.locator(".figure .plot[data-drawn]").wait_for()
        assert curve.locator("main > :not([hidden])").count() == 1  # one figure alone, of the whole report
        page.get_by_role("tab", name="Words").click()
        page.get_by_role("button", name="Trace the relevance").click()
        page.locator("#words .wspy-words button").filter(has_text="traffic").click()
        page.get_by_text("Half of the relevance of “traffic”").wait_for()
        assert page.locator("#words .wspy-stretch").is_visible()
        page.frame_locator("iframe.wspy-part:visible").locator(".plot[data-drawn]").first.wait_for()
        picture(page, "demo-attention")
        page.get_by_role("tab", name="Heads").click()
        page.get_by_role("button", name="Look at the heads").click()
        grids = page.frame_locator("iframe.wspy-part:visible")
        grids.get_by_role("heading", name="Attention within 10 frames").wait_for()
        grids.locator(".plot[data-drawn]").first.wait_for()


def test_decoder_predicts_as_one_types(web_home: Path, page: Page) -> None:
    with demo("decoder", web_home) as address:
        page.goto(address)
        page.locator("#likely button").first.wait_for()
        page.locator("#prompt").get_by_role("textbox").fill(" thank")
        page.wait_for_function("document.querySelector('#likely button').innerText.includes('you')")
        page.locator("#likely button").first.click()
        page.wait_for_function("document.querySelector('#prompt textarea, #prompt input').value === ' thank you'")
        picture(page, "demo-decoder")
        page.get_by_role("tab", name="Neurons").click()
        page.get_by_role("button", name="Read its words").click()
        frame = page.frame_locator("iframe.wspy-run:visible")
        frame.locator("tbody tr").first.wait_for()
        page.get_by_role("tab", name="Neighbours").click()
        page.get_by_role("button", name="Search").click()
        page.frame_locator("iframe[title='Map of']").get_by_label("Find a point").wait_for()


def test_listen_opens_neurons_from_map_table_and_address(web_home: Path, page: Page) -> None:
    with demo("listen", web_home) as address:
        page.goto(f"{address}/?model=tiny.en&corpus=demo&layer=1&idx=3")
        frame = page.frame_locator("iframe.wspy-run")
        frame.get_by_text("Neuron 3 of encoder.blocks.1.mlp.1").first.wait_for()
        assert page.locator("#map circle").count() == 1536
        for both in ("Clips with the highest peaks", "Clips with the lowest peaks", "Nearest units of the site"):
            assert frame.get_by_role("heading", name=both).count() == 1
        picture(page, "demo-listen")
        point = page.locator("#map circle").nth(40)
        neuron = (point.text_content() or "").partition(":")[0]
        point.dispatch_event("click")
        frame.get_by_text(f"Neuron {neuron} of encoder.blocks.1.mlp.1").first.wait_for()
        assert page.url.endswith(f"?model=tiny.en&corpus=demo&layer=1&idx={neuron}")
        row = (page.locator("#map circle").nth(3).text_content() or "").partition(":")[0]  # points are in its order
        page.locator("#neurons").get_by_text(row, exact=True).first.click()
        frame.get_by_text(f"Neuron {row} of encoder.blocks.1.mlp.1").first.wait_for()
        player = frame.locator("audio").first
        player.evaluate(
            "a => new Promise((go) => { if (a.readyState) return go(); a.onloadedmetadata = go; a.load(); })"
        )
        assert player.evaluate("a => a.duration") > 0.5
        alike = page.locator("#alike button").first
        other = alike.inner_text().partition(" ")[0]
        alike.press("Enter")
        frame.get_by_text(f"Neuron {other} of encoder.blocks.1.mlp.1").first.wait_for()

        page.locator("#map svg").focus()  # the map by keyboard
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        named = page.locator("#map output").inner_text().partition(":")[0]
        page.keyboard.press("Enter")
        frame.get_by_text(f"Neuron {named} of encoder.blocks.1.mlp.1").first.wait_for()

        page.goto(f"{address}/?layer=0&idx=7&side=decoder")  # where neurons write words, these are shown
        frame.get_by_text("Neuron 7 of decoder.blocks.0.mlp.1").first.wait_for()
        assert frame.get_by_role("heading", name="Logit effects").count() == 1
        page.locator("#neurons").get_by_text("speaks for").first.wait_for(state="attached")


def test_features_fire_and_are_turned(web_home: Path, page: Page) -> None:
    with demo("features", web_home) as address:
        page.goto(address)
        say(page, "She asked three")
        fired = page.locator("#fired button")
        fired.first.wait_for()
        assert fired.count() == 16
        fired.first.click()
        number = fired.first.get_attribute("data-pick")
        frame = page.frame_locator("iframe.wspy-part").last
        frame.get_by_role("heading", name=f"Feature {number}:").wait_for()
        player = frame.locator("audio:visible").first
        player.evaluate(
            "a => new Promise((go) => { if (a.readyState) return go(); a.onloadedmetadata = go; a.load() })"
        )
        assert player.evaluate("a => a.duration") > 0.1
        page.get_by_role("slider").first.focus()
        page.keyboard.press("End")
        page.get_by_role("button", name="Turn it, and transcribe").click()
        turned = page.locator("#turned")
        turned.wait_for()
        assert turned.locator("del, ins").count() > 0
        assert page.get_by_text("random direction, changed by as much").count() > 0
        picture(page, "demo-features")


def test_features_says_how_to_make_a_dictionary(wspy_home: Path, page: Page) -> None:
    with demo("features", wspy_home) as address:
        page.goto(address)
        page.locator("#fired").get_by_text("make dictionary").wait_for()
