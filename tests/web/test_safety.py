"""What a visitor must not get: files of the server, other people's runs, more room than is given, or a script run."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import numpy as np
import pytest

from tests.web.conftest import started
from wspy.audio import SAMPLE_RATE, write_wav
from wspy.errors import BadServer
from wspy.web.pictures import chips_html, difference_html, map_html, sound_html, words_html
from wspy.web.server import Server, exposure, launch_options, serve
from wspy.web.studio import Studio
from wspy.web.welcome import navigation, welcome

if TYPE_CHECKING:
    from playwright.sync_api import Page

ATTACK = '<script>alert("1")</script>'


def get(address: str, path: str, cookie: str = "") -> tuple[int, str, dict[str, str]]:
    """A path as it is written, without a client that tidies it up."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    connection.putrequest("GET", path, skip_accept_encoding=True)
    if cookie:
        connection.putheader("Cookie", cookie)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}


def ask(address: str, name: str, data: list[object]) -> str:
    """What an endpoint answers, all events of it."""
    body = json.dumps({"data": data}).encode()
    request = urllib.request.Request(f"{address}/gradio_api/call/{name}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{address}/gradio_api/call/{name}/{event}", timeout=60) as answer:
            said: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"
    return said


def ask_hello(address: str) -> str:
    """A finished run: its name."""
    said = ask(address, "hello", [0, 2, 1, "tiny.en", "demo", 0])
    return said.partition("run/")[2].partition("/report.html")[0]


@pytest.mark.real
def test_a_kept_run_is_served_with_careful_headers(app: str) -> None:
    run = ask_hello(app)
    code, body, headers = get(app, f"/run/{run}/report.html")
    assert code == 200 and "<h1>hello</h1>" in body
    assert headers["content-security-policy"] == "frame-ancestors 'self'"
    assert headers["x-content-type-options"] == "nosniff"
    code, _, headers = get(app, f"/run/{run}/clips/1.wav")
    assert code == 200 and headers["content-type"] == "audio/wav" and headers["accept-ranges"] == "bytes"


@pytest.mark.real
def test_no_path_leads_out_of_a_run(app: str, web_home: Path) -> None:
    run = ask_hello(app)
    clip = next((web_home / "corpora" / "demo").rglob("*.flac"))
    wanted = ["etc/passwd", "root/.bashrc", str(Path.home() / ".bashrc")[1:], str(clip)[1:]]
    ways = ["/", "../" * 12, "..%2f" * 12, "%2e%2e/" * 12, "%2e%2e%2f" * 12, "..%5c" * 12, "....//" * 12, "%00/", "./"]
    for path in wanted:
        for way in ways:
            for start in (f"/run/{run}/", "/run/x/", "/run/", f"/run/{run}%2f", "/run/..%2f"):
                code, body, _ = get(app, start + way + path)
                assert code in (301, 307, 400, 403, 404), (start, way, path)
                assert "root:" not in body
    for name in ("../../etc/passwd", "%2e%2e", run[:-2] + "xx", "hello." + "A" * 22):
        assert get(app, f"/?run={name}")[0] == 200  # the page opens, and says that it keeps no such run
        assert get(app, f"/run/{name}/report.html")[0] == 404


@pytest.mark.real
def test_gradios_own_routes_hand_out_no_file_of_the_server(app: str, web_home: Path) -> None:
    clip = next((web_home / "corpora" / "demo").rglob("*.flac"))
    statistics = next((web_home / "atlases").rglob("statistics.safetensors"))
    for path in (
        "/etc/passwd",
        "/root/.bashrc",
        str(Path.home()),
        str(clip),
        str(statistics),
        __file__,
        "pyproject.toml",
    ):
        for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/", "/svelte/"):
            for way in ("", "/..", "%2f..%2f.."):
                code, body, _ = get(app, route + way + path)
                assert code != 200, route + way + path
                assert "root:" not in body


@pytest.mark.real
def test_no_endpoint_takes_a_path_for_a_recording_a_model_or_a_corpus(app: str, web_home: Path) -> None:
    clip = next((web_home / "corpora" / "demo").rglob("*.flac"))
    rest = ["encoder", "", 1, "", "tiny.en", "demo", 0]
    for path in ("/etc/passwd", str(clip)):
        said = ask(app, "rollout", [{"path": path, "meta": {"_type": "gradio.FileData"}}, *rest])
        assert "event: error" in said and "run/" not in said and "root:" not in said
    for model, corpus in (("/etc/passwd", "demo"), ("tiny.en", str(web_home)), ("tiny.en", "../demo")):
        said = ask(app, "hello", [0, 2, 1, model, corpus, 0])
        assert "event: error" in said and "run/" not in said


@pytest.mark.real
def test_what_is_too_large_is_not_taken(app: str) -> None:
    edge = "----x"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="../../a.wav"\r\n\r\n'.encode()
    for megabytes, codes in ((26, (413,)), (1, (200,))):
        body = head + b"0" * (megabytes * 1_000_000) + f"\r\n--{edge}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={edge}"}
        request = urllib.request.Request(f"{app}/gradio_api/upload", body, kind)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                code, said = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            code, said = error.code, ""
        except urllib.error.URLError:  # it hung up while being sent too much
            code, said = 413, ""
        assert code in codes
        assert ".." not in said


@pytest.mark.real
def test_a_login_guards_the_runs_as_well(web_home: Path, hello_on_path: Path) -> None:
    words = [sys.executable, "-m", "wspy.cli", "demo", "hello", "--user", "me"]
    with started(words, web_home, PYTHONPATH=str(hello_on_path), WSPY_PASSWORD="secret") as address:
        assert ask(address, "hello", [0, 2, 1, "tiny.en", "demo", 0]).startswith("401")
        body = b"username=me&password=secret"
        with urllib.request.urlopen(f"{address}/login", body, timeout=30) as answer:
            cookies = "; ".join(value.partition(";")[0] for value in answer.headers.get_all("Set-Cookie"))
        name = "hello." + "A" * 22
        assert get(address, f"/run/{name}/report.html")[0] == 401
        assert get(address, f"/run/{name}/report.html", cookies)[0] == 404


@pytest.mark.real
def test_nothing_of_the_visitors_stays_when_the_app_ends(web_home: Path, hello_on_path: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "wspy.cli", "demo", "hello"]
    with started(words, web_home, PYTHONPATH=str(hello_on_path), TMPDIR=str(tmp_path)) as address:
        assert ask_hello(address)
        assert list(tmp_path.glob("wspy-web-*/runs/hello.*"))
    assert list(tmp_path.glob("wspy-*")) == []


@pytest.mark.real
def test_an_app_listens_on_this_machine_alone(app: str) -> None:
    port = urlsplit(app).port
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        pass
    # An app that listened everywhere would answer here, too.
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", port), timeout=10):
        pass


@pytest.mark.real
def test_what_lasts_too_long_is_not_taken(app: str, tmp_path: Path) -> None:
    write_wav(tmp_path / "long.wav", np.sin(np.arange(61 * SAMPLE_RATE) * 0.1).astype(np.float32) / 2)
    edge = "----x"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="long.wav"\r\n\r\n'.encode()
    body = head + (tmp_path / "long.wav").read_bytes() + f"\r\n--{edge}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    with urllib.request.urlopen(urllib.request.Request(f"{app}/gradio_api/upload", body, kind), timeout=60) as answer:
        (path,) = json.load(answer)
    sound = {"path": path, "meta": {"_type": "gradio.FileData"}}
    said = ask(app, "rollout", [sound, "encoder", "", 1, "", "tiny.en", "demo", 0])
    assert "event: error" in said and "lasts more than 60 s" in said and path not in said


@pytest.mark.real
@pytest.mark.browser
def test_links_cannot_name_what_is_not_offered(app: str, page: Page) -> None:
    for link, told in (
        ("neuron?run=../../../../etc/passwd", "is not kept any more"),
        ("neuron?run=%2e%2e%2f%2e%2e%2fetc%2fpasswd", "is not kept any more"),
        ("unit?site=/etc/passwd&idx=1", "This page offers no site"),
        ("neuron?layer=2&idx=../../etc/passwd", "idx"),
    ):
        page.goto(f"{app}/{link}")
        toast = page.get_by_test_id("toast-body")
        toast.get_by_text(told).wait_for()
        assert "root:" not in page.content() and "Traceback" not in page.content()
    # A model or a corpus that is none becomes the first that is.
    page.goto(f"{app}/neuron?layer=2&idx=3&top=1&model=/etc/passwd&corpus=../..")
    page.frame_locator("iframe.wspy-run").get_by_text("Neuron 3 of encoder.blocks.2.mlp.1 in tiny.en").wait_for()


@pytest.mark.real
@pytest.mark.browser
def test_words_that_are_html_are_shown_as_they_are(app: str, page: Page) -> None:
    attack = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    page.goto(f"{app}/bigrams?prompt={quote(attack)}&top=3")  # a dialog would fail the test
    frame = page.frame_locator("iframe.wspy-run")
    frame.get_by_text("onerror=alert(1)").first.wait_for()
    assert frame.locator("main img, main script:not(.spec)").count() == 0
    page.goto(f"{app}/unit?site={quote(attack)}&idx=1")
    page.get_by_test_id("toast-body").wait_for()
    assert page.locator("[data-testid=toast-body] img").count() == 0


def test_only_this_machine_is_told_nothing() -> None:
    assert exposure(Server()) == []
    (line,) = exposure(Server(host="0.0.0.0"))
    assert "Everybody who reaches this machine at 0.0.0.0" in line and "There is no login" in line
    (line,) = exposure(Server(share=True, user="me", password="x"))
    assert "from the internet" in line and "no login" not in line


def test_half_a_login_is_refused(wspy_home: Path) -> None:
    with pytest.raises(BadServer, match="--user: a login needs both"):
        serve(None, None, Server(user="me"))  # type: ignore[arg-type]


def test_nothing_that_reports_or_watches_is_switched_on(wspy_home: Path) -> None:
    options = launch_options(Studio())
    assert options["enable_monitoring"] is False and options["run_history"] is False and options["pwa"] is False
    assert options["max_file_size"] == 25_000_000


def test_words_of_others_stay_words() -> None:
    class Evil:
        summary = ATTACK

    mel = np.zeros((80, 100), np.float32)
    shown = [
        words_html([(ATTACK, ATTACK)], hint=ATTACK),
        sound_html(mel, 1.0, [(0.1, 0.5, ATTACK)]),
        map_html([(0, 0, ATTACK, ATTACK), (1, 1, "none", "x")], ATTACK, caption=ATTACK),
        chips_html(ATTACK, [(ATTACK, ATTACK)]),
        difference_html(f"a {ATTACK}", f"b {ATTACK}"),
        navigation([ATTACK], ""),
        welcome({ATTACK: Evil}),  # type: ignore[dict-item]
    ]
    for made in shown:
        assert "<script" not in made and 'alert("1")' not in made
        assert "&lt;script&gt;" in made
