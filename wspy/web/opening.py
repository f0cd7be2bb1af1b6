"""The page that is there at once: an app answers in its first second, while gradio is still being imported.

Importing gradio and putting the pages together takes some seconds. Until then a small server of the standard library
holds the app's address: its page says what the app is and what it is doing, and turns into the app by itself.
"""

from __future__ import annotations

import html
import http.server
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Sized
from http import HTTPStatus
from pathlib import Path
from time import monotonic
from typing import TypeVar

from wspy.errors import BadServer
from wspy.web.address import Server, exposure, server_of_environment

T = TypeVar("T")
FIRST_PORT, PORTS = 7860, 100
_IDLE_S = 10.0
_WAITING = """
const state = document.querySelector("[role=status]");
const look = async () => {
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (answer.status !== 503) return location.reload();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    state.textContent = page.querySelector("[role=status]").textContent;
  } catch { /* for a moment nobody answers: one server hands over to the other */ }
  setTimeout(look, 300);
};
setTimeout(look, 300);
"""
_COLOURS = """
:root { color-scheme: light dark; --body-text-color: #1f2937; --body-text-color-subdued: #5d636b;
  --border-color-primary: #e5e7eb; --block-background-fill: #fff; --background-fill-primary: #fff;
  --background-fill-secondary: #f3f4f6; --link-text-color: #2563eb; --ground: #fff; }
@media (prefers-color-scheme: dark) { :root { --body-text-color: #f3f4f6; --body-text-color-subdued: #9ba2aa;
  --border-color-primary: #374151; --block-background-fill: #1f2937; --background-fill-primary: #0b0f19;
  --background-fill-secondary: #111827; --link-text-color: #60a5fa; --ground: #0b0f19; } }
body { margin: 0 auto; max-width: 1560px; padding: 0 20px 40px;
  background: var(--ground); color: var(--body-text-color);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
.wspy-state { position: sticky; bottom: 0; margin: 12px 0; padding: 10px 0; background: var(--ground);
  font-size: 16px; }
.wspy-state progress { max-width: 360px; }
"""


class Opening:
    """A server that shows one page until the app takes its address over; it implements `wspy.progress.Progress`."""

    def __init__(self, title: str, head: str, host: str, port: int | None, message: str) -> None:
        """Listen.

        Raises:
            BadServer: the address cannot be had.
        """
        self.title, self.head, self.message = title, head, message
        self.host = host
        self._server = _listening(self, host, port)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="wspy-opening", daemon=True).start()

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        host = "localhost" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def close(self) -> None:
        """Give the address free."""
        self._server.shutdown()
        self._server.server_close()

    def note(self, message: str) -> None:
        """Say one line."""
        self.message = message

    def track(self, items: Iterable[T], description: str, total: int | None = None, unit: str = "clips") -> Iterator[T]:
        """Say how far a loop is and how long it has left."""
        total = len(items) if total is None and isinstance(items, Sized) else total
        began = monotonic()
        self.message = description
        for done, item in enumerate(items, 1):
            yield item
            self.message = f"{description}: {done:,} {unit}"
            if total:
                left = round((monotonic() - began) / done * (total - done))
                self.message = f"{description}: {done:,} of {total:,} {unit}, about {left // 60}:{left % 60:02} left"

    def page(self, nonce: str) -> str:
        """The page as it is now."""
        css = (Path(__file__).parent / "assets" / "web.css").read_text("utf-8")
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<noscript><meta http-equiv="refresh" content="2"></noscript>\n'
            f"<title>{html.escape(self.title)}</title>\n<style>{css}{_COLOURS}</style>\n</head>\n<body>\n{self.head}\n"
            f'<p class="wspy-state"><progress></progress> <span role="status">{html.escape(self.message)}</span></p>\n'
            f'<script nonce="{nonce}">{_WAITING}</script>\n</body>\n</html>\n'
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = _IDLE_S
    opening: Opening

    def do_GET(self) -> None:
        nonce = secrets.token_urlsafe(12)
        body = self.opening.page(nonce).encode()
        self.send_response(HTTPStatus.SERVICE_UNAVAILABLE)
        policy = f"default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; script-src 'nonce-{nonce}'"
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", policy),
            ("Cache-Control", "no-store"),
            ("Retry-After", "1"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of who looks."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A visitor who hangs up is nothing to report."""


def _listening(opening: Opening, host: str, port: int | None) -> _Server:
    handler = type("Handler", (_Handler,), {"opening": opening})
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = type("Server", (_Server,), {"address_family": family})
    first = int(os.environ.get("GRADIO_SERVER_PORT") or FIRST_PORT)
    trouble = ""
    for at in (port,) if port else range(first, first + PORTS):
        try:
            made: _Server = server((host, at), handler)
        except OSError as error:
            trouble = f"{error.strerror or error} (port {at})"
        else:
            return made
    if port:
        raise BadServer("--port", trouble, "choose another, or leave it out for the first free one")
    raise BadServer("--host", trouble, "give an address of this machine, such as 127.0.0.1 or 0.0.0.0")


# --- the one of this process --------------------------------------------------------------------------------

_opened: list[Opening] = []


def open_early(
    title: str, head: str = "", *, server: Server | None = None, message: str = "Starting: a few seconds"
) -> Opening:
    """Show a first page at the address that the app of this process will have, and say on stderr where that is and to
    whom it is open.

    Args:
        title: Name of the app.
        head: HTML above the state; the title if left out.
        server: Where to listen; what gradio's variables say, this machine alone without them, if left out.
        message: What is being done.

    Raises:
        BadServer: the address cannot be had, or only half a login is given.
    """
    server = server or server_of_environment()
    server.check()
    for line in exposure(server):
        print(f"wspy: {line}", file=sys.stderr)
    if not head:
        head = f'<header class="wspy-head"><h1>{html.escape(title)}</h1></header>'
    opening = Opening(title, head, server.host, server.port, message)
    _opened.append(opening)
    # A server is ended by a signal: what visitors left behind must be deleted then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"wspy: starting at {opening.address}", file=sys.stderr, flush=True)
    return opening


def take_over() -> Opening | None:
    """End the first page of this process, if there is one, so that the app can have its address."""
    if not _opened:
        return None
    opening = _opened.pop()
    opening.close()
    return opening
