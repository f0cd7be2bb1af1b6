"""Starting an app: where it listens, who may enter, and what that exposes."""

from __future__ import annotations

import sys
from pathlib import Path

import gradio as gr

from wspy.errors import BadServer
from wspy.web.address import Server, exposure
from wspy.web.opening import take_over
from wspy.web.routes import run_routes
from wspy.web.studio import Studio

SESSIONS_KEPT = 100


def launch_options(studio: Studio) -> dict[str, object]:
    """What `launch` needs for an app of wspy, wherever it runs; the page that stood in for the app makes way."""
    opening = take_over()
    return {
        **({} if opening is None else {"server_name": opening.host, "server_port": opening.port}),
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
    """Serve an app until Ctrl-C, and say on stderr where.

    Raises:
        BadServer: a user without a password or the other way round, or an address that cannot be had.
    """
    server.check()
    auth = (server.user, server.password) if server.user and server.password else None
    app.queue(default_concurrency_limit=4)
    try:
        _, local, shared = app.launch(
            **{"server_name": server.host, "server_port": server.port, **launch_options(studio)},  # type: ignore[arg-type]
            share=server.share,
            auth=auth,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        option, said = "--port" if server.port else "--host", str(error).splitlines()[0].rstrip(".")
        raise BadServer(option, said, "choose another") from error
    print(f"wspy: open {local}", file=sys.stderr, flush=True)
    if shared:
        print(f"wspy: shared as {shared}", file=sys.stderr, flush=True)
    try:
        app.block_thread()
    finally:
        studio.close()


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


__all__ = ["Server", "exposure", "launch_options", "serve", "theme"]
