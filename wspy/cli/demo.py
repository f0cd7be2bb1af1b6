"""`wspy demo`: the web app of every analysis, or of one."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

PASSWORD_VARIABLE = "WSPY_PASSWORD"


def analysis_names(incomplete: str) -> list[str]:
    """Names of analyses for shell completion."""
    from wspy.plugins import load_plugins

    return [name for name in sorted(load_plugins().analyses) if name.startswith(incomplete)]


def add_commands(app: typer.Typer) -> None:
    """Put the command of this module on the command line."""
    app.command("demo")(demo)


def demo(
    analysis: Annotated[
        str | None,
        typer.Argument(metavar="ANALYSIS", help="One analysis alone; all if left out.", autocompletion=analysis_names),
    ] = None,
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", help="Where to listen; others than this machine see what is there."),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", min=1, max=65535, help="The first free one from 7860 on if left out."),
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Give the app a public address through gradio's relay.", show_default=False)
    ] = False,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="NAME", help=f"Ask for a login; the password is asked for, or {PASSWORD_VARIABLE}."
        ),
    ] = None,
    allow_writes: Annotated[
        bool,
        typer.Option(
            "--allow-writes", help="Let visitors have atlases and corpora made on this machine.", show_default=False
        ),
    ] = False,
    max_upload_mb: Annotated[
        int,
        typer.Option("--max-upload", metavar="MB", min=1, max=1000, help="Largest file that is taken, in megabytes."),
    ] = 25,
    max_audio_s: Annotated[
        float, typer.Option("--max-seconds", metavar="S", min=1, max=3600, help="Longest recording that is taken.")
    ] = 60.0,
    device: Annotated[
        str | None, typer.Option("--device", metavar="cuda|mps|cpu", help="The best there is if left out.")
    ] = None,
) -> None:
    """Open the analyses as web pages, on this machine alone unless told otherwise.

    Nothing that visitors ask stays: runs live in a temporary folder until the app ends.
    """
    from wspy.errors import MissingExtra, UnknownAnalysis
    from wspy.model.reference import check_device_name
    from wspy.plugins import load_plugins

    if importlib.util.find_spec("gradio") is None:
        raise MissingExtra("wspy demo", ["'wspy[web]'"])
    known = load_plugins().analyses
    if analysis is not None and analysis not in known:
        raise UnknownAnalysis(analysis, known)
    check_device_name(device)
    password = _password() if user else None

    from wspy.web import Server, open_early
    from wspy.web.welcome import navigation, welcome

    chosen = {analysis: known[analysis]} if analysis else dict(sorted(known.items()))
    server = Server(host, port, share, user, password)
    # Who has not signed in is not told what there is.
    head = "" if user or analysis else navigation(list(chosen), "") + welcome(chosen)
    open_early(analysis or "wspy", head, server=server)

    from wspy.web import Settings, Studio, build_app, serve  # from here on, gradio is imported

    settings = Settings(allow_writes=allow_writes, max_upload_mb=max_upload_mb, max_audio_s=max_audio_s, device=device)
    studio = Studio(settings)
    serve(build_app(studio, chosen), studio, server)


def _password() -> str:
    """From the environment, or asked for: never a word of the command line, which others on the machine can read."""
    import os

    given: str = os.environ.get(PASSWORD_VARIABLE) or typer.prompt("Password", hide_input=True, err=True)
    return given
