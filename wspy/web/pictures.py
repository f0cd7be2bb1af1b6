"""Pictures and words to pick from, for apps of one's own: a sound to drag over, words to press, a map of units."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Collection, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

PALETTE = ("#2563eb", "#dc2626", "#059669", "#9333ea", "#f59e0b", "#0891b2", "#db2777", "#78716c", "#65a30d", "#7c2d12")

NO_GROUP, NO_COLOUR = "none", "#9ca3af"


def picker(value: str = "", elem_id: str | None = None) -> gr.HTML:
    """A place for HTML in which things can be picked; listen with `.select`, whose `gr.EventData` has `pick` (what was
    pressed) or `start` and `stop` (what was dragged over, in seconds)."""
    script = (Path(__file__).parent / "assets" / "picker.js").read_text("utf-8")
    return gr.HTML(value, js_on_load=script, elem_id=elem_id)


def words_html(words: Sequence[tuple[str, str]], struck: str = "", hint: str = "") -> str:
    """A transcript of words to press.

    Args:
        words: What each picks, and how it is written.
        struck: The pick of the word that is struck through.
    """
    buttons = " ".join(
        f'<button type="button" data-pick="{html.escape(pick)}"{" aria-pressed=true" if pick == struck else ""}>'
        f"{html.escape(word)}</button>"
        for pick, word in words
    )
    note = f'<p class="wspy-hint">{html.escape(hint)}</p>' if hint else ""
    return f'<div class="wspy-words">{buttons}</div>{note}'


def sound_html(
    mel: Float32[np.ndarray, "mel frame"],
    seconds: float,
    words: Sequence[tuple[float, float, str]] = (),
    cut: tuple[float, float] | None = None,
) -> str:
    """A spectrogram as a picture to drag over.

    Args:
        mel: Log-mel spectrogram, lowest band first.
        seconds: How long the picture lasts.
        words: Start and end in seconds, and label, written below.
        cut: The stretch that is marked, in seconds.
    """
    start, stop = cut or (0.0, 0.0)
    labels = "".join(
        f'<span style="{_stretch(begin, end, seconds)}">{html.escape(label)}</span>' for begin, end, label in words
    )
    spoken = f"{start:.2f} to {stop:.2f} seconds" if cut else "none"
    mark = f'<i class="wspy-stretch" style="{_stretch(start, stop, seconds)}"{"" if cut else " hidden"}></i>'
    return (
        f'<div class="wspy-sound" data-seconds="{seconds:.4f}" tabindex="0" role="slider" aria-valuemin="0" '
        f'aria-valuemax="{seconds:.2f}" aria-valuenow="{start:.2f}" aria-valuetext="{spoken}" aria-label="Stretch of '
        'the sound: arrows move it, Shift with arrows makes it longer or shorter, Enter takes it">'
        f'<img alt="Spectrogram, {seconds:.1f} seconds" draggable="false" src="{_png(mel)}">{mark}</div>'
        f'<div class="wspy-under" aria-hidden="true">{labels}</div>'
    )


def difference_html(before: str, after: str) -> str:
    """A transcript with what is gone struck through, and what is new marked."""
    old, new = before.split(), after.split()
    parts = []
    for kind, old_from, old_to, new_from, new_to in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = html.escape(" ".join(old[old_from:old_to])), html.escape(" ".join(new[new_from:new_to]))
        if kind == "equal":
            parts.append(come)
        else:
            parts += [f"<del>{gone}</del>"] * bool(gone) + [f"<ins>{come}</ins>"] * bool(come)
    return " ".join(parts) or "(nothing)"


def chips_html(label: str, chips: Sequence[tuple[str, str]]) -> str:
    """A line of things to press.

    Args:
        chips: What each picks, and how it is written.
    """
    if not chips:
        return ""
    buttons = "".join(
        f'<button type="button" data-pick="{html.escape(pick)}">{html.escape(text)}</button>' for pick, text in chips
    )
    return f'<p class="wspy-chips"><span>{html.escape(label)}</span>{buttons}</p>'


def map_html(
    points: Sequence[tuple[float, float, str, str]],
    title: str,
    chosen: str = "",
    caption: str = "",
    dim: Collection[int] = (),
) -> str:
    """Points to press; what each picks is its number, in the order given.

    Args:
        points: x, y, group (which gives the colour) and a label shown on hovering.
        chosen: The number of the one that is drawn large.
        dim: The numbers of those that stand back.
    """
    if not points:
        return ""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    left, top = min(xs), max(ys)
    wide, high = (max(xs) - left) or 1.0, (top - min(ys)) or 1.0
    groups = sorted({point[2] for point in points})
    groups.sort(key=lambda group: group == NO_GROUP)
    colours = {group: NO_COLOUR if group == NO_GROUP else PALETTE[n % len(PALETTE)] for n, group in enumerate(groups)}
    dots = "".join(
        f'<circle data-pick="{n}" cx="{12 + 976 * (x - left) / wide:.1f}" cy="{12 + 536 * (top - y) / high:.1f}" '
        f'r="{9 if str(n) == chosen else 5}" fill="{colours[group]}" class="{"dim" if n in dim else ""}">'
        f"<title>{html.escape(label)}</title></circle>"
        for n, (x, y, group, label) in enumerate(points)
    )
    legend = "".join(f'<li><i style="background:{colours[g]}"></i>{html.escape(g)}</li>' for g in groups)
    note = f'<p class="wspy-hint">{html.escape(caption)}</p>' if caption else ""
    return (
        f'<figure class="wspy-map"><svg viewBox="0 0 1000 560" role="img" tabindex="0" '
        f'aria-label="{html.escape(title)}: arrows go from point to point, Enter opens one">{dots}</svg>'
        f'<output aria-live="polite"></output>'
        f'<ul class="wspy-legend">{legend}</ul>{note}</figure>'
    )


def _stretch(start_s: float, stop_s: float, seconds: float) -> str:
    return f"left:{100 * start_s / seconds:.2f}%;width:{100 * (stop_s - start_s) / seconds:.2f}%"


def _png(mel: Float32[np.ndarray, "mel frame"]) -> str:
    """Bands upwards, quiet dark and loud bright, as a data URL."""
    import numpy as np
    from PIL import Image

    low, high = float(mel.min()), float(mel.max())
    level = np.clip((mel[::-1] - low) / max(high - low, 1e-9), 0, 1)[..., None]
    stops = np.array([[10, 16, 38], [38, 61, 130], [24, 140, 160], [250, 220, 110], [255, 252, 240]], np.float32)
    place = level * (len(stops) - 1)
    first = np.clip(place.astype(int), 0, len(stops) - 2)[..., 0]
    share = place - first[..., None]
    colours = stops[first] * (1 - share) + stops[first + 1] * share
    image = Image.fromarray(colours.astype(np.uint8)).resize((min(1600, 4 * mel.shape[1]), 240))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
