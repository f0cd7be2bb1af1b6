"""What the app of all analyses shows before anything is asked: the way to each of them. Needs no gradio."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from wspy.analysis import AnyAnalysis

# Addresses that gradio itself answers: an analysis of such a name gets a longer one.
_TAKEN = frozenset(
    [
        "assets",
        "config",
        "favicon.ico",
        "gradio_api",
        "login",
        "logout",
        "manifest.json",
        "monitoring",
        "pwa_icon",
        "robots.txt",
        "run",
        "run-assets",
        "static",
        "svelte",
        "theme.css",
        "token",
        "user",
    ]
)


def page_path(name: str) -> str:
    """The address of an analysis' page."""
    return f"{name}-analysis" if name in _TAKEN else name


def navigation(names: Sequence[str], here: str) -> str:
    """Links to all pages."""
    links = "".join(
        f'<a href="./{quote(page_path(name))}"{" aria-current=page" if name == here else ""}>{html.escape(name)}</a>'
        for name in names
    )
    return f'<nav class="wspy-nav" aria-label="Analyses"><a class="wspy-home" href="./">wspy</a>{links}</nav>'


def welcome(analyses: Mapping[str, type[AnyAnalysis]]) -> str:
    """What there is, a card for each analysis."""
    cards = "".join(
        f'<a class="wspy-card" href="./{quote(page_path(name))}"><b>{html.escape(name)}</b>'
        f"<span>{html.escape(analysis.summary)}</span></a>"
        for name, analysis in analyses.items()
    )
    return (
        '<header class="wspy-head wspy-hero"><h1>What does Whisper hear?</h1><p>Look inside the model: its neurons, '
        "its attention, its words. Listen to what they answer to, and read how far to trust the numbers.</p></header>"
        f'<div class="wspy-cards">{cards}</div>'
    )
