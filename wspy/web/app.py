"""The app of all analyses: a first page that says what there is, and a page for each."""

from __future__ import annotations

import html
from collections.abc import Mapping

import gradio as gr

from wspy.analysis import AnyAnalysis
from wspy.web.page import analysis_page
from wspy.web.studio import Studio
from wspy.web.welcome import navigation, page_path, welcome

TITLE = "wspy: a microscope for Whisper"
_CACHE_CHECK_S, _CACHE_AGE_S = 600, 3600


def build_app(studio: Studio, analyses: Mapping[str, type[AnyAnalysis]]) -> gr.Blocks:
    """An app with a page for each analysis; one alone is the whole app."""
    names = list(analyses)
    app = blocks(TITLE if len(names) > 1 else f"{names[0]} - wspy")
    with app:
        if len(names) == 1:
            gr.HTML(navigation([], ""))
            analysis_page(studio, analyses[names[0]](), "")
        else:
            gr.HTML(navigation(names, ""))
            gr.HTML(welcome(analyses))
    if len(names) > 1:
        for name in names:
            with app.route(name, f"/{page_path(name)}", show_in_navbar=False):
                gr.HTML(navigation(names, name))
                analysis_page(studio, analyses[name](), page_path(name))
    forget_leavers(app, studio)
    return app


def blocks(title: str) -> gr.Blocks:
    """An empty app in wspy's manner: nothing is reported to anybody, and uploads are deleted within the hour."""
    made: gr.Blocks = gr.Blocks(
        title=title, analytics_enabled=False, fill_width=True, delete_cache=(_CACHE_CHECK_S, _CACHE_AGE_S)
    )
    return made


def forget_leavers(app: gr.Blocks, studio: Studio, *cancel: gr.Button) -> None:
    """Stop what somebody waits for who presses one of these buttons, or closes the page."""

    def leave(request: gr.Request) -> None:
        studio.stop(request.session_hash)

    with app:
        app.unload(leave)
        for button in cancel:
            button.click(leave, queue=False, api_visibility="private", show_progress="hidden")


def title_html(title: str, text: str) -> str:
    """The head of an app."""
    return f'<header class="wspy-head"><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p></header>'
