"""Narrow Whisper's attention and read what is left; see which sounds a word came from: python demos/attention.py

Three views of one recording, from the analyses `window`, `rollout` and `heads`.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator

from wspy.web import open_early

if __name__ == "__main__":
    opening = open_early("Attention")  # a page that is there while the rest is imported

import gradio as gr
import numpy as np

from wspy.audio import FRAME_S
from wspy.web import (
    KeptRun,
    Studio,
    blocks,
    described,
    example_buttons,
    forget_leavers,
    launch_options,
    picker,
    sound_html,
    title_html,
    words_html,
)

WINDOWS = [2, 5, 10, 20, 40, 75, 300]
# What of each report stands above the rest: the figures that a tab is for.
MAPS = ("Relevance between the frames", "Words and the frames they came from")
GRIDS = ("Attention within", "WER with one head masked", "Cross-attention heads as aligners")
EMPTY = '<p class="wspy-hint">Take an example, record something or upload a file first.</p>'
studio = Studio()
News = tuple[object, ...]


async def listen(request: gr.Request, sound: str | None, at: int) -> AsyncIterator[News]:
    """Transcribe a recording through every window, and show the one that the slider names."""
    if not sound:
        yield "", None, EMPTY, "", ""
        return
    async for state, run in studio.follow(request, "window", {"audio": sound, "k": WINDOWS}):
        if run is None:
            yield state, *[gr.skip()] * 4
            continue
        yield "", run, read(run, at), studio.part_html(run, "WER against the window"), studio.run_html(run)


def read(run: KeptRun | None, at: int) -> str:
    """What Whisper writes through a window, next to what it writes through none."""
    if run is None:
        return EMPTY
    result = studio.result(run)
    clip, k = result.clips[0], result.windows[at].k
    heard = clip.masked[at]
    doubt = " There is likely no speech, so this is made up." if heard.made_up else ""
    return (
        f'<p class="wspy-hint">Each frame sees {k} frames ({k * FRAME_S:g} s) on either side.{doubt}</p>'
        f'<p class="wspy-reads" id="masked">{html.escape(heard.text) or "(nothing)"}</p>'
        f'<p class="wspy-hint">With nothing hidden: {html.escape(clip.unmasked.text) or "(nothing)"}</p>'
    )


async def trace(request: gr.Request, sound: str | None) -> AsyncIterator[News]:
    """Which frames the encoder's outputs draw on, and the words to choose from."""
    if not sound:
        yield "", EMPTY, "", ""
        return
    async for state, run in studio.follow(request, "rollout", {"audio": sound}):
        yield (state, *traced_of(run)) if run else (state, *[gr.skip()] * 3)


def traced_of(run: KeptRun) -> News:
    """The words, the maps, and everything."""
    return words_of(run), studio.part_html(run, *MAPS), studio.run_html(run)


def words_of(run: KeptRun) -> str:
    """The transcript as words to press, and the sound; where a word was explained, the stretch it came from."""
    result = studio.result(run)
    words: list[tuple[str, str]] = []
    for word in result.words:
        nth = 1 + sum(label == word.label for _, label in words)
        words.append((f"{nth} {word.label}", word.label))
    with np.load(run.path / result.arrays.path) as stored:
        mel = stored["mel"].astype(np.float32)
    spans = [(word.start_s, word.end_s, word.label) for word in result.words]
    hint, stretch = "Press a word to see which frames of sound it came from.", None
    if result.target == "word" and result.explained:
        found = result.explained[0]
        if found.half_from_s is not None and found.half_to_s is not None:
            stretch = (found.half_from_s, found.half_to_s)
            hint = (
                f"Half of the relevance of “{found.word.label}” lies between {stretch[0]:.2f} and {stretch[1]:.2f} s: "
                f"the marked stretch. The model itself says that it is heard from {found.word.start_s:.2f} to "
                f"{found.word.end_s:.2f} s."
            )
    return words_html(words, hint=hint) + sound_html(
        mel[:, : round(result.duration_s * 100)], result.duration_s, spans, stretch
    )


async def explain(request: gr.Request, sound: str | None, picked: gr.EventData) -> AsyncIterator[News]:
    """Which frames one word came from."""
    nth, _, word = str(picked.pick).partition(" ")
    if not word:  # a stretch was dragged over, which asks nothing here
        return
    values = {"audio": sound, "target": "word", "word": word, "occurrence": int(nth)}
    async for state, run in studio.follow(request, "rollout", values):
        yield (state, *traced_of(run)) if run else (state, *[gr.skip()] * 3)


async def grid(request: gr.Request, clips: int, causal: bool) -> AsyncIterator[News]:
    """How far each head looks, over clips of the demo corpus."""
    async for state, run in studio.follow(request, "heads", {"limit": clips, "causal": causal}):
        yield (state, studio.part_html(run, *GRIDS), studio.run_html(run)) if run else (state, *[gr.skip()] * 2)


with blocks("Attention - wspy") as demo:
    gr.HTML(title_html("Attention", "How far does Whisper have to look, and which sounds did a word come from?"))
    with gr.Row():
        with gr.Column(scale=0, min_width=340, elem_classes="wspy-form"):
            audio = gr.Audio(
                label=described("window", "audio")["info"],
                sources=["upload", "microphone"],
                type="filepath",
                buttons=[],
            )
            example_buttons(studio, audio)
            stop = gr.Button("Cancel")
            state = gr.HTML()
        with gr.Column(scale=1, min_width=320), gr.Tabs():
            with gr.Tab("Window"):
                slider = gr.Slider(
                    *(0, len(WINDOWS) - 1, WINDOWS.index(75)),
                    step=1,
                    label="k",
                    info=f"{described('window', 'k')['info']} Narrow to wide: {', '.join(map(str, WINDOWS))}.",
                    elem_classes="wspy-index",
                    buttons=[],
                )
                masked = gr.HTML(EMPTY)
                curve = gr.HTML()
                with gr.Accordion("Every window, with numbers", open=False):
                    sweep = gr.HTML()
            with gr.Tab("Words"):
                show = gr.Button("Trace the relevance", variant="primary")
                words = picker(EMPTY, elem_id="words")
                maps = gr.HTML()
                with gr.Accordion("Numbers, sound and every map", open=False):
                    traced = gr.HTML()
            with gr.Tab("Heads"):
                with gr.Row():
                    limit = gr.Slider(1, 24, 4, step=1, **described("heads", "limit"), min_width=260)
                    causal = gr.Checkbox(**described("heads", "causal"), min_width=240)
                look = gr.Button("Look at the heads", variant="primary")
                gr.Examples([[4, False], [12, False], [2, True]], [limit, causal])
                grids = gr.HTML()
                with gr.Accordion("Every head, with numbers", open=False):
                    heads = gr.HTML()
    kept = gr.State()
    settings = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    audio.change(listen, [audio, slider], [state, kept, masked, curve, sweep], **settings)
    slider.change(read, [kept, slider], masked, **settings)
    show.click(trace, audio, [state, words, maps, traced], **settings)
    words.select(explain, audio, [state, words, maps, traced], **settings)
    look.click(grid, [limit, causal], [state, grids, heads], **settings)
forget_leavers(demo, studio, stop)

if __name__ == "__main__":
    demo.launch(**launch_options(studio))
