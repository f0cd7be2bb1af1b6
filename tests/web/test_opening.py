"""The page that stands in for an app while it starts."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from wspy.errors import BadServer
from wspy.web import opening as module
from wspy.web.address import Server
from wspy.web.opening import Opening, take_over


@pytest.fixture
def opening() -> Iterator[Opening]:
    made = Opening("<b>App", "<h1>Head</h1>", "127.0.0.1", free_port(), "Starting <now>")
    yield made
    made.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def get(opening: Opening, path: str, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", opening.port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}


def test_every_address_shows_the_page_and_says_that_it_is_not_the_app_yet(opening: Opening) -> None:
    for path in ("/", "/neuron?layer=2&idx=3", "/etc/passwd", "/../../etc/passwd", "/run/x/result.json"):
        code, body, headers = get(opening, path)
        assert code == 503 and headers["retry-after"] == "1" and headers["cache-control"] == "no-store"
        assert "<h1>Head</h1>" in body and "&lt;b&gt;App" in body and "Starting &lt;now&gt;" in body
        assert "root:" not in body and "passwd" not in body
    assert get(opening, "/", "HEAD")[1] == ""
    policy = headers["content-security-policy"]
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert f'<script nonce="{nonce}">' in body and "default-src 'none'" in policy


def test_it_says_how_far_a_loop_is(opening: Opening) -> None:
    steps = opening.track(["a", "b"], "Listening", unit="clips")
    next(steps)
    assert "Listening" in get(opening, "/")[1]
    next(steps)
    assert "Listening: 1 of 2 clips, about 0:00 left" in get(opening, "/")[1]
    opening.note("Drawing")
    assert "Drawing" in get(opening, "/")[1]


def test_a_port_that_is_taken_is_refused_at_once(opening: Opening) -> None:
    with pytest.raises(BadServer, match=f"--port.*port {opening.port}"):
        Opening("App", "", "127.0.0.1", opening.port, "")


def test_the_app_gets_the_address_of_its_first_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    opened = module.open_early("App", server=Server(port=free_port()))
    assert take_over() is opened and take_over() is None
    with socket.socket() as app:
        app.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        app.bind(("127.0.0.1", opened.port))
    assert not [thread for thread in threading.enumerate() if thread.name == "wspy-opening"]


def test_what_is_open_to_others_is_said_before_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")  # as a hosted Space does
    monkeypatch.setenv("GRADIO_SERVER_PORT", str(free_port()))
    module.open_early("App")
    take_over()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("wspy: Everybody who reaches this machine at 0.0.0.0 can use the app")
    assert second.startswith("wspy: starting at http://localhost:")


def test_the_first_page_needs_neither_gradio_nor_torch() -> None:
    code = (
        "import sys; from wspy.plugins import load_plugins; from wspy.web import Server, open_early; "
        "from wspy.web.welcome import welcome; welcome(load_plugins().analyses); open_early('x'); "
        "print([name for name in ('gradio', 'torch', 'pandas', 'whisper') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr.startswith("wspy: starting at http://127.0.0.1:")
