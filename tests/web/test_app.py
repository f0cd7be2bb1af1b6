"""`wspy demo` in a real browser: every analysis on real sound, on its own page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import picture
from wspy.fields import input_fields
from wspy.plugins import load_plugins

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator, Page

pytestmark = [pytest.mark.real, pytest.mark.browser]

QUESTIONS = {
    "ablate": "layer=2&idx=3&clips=4&controls=1&transcripts=2",
    "bigrams": "prompt=%20traffic",
    "chop": "say=0&word=questions",
    "embeddings": "word=%20rug&sample=200&map=false",
    "features": "say=0&sae=toy&top=4",
    "heads": "limit=2&causal=false",
    "hello": "clips=3",
    "neuron": "layer=2&idx=3&top=3",
    "rollout": "say=0",
    "semantic": "layer=0&idx=10&top=2",
    "semantic-layer": "layer=0&neurons=40&random_weights=false",
    "phones": "layer=2&top=5",
    "steer": "say=0&sae=toy&idx=3&factor=8&controls=1",
    "unit": "site=encoder.blocks.1.mlp.1&idx=5&top=2",
    "window": "say=1&k=75",
}
"""Small questions: the links are those that a person could send."""
SOUNDS = {"chop", "features", "hello", "neuron", "rollout", "semantic", "steer", "unit", "window"}
FIGURES = {"bigrams", "chop", "heads", "neuron", "phones", "rollout", "semantic", "unit", "window"}


def result(page: Page) -> FrameLocator:
    """The frame with the report, once it is there and has said how tall it is."""
    page.wait_for_selector("iframe.wspy-run")
    page.wait_for_function("parseFloat(document.querySelector('iframe.wspy-run').style.height) > 300")
    return page.frame_locator("iframe.wspy-run")


def test_every_registered_analysis_has_a_question_here() -> None:
    found = load_plugins()
    needs_dictionary = {name for name in found.analyses if found.owner(name).name == "sae"}
    assert found.analyses.keys() - QUESTIONS.keys() - needs_dictionary == set()


def test_every_page_has_its_form(app: str, page: Page) -> None:
    for name, analysis in load_plugins().analyses.items():
        page.goto(f"{app}/{name}")
        page.locator("#wspy-run").wait_for()
        for folded in page.locator(".wspy-form button.label-wrap").all():
            folded.click()
        page.get_by_text("Of every random choice.").wait_for()
        text = page.locator("body").text_content() or ""
        for field in input_fields(analysis.Inputs):
            assert field.description.replace("`", "") in text, (name, field.name)


@pytest.mark.parametrize("name", QUESTIONS)
def test_each_analysis_runs_is_heard_and_drawn(name: str, app: str, page: Page) -> None:
    page.goto(f"{app}/{name}?{QUESTIONS[name]}")
    frame = result(page)
    if name in SOUNDS:
        player = frame.locator("audio").first
        player.scroll_into_view_if_needed()
        player.evaluate(
            "a => new Promise((go) => { if (a.readyState) return go(); a.onloadedmetadata = go; a.load(); })"
        )
        assert player.evaluate("a => a.duration") > 0.5
        moved = """a => new Promise((go) => {
            a.ontimeupdate = () => a.currentTime > 0 && go(true); setTimeout(() => go(false), 10_000); a.play();
        })"""
        assert player.evaluate(moved)
        player.evaluate("a => a.pause()")
    if name in FIGURES:
        plot = frame.locator(".plot").first
        plot.scroll_into_view_if_needed()
        frame.locator(".plot[data-drawn]").first.wait_for()
    assert frame.locator("tbody tr").count() > 0
    page.evaluate("scrollTo(0, 0)")
    picture(page, f"analysis-{name}")


def test_the_first_page_leads_to_every_analysis(app: str, page: Page) -> None:
    page.goto(app)
    page.wait_for_selector(".wspy-card")
    named = set(page.locator(".wspy-card b").all_inner_texts())
    assert named == {*load_plugins().analyses, "hello"}  # the third party's among them
    picture(page, "home")
    page.locator(".wspy-card", has_text="changes most").click()
    page.wait_for_selector("#wspy-run")
    assert page.get_by_label("top").is_visible()
    assert "How many of the strongest to show, 1 to 20." in page.locator(".wspy-form").inner_text()


def test_the_form_is_filled_by_hand_and_by_keyboard_alone(app: str, page: Page) -> None:
    page.goto(f"{app}/neuron")
    page.get_by_label("layer").click()
    page.keyboard.type("1")
    page.keyboard.press("Tab")
    page.keyboard.type("7")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "wspy-run":
            break
    page.keyboard.press("Enter")
    frame = result(page)
    assert "Neuron 7 of encoder.blocks.1.mlp.1" in frame.locator("main").inner_text()
    # The address is one that asks the same again.
    assert re.search(r"/neuron\?layer=1&idx=7$", page.url)


def test_bad_input_is_a_toast_of_one_line(app: str, page: Page) -> None:
    page.goto(f"{app}/neuron?layer=9&idx=3")
    toast = page.get_by_test_id("toast-body")
    toast.wait_for()
    assert "Layer 9 does not exist in the encoder of tiny.en: choose 0 to 3." in toast.inner_text()
    assert "Traceback" not in page.content()
    page.goto(f"{app}/unit?site=encoder.blocks.1&idx=3")
    toast.wait_for()
    assert "visitors of this page may not make it" in toast.inner_text()


def test_a_recording_is_uploaded_and_its_place_on_the_server_stays_unsaid(app: str, page: Page, web_home: Path) -> None:
    page.goto(f"{app}/rollout")
    page.set_input_files("input[type=file]", web_home / "sounds" / "3.wav")
    page.wait_for_selector(".wspy-form .component-wrapper")
    page.locator("#wspy-run").click()
    frame = result(page)
    shown = frame.locator("html").inner_html()
    assert "/tmp/" not in shown and "3.wav" in shown


def test_what_was_found_can_be_downloaded(app: str, page: Page) -> None:
    page.goto(f"{app}/hello?clips=3")
    result(page)
    for text, ending in (("Everything", "zip"), ("JSON", "json")):
        with page.expect_download() as download:
            page.locator(".wspy-downloads").get_by_text(text).click()
        assert download.value.suggested_filename.endswith(ending)
    page.locator(".wspy-downloads summary").click()
    with page.expect_download() as download:
        page.get_by_text("strongest-clips").click()
    assert Path(download.value.path()).read_text().startswith("clip,change,at (s),text")


def test_long_work_can_be_cancelled_and_hinders_nobody(app: str, browser: Browser, page: Page) -> None:
    page.goto(f"{app}/ablate?layer=2&idx=3&clips=24&controls=20&transcripts=24")
    page.wait_for_selector("#wspy-state progress")
    other = browser.new_context().new_page()  # somebody else, at the same time
    other.set_default_timeout(60_000)
    other.goto(f"{app}/neuron?layer=0&idx=1&top=2")
    assert "Neuron 1 of encoder.blocks.0.mlp.1" in result(other).locator("main").inner_text()
    assert page.locator("#wspy-state progress").count() == 1  # the long one is still at work
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    other.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone(scheme: str, app: str, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 860}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{app}/neuron?layer=2&idx=3&top=2")
    frame = result(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.locator("iframe.wspy-run").scroll_into_view_if_needed()
    frame.locator(".plot").first.scroll_into_view_if_needed()
    frame.locator(".plot[data-drawn]").first.wait_for()
    ink = frame.locator("body").evaluate("b => getComputedStyle(b).color")
    assert (min(int(part) for part in re.findall(r"\d+", ink)[:3]) > 150) == (scheme == "dark")
    picture(page, f"telephone-{scheme}")
    context.close()


def test_nothing_is_fetched_from_elsewhere(app: str, page: Page) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(re.sub(r"^(\w+:/*[^/:]*).*", r"\1", request.url)))
    page.goto(f"{app}/hello?clips=3")
    result(page)
    assert hosts <= {"http://127.0.0.1"}
