"""What the page of findings shows, as HTML from JSON that was measured: figures, players, a sentence to cut.

Everything that comes from data is escaped. Without scripts, sounds are links and figures their captions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "assets" / "findings"
_MEDIA = "assets/findings/audio"
_HEIGHT = 340

Shown = dict[str, Any]  # the JSON of one thing to show; its `kind` says which


def show(name: str) -> str:
    """The HTML of `docs/assets/findings/NAME.json`, in one line, so that Markdown leaves it alone."""
    shown = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return f'<div class="wf" markdown="0">{KINDS[shown["kind"]](shown)}</div>'.replace("\n", " ")


def _figure(shown: Shown) -> str:
    caption = f"<figcaption>{escape(shown['caption'])}</figcaption>" if shown.get("caption") else ""
    height = shown["spec"].get("layout", {}).get("height", _HEIGHT)
    return (
        f'<figure class="wf-figure"><h4>{escape(shown["title"])}</h4>'
        f'<div class="wf-plot" role="img" aria-label="{escape(shown["title"])}" style="height:{height:.0f}px"></div>'
        f'<script type="application/json" class="wf-spec">{_json(shown["spec"])}</script>{caption}</figure>'
    )


def _figures(shown: Shown) -> str:
    inner = "".join(_figure(figure) for figure in shown["figures"])
    return f'<div class="wf-side">{inner}</div>'


def _player(file: str, label: str, title: str) -> str:
    """A button that plays; without scripts a link to the sound."""
    return f'<a class="wf-play" role="button" href="{_MEDIA}/{escape(file)}" title="{escape(title)}">{label}</a>'


def _neurons(shown: Shown) -> str:
    return f'<div class="wf-cards">{"".join(_neuron(card) for card in shown["cards"])}</div>'


def _neuron(card: Shown) -> str:
    label = f"<b>{escape(card['label'])}</b>" if card["label"] else '<b class="wf-none">no label</b>'
    groups = []
    for name, clips in card["groups"].items():
        buttons = "".join(
            _player(
                clip["file"],
                _marked(clip["word"], clip["phone"]),
                f"activation {clip['activation']:.2f}, {clip['speaker']}",
            )
            for clip in clips
        )
        groups.append(f'<p class="wf-row"><span class="wf-lang">{escape(name)}</span>{buttons}</p>')
    return (
        f'<article class="wf-card"><header>{label}<span>{escape(card["unit"])}</span></header>'
        f'<p class="wf-note">{escape(card["note"])}</p>{"".join(groups)}</article>'
    )


def _marked(word: str, phone: str) -> str:
    return (
        f"{escape(word)} <small>{escape(phone)}</small>" if word else f"<small>{escape(phone or 'no speech')}</small>"
    )


def _cut(shown: Shown) -> str:
    return (
        '<div class="wf-cut"><div class="wf-cut-models" role="group" aria-label="Model"></div>'
        f'<audio controls preload="none" src="{_MEDIA}/{escape(shown["file"])}"></audio>'
        '<p class="wf-cut-ask">Press a word:</p><p class="wf-cut-words" role="group" aria-label="Words"></p>'
        '<p class="wf-cut-ask">What is written when its frames are taken away:</p>'
        '<blockquote class="wf-cut-left" aria-live="polite"></blockquote><p class="wf-cut-said" aria-live="polite"></p>'
        f'<script type="application/json">{_json(shown["models"])}</script>'
        f'<p class="wf-credit">{escape(shown["credit"])}</p></div>'
    )


def _json(value: object) -> str:
    """JSON that stays inside a `<script>` element whatever strings it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


KINDS: dict[str, Callable[[Shown], str]] = {
    "cut": _cut,
    "figure": _figure,
    "figures": _figures,
    "neurons": _neurons,
}
