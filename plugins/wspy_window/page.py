"""What a person sees of the windows: a table, a curve, and the transcripts side by side."""

from __future__ import annotations

import numpy as np

import wspy
from wspy.audio import FRAME_S
from wspy.blocks import Cell, escape_markdown
from wspy.figures import Axis, Curve, curves, heatmap
from wspy.model import mark_changes
from wspy_window import ClipResult, Heard, Masked, Window

SHOWN_CLIPS = 6
SHOWN_WINDOWS = 12  # transcripts of one clip
SHOWN_WORDS = 60  # of one transcript: loops go on for hundreds
FULL = 1500
_WINDOW = wspy.Column(name="window", description="Frames of 20 ms that each frame sees on either side, and where.")


def page(result: Window.Result) -> list[wspy.Block]:
    """Numbers first, then words."""
    blocks: list[wspy.Block] = [_summary(result)]
    if result.audio:
        blocks.append(wspy.Audio(title="The recording", path=result.audio.path))
        blocks.append(_marked(result))
    blocks.append(_table(result))
    blocks += _maps(result) if result.each == "head" else [_curve(result)]
    if not result.audio:
        blocks.append(_marked(result))
    return blocks


def _summary(result: Window.Result) -> wspy.Text:
    of = "the recording" if result.audio else f"{len(result.clips)} clips of corpus {result.corpus!r}"
    words = f"{result.n_words} word{'' if result.n_words == 1 else 's'}"
    lines = [
        f"# The attention window of {result.model}",
        f"Heard {of}, {words} without a mask. WER: words replaced, added or missing, over the words of the unmasked "
        "transcript.",
    ]
    kept = [window for window in result.windows if window.wer is not None and window.wer <= 0.1]
    if all(clip.unmasked.made_up or not clip.unmasked.text for clip in result.clips):
        lines.append("**No words were heard that the model does not likely make up (hallucinate)**: WER says nothing.")
    elif result.each == "together" and kept:
        least = min(kept, key=lambda window: window.k)
        lines.append(
            f"The smallest of these windows that keeps nine words of ten: **k = {least.k}** "
            f"({least.k * FRAME_S:.1f} s on either side), WER {least.wer:.2f}{_interval(least)}."
        )
    elif result.each == "together":
        lines.append("None of these windows keeps nine words of ten.")
    lines += [f"Note: {escape_markdown(note)}" for note in result.notes]
    return wspy.Text(markdown="\n\n".join(lines))


def _name(window: Masked, result: Window.Result) -> str:
    places = ""
    if len(window.layers) < result.n_layers:
        places = f", layer{'s' if len(window.layers) > 1 else ''} {', '.join(map(str, window.layers))}"
    if window.heads:
        places += f", head{'s' if len(window.heads) > 1 else ''} {', '.join(map(str, window.heads))}"
    return f"k = {window.k}{places}"


def _interval(window: Masked) -> str:
    if window.wer_low is None or window.wer_high is None:
        return ""
    return f" (95 % interval {window.wer_low:.2f} to {window.wer_high:.2f})"


def _table(result: Window.Result) -> wspy.Table:
    columns = [
        _WINDOW,
        wspy.Column(name="WER", description="Against the unmasked transcript.", decimals=3),
        wspy.Column(name="from", description="Lower end of the 95 % interval over clips.", decimals=3),
        wspy.Column(name="to", description="Upper end of that interval.", decimals=3),
        wspy.Column(name="replaced", description="Words replaced by others."),
        wspy.Column(name="added", description="Words that the unmasked transcript does not have."),
        wspy.Column(name="missing", description="Words that only the unmasked transcript has."),
        wspy.Column(name="changed", description="Share of clips with any word error."),
    ]
    rows: list[list[Cell]] = [["full", 0.0 if result.n_words else None, None, None, 0, 0, 0, 0.0]]
    rows += [
        [
            _name(window, result),
            window.wer,
            window.wer_low,
            window.wer_high,
            window.substituted,
            window.inserted,
            window.deleted,
            window.changed,
        ]
        for window in result.windows
    ]
    if result.text_wer is not None:
        columns += [
            wspy.Column(name="WER to text", description="Against the corpus' own text.", decimals=3),
            wspy.Column(name="text from", description="Lower end of the 95 % interval over clips.", decimals=3),
            wspy.Column(name="text to", description="Upper end of that interval.", decimals=3),
        ]
        rows[0] += [result.text_wer, result.text_wer_low, result.text_wer_high]
        for row, window in zip(rows[1:], result.windows, strict=True):
            row += [window.text_wer, window.text_wer_low, window.text_wer_high]
    return wspy.Table(title="Windows", columns=tuple(columns), rows=tuple(map(tuple, rows)))


def _curve(result: Window.Result) -> wspy.Figure:
    """WER against k, a line for each place that was masked."""
    places: dict[str, list[Masked]] = {}
    for window in result.windows:
        name = _name(window, result).partition(", ")[2] or "against the unmasked transcript"
        places.setdefault(name, []).append(window)
    series = []
    for name, windows in places.items():
        ordered = sorted(windows, key=lambda window: window.k)
        series.append(
            Curve(
                name,
                [*(window.k for window in ordered), FULL],
                [*(window.wer for window in ordered), 0.0 if result.n_words else None],
                [*(window.wer_low for window in ordered), None],
                [*(window.wer_high for window in ordered), None],
            )
        )
    if result.text_wer is not None and len(places) == 1:
        ordered = sorted(result.windows, key=lambda window: window.k)
        series.append(
            Curve(
                "against the corpus' text",
                [*(window.k for window in ordered), FULL],
                [*(window.text_wer for window in ordered), result.text_wer],
                [*(window.text_wer_low for window in ordered), result.text_wer_low],
                [*(window.text_wer_high for window in ordered), result.text_wer_high],
            )
        )
    ks = sorted({window.k for window in result.windows if window.k < FULL})
    looping = any(y is not None and y > 1 for curve in series for y in curve.y)
    drawn = curves(
        "WER against the window",
        series,
        x_title="k: frames of 20 ms seen on either side",
        y_title="WER",
        log_x=True,
        x_labels=[*((k, str(k)) for k in ks), (FULL, "full")],
        caption="Shaded: 95 % of the results when clips are drawn anew. Zero: the same words as without a mask."
        + (" Above 1 Whisper repeats itself, and the line leaves the picture: double-click to see all." * looping),
    )
    if looping:  # else one loop would press all other windows onto the axis
        layout = drawn.spec["layout"]
        assert isinstance(layout, dict) and isinstance(layout["yaxis"], dict)  # as `curves` makes it
        layout["yaxis"] |= {"range": [0, 1.05], "autorange": False}
    return drawn


def _maps(result: Window.Result) -> list[wspy.Block]:
    """For heads masked by themselves: layers by heads, a picture for each window."""
    found: list[wspy.Block] = []
    for k in dict.fromkeys(window.k for window in result.windows):
        wers = {(window.layers[0], window.heads[0]): window.wer for window in result.windows if window.k == k}
        layers, heads = (sorted({place[at] for place in wers}) for at in (0, 1))
        cells = [[wers[layer, head] for head in heads] for layer in layers]
        found.append(
            heatmap(
                f"WER with one head masked to k = {k}",
                np.array(cells, dtype=np.float64),  # an unknown WER becomes NaN, an empty cell
                x=Axis("head", labels=[str(head) for head in heads]),
                y=Axis("layer", labels=[str(layer) for layer in layers]),
                value="WER",
                low=0.0,
                caption="Each head masked by itself, against the unmasked transcript; the brighter, the more words.",
            )
        )
    return found


# --- marked words -----------------------------------------------------------------------------------------


def _marked(result: Window.Result) -> wspy.Text:
    """Transcripts below each other, the words that changed marked; of a corpus, the clips that changed most."""
    ordered = sorted(result.clips, key=lambda clip: -sum(heard.text != clip.unmasked.text for heard in clip.masked))
    lines = ["## Transcripts", "~~Struck through~~: gone. **Bold**: new. Case and punctuation do not count."]
    for clip in ordered[:SHOWN_CLIPS]:
        lines += [f"### {escape_markdown(clip.clip)}", "\n".join(_marked_clip(clip, result))]
        if len(clip.masked) > SHOWN_WINDOWS:
            lines.append(f"The other {len(clip.masked) - SHOWN_WINDOWS} transcripts are in result.json.")
    left = len(ordered) - SHOWN_CLIPS
    if left > 0:
        lines.append(f"The other {left} clips are in result.json.")
    return wspy.Text(markdown="\n\n".join(lines))


def _marked_clip(clip: ClipResult, result: Window.Result) -> list[str]:
    """A table: the window, its transcript, and how sure the model is that nobody speaks."""
    lines = ["| window | transcript | no speech |", "| --- | --- | ---: |"]
    if clip.said is not None:
        lines.append(f"| said | {escape_markdown(_short(clip.said)) or '(nothing)'} | |")
    lines.append(_line("full", escape_markdown(_short(clip.unmasked.text)) or "(nothing)", clip.unmasked))
    for window, heard in list(zip(result.windows, clip.masked, strict=True))[:SHOWN_WINDOWS]:
        lines.append(_line(_name(window, result), mark_changes(clip.unmasked.text, heard.text, SHOWN_WORDS), heard))
    return lines


def _line(name: str, transcript: str, heard: Heard) -> str:
    return f"| {name} | {transcript}{_doubt(heard)} | {heard.no_speech_prob:.2f} |"


def _doubt(heard: Heard) -> str:
    notes = ["**made up: there is likely no speech**"] if heard.made_up else []
    if heard.beyond_end:
        notes.append("went on after the end, left out")
    return f" ({'; '.join(notes)})" if notes else ""


def _short(text: str) -> str:
    words = text.split()
    shown = " ".join(words[:SHOWN_WORDS])
    return text if len(words) <= SHOWN_WORDS else f"{shown} … ({len(words)} words in all)"
