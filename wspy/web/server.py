"""Starting an app: where it listens, who may enter, and what that exposes."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from wspy.errors import BadServer
from wspy.web.routes import run_routes
from wspy.web.studio import Studio

SESSIONS_KEPT = 100
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Server:
    """Where an app listens and who may enter."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None takes the first free one from 7860 on."""
    share: bool = False
    """Whether gradio's relay gives the app a public address."""
    user: str | None = None
    password: str | None = None


def launch_options(studio: Studio) -> dict[str, object]:
    """What `launch` needs for an app of wspy, wherever it runs."""
    return {
        "app_kwargs": {"routes": list(run_routes(studio.store))},
        "css": _asset("web.css"),
        "head": f"<script>{_asset('web.js')}</script>",
        "theme": theme(),
        "max_file_size": studio.settings.max_upload_mb * 1_000_000,
        "show_error": True,
        "footer_links": ["settings"],
        # Gradio keeps a copy of every control for each visitor, half a megabyte for an app of this size.
        "state_session_capacity": SESSIONS_KEPT,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "enable_monitoring": False,
        "run_history": False,
        "favicon_path": str(Path(__file__).parent / "assets" / "favicon.svg"),
    }


def serve(app: gr.Blocks, studio: Studio, server: Server) -> None:
    """Serve an app until Ctrl-C, and say on stderr what is open to whom.

    Raises:
        BadServer: a user without a password or the other way round, or an address that cannot be had.
    """
    if (server.user is None) != (server.password is None):
        raise BadServer("--user", "a login needs both a user and a password")
    for line in exposure(server):
        print(f"wspy: {line}", file=sys.stderr)
    auth = (server.user, server.password) if server.user and server.password else None
    app.queue(default_concurrency_limit=4)
    try:
        _, local, shared = app.launch(
            server_name=server.host,
            server_port=server.port,
            share=server.share,
            auth=auth,
            quiet=True,
            prevent_thread_lock=True,
            **launch_options(studio),  # type: ignore[arg-type]
        )
    except OSError as error:
        raise BadServer("--port" if server.port else "--host", str(error).splitlines()[0].rstrip(".")) from error
    print(f"wspy: open {local}", file=sys.stderr, flush=True)
    if shared:
        print(f"wspy: shared as {shared}", file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the runs are deleted then, too
    try:
        app.block_thread()
    finally:
        studio.close()


def exposure(server: Server) -> list[str]:
    """What the settings of a server open to others, in words; nothing for a server on this machine alone."""
    login = "" if server.user else " There is no login: set --user."
    said = []
    if server.host not in LOOPBACK:
        said.append(
            f"Everybody who reaches this machine at {server.host} can use the app: run analyses here, and hear the "
            f"clips of every corpus.{login}"
        )
    if server.share:
        said.append(
            "--share: everybody who has the link can use the app from the internet, through gradio's relay: run "
            f"analyses here, and hear the clips of every corpus.{login}"
        )
    return said


def theme() -> gr.themes.Base:
    """Calm colours, and the fonts of the visitor's own machine: nothing is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.gray,
        radius_size=gr.themes.sizes.radius_md,
        font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )


def _asset(name: str) -> str:
    return (Path(__file__).parent / "assets" / name).read_text("utf-8")
