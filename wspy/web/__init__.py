"""The web front end: gradio pages made from the `Inputs` of analyses, and what the apps in `demos/` are built from."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wspy.web.address import Server
    from wspy.web.app import blocks, build_app, forget_leavers, title_html
    from wspy.web.forms import described
    from wspy.web.neurons import NeuronLayer, decoder_layer, encoder_layer, near_html
    from wspy.web.opening import open_early
    from wspy.web.pictures import chips_html, difference_html, map_html, picker, sound_html, words_html
    from wspy.web.server import launch_options, serve
    from wspy.web.store import KeptRun
    from wspy.web.studio import Settings, Studio, note_html, state_html, toast
    from wspy.web.voice import example_buttons

_HOME = {
    "blocks": "wspy.web.app",
    "title_html": "wspy.web.app",
    "build_app": "wspy.web.app",
    "forget_leavers": "wspy.web.app",
    "NeuronLayer": "wspy.web.neurons",
    "decoder_layer": "wspy.web.neurons",
    "encoder_layer": "wspy.web.neurons",
    "near_html": "wspy.web.neurons",
    "open_early": "wspy.web.opening",
    "chips_html": "wspy.web.pictures",
    "described": "wspy.web.forms",
    "difference_html": "wspy.web.pictures",
    "map_html": "wspy.web.pictures",
    "picker": "wspy.web.pictures",
    "sound_html": "wspy.web.pictures",
    "words_html": "wspy.web.pictures",
    "Server": "wspy.web.address",
    "launch_options": "wspy.web.server",
    "serve": "wspy.web.server",
    "KeptRun": "wspy.web.store",
    "example_buttons": "wspy.web.voice",
    "Settings": "wspy.web.studio",
    "Studio": "wspy.web.studio",
    "note_html": "wspy.web.studio",
    "state_html": "wspy.web.studio",
    "toast": "wspy.web.studio",
}
__all__ = [
    "KeptRun",
    "NeuronLayer",
    "Server",
    "Settings",
    "Studio",
    "blocks",
    "build_app",
    "chips_html",
    "decoder_layer",
    "described",
    "difference_html",
    "encoder_layer",
    "example_buttons",
    "forget_leavers",
    "launch_options",
    "map_html",
    "near_html",
    "note_html",
    "open_early",
    "picker",
    "serve",
    "sound_html",
    "state_html",
    "title_html",
    "toast",
    "words_html",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'wspy.web' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
