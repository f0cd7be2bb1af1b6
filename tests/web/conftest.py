"""One small corpus with its atlas, one running app and one browser for all tests of the web side."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REPOSITORY = Path(__file__).resolve().parents[2]
HELLO = REPOSITORY / "docs" / "examples" / "wspy-hello"
N_CLIPS = 24

MAKE_HOME = f"""
import csv, sys
from pathlib import Path
import numpy as np
import wspy
from tests.plugins.toy_dictionaries import kept
from wspy.atlas import ensure_atlases
from wspy.audio import write_wav
from wspy.corpus.demo import Voice
from wspy.corpus.sentences import sentence

folder = Path(sys.argv[1])
folder.mkdir(parents=True)
voice, rng = Voice(), np.random.default_rng(0)
with (folder / "manifest.csv").open("w", newline="") as lines:
    writer = csv.writer(lines)
    writer.writerow(["path", "text", "speaker"])
    for n in range({N_CLIPS}):
        text = sentence(rng)
        pitch = (0.85, 1.0, 1.15)[n % 3]
        write_wav(folder / f"{{n}}.wav", voice.say(text, 1.1, pitch, n)[:48_000])
        writer.writerow([f"{{n}}.wav", " ".join(text.split()[:6]), f"voice-{{n % 3}}"])
corpus = wspy.make_corpus("demo", str(folder / "manifest.csv"), align=True)
model = wspy.load_model("tiny.en")
encoder = [f"encoder.blocks.{{layer}}.mlp.1" for layer in range(4)]
for sites, speed in ((encoder, "condensed"), (["decoder.blocks.0.mlp.1"], "exact")):
    ensure_atlases(sites, model.reference, corpus, model=lambda: model, speed=speed)
wspy.analyze("phones", corpus=corpus, model=model)
kept(model, site="encoder.blocks.2", d_in=384, d_sae=200)
"""


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the apps of a test put aside goes with the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture(scope="session")
def web_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a corpus `demo` of a few spoken clips and its atlases, made once for all workers of a test run."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    home = shared / "web_home"
    with filelock.FileLock(shared / "web_home.lock"):
        if not (home / "made").is_file():
            environment = {**os.environ, "WSPY_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
            subprocess.run([sys.executable, "-c", MAKE_HOME, str(home / "sounds")], env=environment, check=True)
            (home / "made").touch()
    return home


Start = Callable[..., "contextlib.AbstractContextManager[str]"]


@contextlib.contextmanager
def started(words: list[str], home: Path, when: str = "(?:open|URL:)", **env: str) -> Iterator[str]:
    """A web app as a process of its own, and the address at which it says it is open (or `when` else)."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), env.pop("PYTHONPATH", ""), os.environ.get("PYTHONPATH", "")]))
    environment = {
        **os.environ,
        "WSPY_HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": path,
    }
    environment |= {"TMPDIR": str(home.parent), **env}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if found := re.search(rf"{when} +(http://\S+?)/?$", line.strip()):
                yield found[1]
                break
        else:
            raise AssertionError("the app did not start: " + "".join(said))
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture(scope="session")
def hello_on_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin of the tutorial as an installed distribution, in a folder to be put on sys.path."""
    folder = tmp_path_factory.mktemp("third-party")
    info = folder / "wspy_hello-0.1.0.dist-info"
    info.mkdir()
    shutil.copy(HELLO / "wspy_hello.py", folder)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wspy-hello\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[wspy]\nhello = wspy_hello\n")
    return folder


@pytest.fixture(scope="session")
def app(web_home: Path, hello_on_path: Path) -> Iterator[str]:
    """`wspy demo` with every analysis, one of a third party among them."""
    with started([sys.executable, "-m", "wspy.cli", "demo"], web_home, PYTHONPATH=str(hello_on_path)) as address:
        yield address


@pytest.fixture(scope="session")
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


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a visitor of its own, that fails the test where the page itself fails."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(120_000)
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("dialog", lambda dialog: troubles.append(f"dialog {dialog.message}"))
    yield opened
    context.close()
    assert troubles == []


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page below `build/screenshots`."""
    folder = REPOSITORY / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")
