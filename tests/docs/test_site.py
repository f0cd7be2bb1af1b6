"""The site as a reader opens it: built with warnings as errors, from disk, without a network."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
SHOWN = DOCS / "assets" / "findings"
MEGABYTE = 1_000_000


def load(path: Path) -> ModuleType:
    """A script of the documentation, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_gen_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, and a failure where MkDocs warns of anything."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


# --- what is kept -----------------------------------------------------------------------------------------


def test_the_findings_say_the_numbers_that_were_measured() -> None:
    page = load(DOCS / "gen" / "findings" / "page.py")
    assert (DOCS / "findings.md").read_text(encoding="utf-8") == page.render(), "run: python docs/gen/findings/page.py"
    assert set(json.loads((SHOWN / "numbers.json").read_text(encoding="utf-8"))) == page.names()


def test_everything_that_is_shown_is_there_and_small() -> None:
    text = (DOCS / "findings.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"<!-- show: ([\w.-]+) -->", text))
    kept = {path.stem for path in SHOWN.glob("*.json")} - {"numbers"}
    assert shown == kept
    named = {name for path in SHOWN.glob("*.json") for name in re.findall(r'"file":"([^"]+)"', path.read_text("utf-8"))}
    sounds = {path.name: path.stat().st_size for path in (SHOWN / "audio").iterdir()}
    assert named == set(sounds)
    assert sum(sounds.values()) < 3 * MEGABYTE
    # Only what may be passed on: see the licences in the README of the recordings.
    assert not any(set_ in name for name in sounds for set_ in ("timit", "grid", "english"))


def test_notebooks_keep_only_what_was_printed() -> None:
    for path in (DOCS / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert all(output["name"] == "stdout" for output in cell.get("outputs", []))
        assert path.stat().st_size < 30_000


# --- what is built ----------------------------------------------------------------------------------------


def test_no_page_names_a_file_of_another_server(site: Path) -> None:
    fetched = re.compile(r"""<(?:script|img|link|audio|iframe)\b[^>]*?(?:src|href)=["']?(https?:[^"'> ]+)""")
    for path in site.rglob("*.html"):
        found = [url for url in fetched.findall(path.read_text("utf-8")) if "canonical" not in url]
        assert found == [], path
    assert not re.search(r"url\(\s*['\"]?https?:", (DOCS / "assets" / "site.css").read_text("utf-8"))


def test_plotly_comes_packed_and_whole(site: Path) -> None:
    from wspy.html import plotly_js

    script = (site / "assets" / "plotly.js").read_text(encoding="utf-8")
    letters = script.removeprefix('window.packedPlotly="').removesuffix('";\n')
    assert not set(letters) & set('\0\n\r"<\\')
    bits = "".join(format(ord(letter) & 127, "07b") for letter in letters)
    packed = int(bits[: len(bits) // 8 * 8], 2).to_bytes(len(bits) // 8, "big")
    assert zlib.decompressobj(wbits=31).decompress(packed) == plotly_js().read_bytes()  # of the form of gzip


def test_notebooks_are_pages(site: Path) -> None:
    tour = (site / "notebooks" / "tour.html").read_text(encoding="utf-8")
    assert "ensure_demo" in tour
    assert (site / "notebooks" / "tour.ipynb").is_file()


# --- what a browser does with it --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--mute-audio"]
        )
        yield opened
        opened.close()


class Visit:
    """A page opened from disk, with what it asked for and complained of."""

    def __init__(self, browser: Browser, path: Path, width: int, scheme: str) -> None:
        self.asked: list[str] = []
        self.complained: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        self.page: Page = context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complained.append(str(error)))
        self.page.on("console", lambda said: self.complained.append(said.text) if said.type == "error" else None)
        self.page.goto(path.as_uri())

    def bytes_loaded(self) -> int:
        """The size of all files that it took, sounds left out."""
        files = {url.removeprefix("file://").partition("#")[0].partition("?")[0] for url in self.asked}
        return sum(Path(name).stat().st_size for name in files if Path(name).is_file() and not name.endswith(".mp3"))


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_the_findings_open_from_disk(site: Path, browser: Browser, width: int, scheme: str) -> None:
    visit = Visit(browser, site / "findings.html", width, scheme)
    page = visit.page
    plots = page.locator(".wf-plot")
    for at in range(plots.count()):
        plots.nth(at).scroll_into_view_if_needed()
        page.wait_for_selector(f":nth-match(.wf-plot, {at + 1})[data-drawn]", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # A word is pressed, and what is left is another text.
    before = page.locator(".wf-cut-left").inner_text()
    page.locator(".wf-cut-words button").nth(3).click()
    assert page.locator(".wf-cut-words button").nth(3).get_attribute("aria-pressed") == "true"
    page.locator(".wf-cut-models button").nth(1).click()
    assert page.locator(".wf-cut-left").inner_text()
    assert before
    # A sound begins, and another press stops it.
    sound = page.locator("a.wf-play").first
    sound.click()
    assert sound.get_attribute("data-playing") == "yes"
    sound.click()
    assert sound.get_attribute("data-playing") is None
    assert [url for url in visit.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert visit.complained == []
    assert visit.bytes_loaded() < 3 * MEGABYTE
    page.context.close()


@pytest.mark.browser
def test_the_search_works_from_disk(site: Path, browser: Browser) -> None:
    visit = Visit(browser, site / "index.html", 1280, "light")
    visit.page.keyboard.press("/")
    visit.page.wait_for_selector("input.md-search__input:focus")
    visit.page.wait_for_function("document.querySelector('.md-search-result__meta').textContent.includes('Type')")
    visit.page.keyboard.type("condensed", delay=20)
    visit.page.wait_for_selector(".md-search-result__link")
    assert "condensed" in (visit.page.locator(".md-search-result__link").first.get_attribute("href") or "")
    assert [url for url in visit.asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
    assert visit.complained == []
    visit.page.context.close()


def test_numbers_are_text(site: Path) -> None:
    numbers = json.loads((SHOWN / "numbers.json").read_text(encoding="utf-8"))
    assert all(isinstance(value, str) and value for value in numbers.values())
    assert "{{" not in (site / "findings.html").read_text(encoding="utf-8")
