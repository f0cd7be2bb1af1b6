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
    example_buttons,
    forget_leavers,
    launch_options,
    picker,
    sound_html,
    title_html,
    words_html,
)

WINDOWS = [20, 40, 75, 150, 300, 750]
EMPTY = '<p class="wspy-hint">Take an example, record something or upload a file first.</p>'
studio = Studio()
News = tuple[object, ...]


async def listen(request: gr.Request, sound: str | None, at: int) -> AsyncIterator[News]:
    """Transcribe a recording through every window, and show the one that the slider names."""
    if not sound:
        yield "", None, EMPTY, ""
        return
    async for state, run in studio.follow(request, "window", {"audio": sound, "k": WINDOWS}):
        yield (state, run, read(run, at), studio.run_html(run)) if run else (state, *[gr.skip()] * 3)


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
        yield "", EMPTY, ""
        return
    async for state, run in studio.follow(request, "rollout", {"audio": sound}):
        if run is None:
            yield state, gr.skip(), gr.skip()
            continue
        yield "", words_of(run), studio.run_html(run)


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
        yield (state, words_of(run), studio.run_html(run)) if run else (state, gr.skip(), gr.skip())


async def grid(request: gr.Request, clips: int, causal: bool) -> AsyncIterator[News]:
    """How far each head looks, over clips of the demo corpus."""
    async for state, run in studio.follow(request, "heads", {"limit": clips, "causal": causal}):
        yield (state, studio.run_html(run)) if run else (state, gr.skip())


with blocks("Attention - wspy") as demo:
    gr.HTML(title_html("Attention", "How far does Whisper have to look, and which sounds did a word come from?"))
    with gr.Row():
        with gr.Column(scale=0, min_width=340, elem_classes="wspy-form"):
            audio = gr.Audio(
                label="up to 30 seconds of speech", sources=["upload", "microphone"], type="filepath", buttons=[]
            )
            example_buttons(studio, audio)
            stop = gr.Button("Cancel")
            state = gr.HTML()
        with gr.Column(scale=1, min_width=320), gr.Tabs():
            with gr.Tab("Through a window"):
                slider = gr.Slider(
                    0,
                    len(WINDOWS) - 1,
                    2,
                    step=1,
                    label="window",
                    info=f"From {WINDOWS[0]} to {WINDOWS[-1]} frames of 20 ms on either side.",
                )
                masked = gr.HTML(EMPTY)
                sweep = gr.HTML()
            with gr.Tab("Where a word came from"):
                show = gr.Button("Trace the relevance", variant="primary")
                words = picker(EMPTY, elem_id="words")
                traced = gr.HTML()
            with gr.Tab("Every head"):
                with gr.Row():
                    limit = gr.Slider(1, 24, 4, step=1, label="clips", info="Of the demo corpus.")
                    causal = gr.Checkbox(label="mask each head", info="Slow: transcribes once for every head.")
                look = gr.Button("Look at the heads", variant="primary")
                heads = gr.HTML()
    kept = gr.State()
    settings = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    audio.change(listen, [audio, slider], [state, kept, masked, sweep], **settings)
    slider.change(read, [kept, slider], masked, **settings)
    show.click(trace, audio, [state, words, traced], **settings)
    words.select(explain, audio, [state, words, traced], **settings)
    look.click(grid, [limit, causal], [state, heads], **settings)
forget_leavers(demo, studio, stop)

if __name__ == "__main__":
    demo.launch(**launch_options(studio))
