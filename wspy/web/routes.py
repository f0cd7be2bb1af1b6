"""The one route beside gradio's own: files of kept runs, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from wspy.html import plotly_js
from wspy.report import PLOTLY
from wspy.web.store import REPORT, ZIP

if TYPE_CHECKING:
    from wspy.web.store import RunStore

SHARED = "run-assets/plotly.min.js"
TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wav": "audio/wav",
    ".zip": "application/zip",
}


def run_routes(store: RunStore) -> Sequence[BaseRoute]:
    """`/run/NAME/FILE` for the files of kept runs, and the script that their figures share."""

    def serve(request: Request) -> Response:
        if not _is_signed_in(request):
            return PlainTextResponse("Sign in first.", 401)
        # The path as it was sent, once decoded: it is compared with names, never joined to a folder before that.
        name, path = request.path_params["name"], request.path_params["path"]
        file = store.file(name, path)
        if file is None or not file.is_file():
            return PlainTextResponse("This run is not kept any more.", 404, headers=_headers())
        if path == REPORT:
            # All reports on this site draw with one copy of plotly's script, which a browser fetches once.
            text = file.read_text("utf-8").replace(f'src="{PLOTLY}"', f'src="../../{SHARED}"')
            return HTMLResponse(text, headers=_headers())
        kind = TYPES.get(file.suffix)
        if kind is None or path == ZIP:
            # What a plugin saved is handed over, never shown as a page of this site.
            kind = kind or "application/octet-stream"
            return FileResponse(file, media_type=kind, headers=_headers(), filename=_download_name(name, path))
        return FileResponse(file, media_type=kind, headers=_headers())

    def serve_plotly(request: Request) -> Response:
        if not _is_signed_in(request):
            return PlainTextResponse("Sign in first.", 401)
        return FileResponse(plotly_js(), media_type=TYPES[".js"], headers=_headers())

    return [
        Route(f"/{SHARED}", serve_plotly, methods=["GET", "HEAD"]),
        Route("/run/{name}/{path:path}", serve, methods=["GET", "HEAD"]),
    ]


def _download_name(name: str, path: str) -> str:
    return f"wspy-{name.partition('.')[0]}.zip" if path == ZIP else path.rpartition("/")[2]


def _headers() -> dict[str, str]:
    # A hosted Space is itself a frame of the page around it.
    around = " https://huggingface.co" if os.environ.get("SPACE_ID") else ""
    return {
        "Content-Security-Policy": f"frame-ancestors 'self'{around}",
        "Cache-Control": "private, max-age=3600",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _is_signed_in(request: Request) -> bool:
    """Whether the visitor has passed the app's login; anybody has where there is none."""
    app = request.app
    if getattr(app, "auth", None) is None:
        return True
    tokens = getattr(app, "tokens", {})
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(request.cookies.get(name) in tokens for name in names)
