"""Cut a word out of what Whisper's decoder hears: python demos/chop.py

Speak, upload or take an example; press a word, or drag over the picture, and read the transcript without that stretch.
The cut is made in the encoder's output, by the analysis `chop`.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator

from wspy.web import open_early

if __name__ == "__main__":
    opening = open_early("Chop")  # a page that is there while the rest is imported

import gradio as gr
import numpy as np

from wspy.audio import SAMPLE_RATE, load_audio
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

HINT = (
    "Press a word, or drag over the picture, to take it away from the decoder. By keyboard: arrows move a stretch of "
    "the picture, Shift with arrows makes it longer, Enter cuts it."
)
MOST_WORDS = 60
studio = Studio()
News = tuple[object, ...]


def within(moment_s: float, span: object) -> bool:
    """Whether a moment lies in a span."""
    return span.start_s <= moment_s <= span.end_s


def shown(run: KeptRun, cut_number: int | None) -> News:
    """The words, the picture, the new transcript and its sound: after one of the cuts of a run, or before any."""
    recording = studio.result(run).recording
    with np.load(run.path / recording.picture.path) as stored:
        mel = stored["mel"]
    spans = [(word.start_s, word.end_s, word.label) for word in recording.words]
    cut = None if cut_number is None else recording.cuts[cut_number]
    span = cut.spans[0] if cut else None
    gone = ""
    if cut and span:
        gone = next((str(n) for n, s in enumerate(spans) if s[2] == cut.label and within((s[0] + s[1]) / 2, span)), "")
    words = words_html([(str(n), label) for n, (*_, label) in enumerate(spans)], struck=gone, hint=HINT)
    picture = sound_html(mel, recording.duration_s, spans, (span.start_s, span.end_s) if span else None)
    if cut is None or span is None:
        return words + picture, "", gr.Audio(visible=False), studio.run_html(run)
    samples = load_audio(run.path / recording.audio.path).copy()
    samples[round(span.start_s * SAMPLE_RATE) : round(span.end_s * SAMPLE_RATE)] = 0.0
    sound = gr.Audio((SAMPLE_RATE, (samples * 32767).astype(np.int16)), visible=True)
    return words + picture, difference(cut.pairs), sound, studio.run_html(run)


def difference(pairs: tuple) -> str:
    """The transcript after a cut, with what is gone struck through and what is new marked."""
    marks = {"removed": "<del>{before}</del>", "invented": "<ins>{after}</ins>", "kept": "{after}"}
    parts = [
        marks.get(pair.outcome, "<del>{before}</del> <ins>{after}</ins>").format(
            before=html.escape(pair.before), after=html.escape(pair.after)
        )
        for pair in pairs
    ]
    said = "Whisper now writes:"
    if all(pair.outcome == "kept" for pair in pairs):
        said = "Whisper still writes the same: the frames beside the cut know enough. Try a wider margin."
    text = " ".join(parts[:MOST_WORDS]) + (f" … ({len(parts)} words in all)" if len(parts) > MOST_WORDS else "")
    return f'<p class="wspy-hint">{said}</p><p class="wspy-reads">{text or "(nothing)"}</p>'


async def listen(request: gr.Request, sound: str | None, margin_s: float) -> AsyncIterator[News]:
    """Transcribe a recording, and cut each of its words in turn."""
    if not sound:  # it was cleared
        yield "", None, '<p class="wspy-hint">The words appear here.</p>', "", gr.Audio(visible=False), ""
        return
    async for state, run in studio.follow(request, "chop", {"audio": sound, "margin_s": margin_s}):
        yield (state, run, *shown(run, None)) if run else (state, *[gr.skip()] * 5)


async def cut(request: gr.Request, run: KeptRun | None, sound: str | None, pick: gr.EventData) -> AsyncIterator[News]:
    """Show the cut of a word, which the first run has made already; a stretch that was dragged over asks anew."""
    if run is None:
        return
    recording = studio.result(run).recording
    if pick.pick:
        word = recording.words[int(pick.pick)]
        middle = (word.start_s + word.end_s) / 2
        made = [
            n for n, done in enumerate(recording.cuts) if done.label == word.label and within(middle, done.spans[0])
        ]
        if made:
            yield "", *shown(run, made[0])
        return
    values = {"audio": sound, "start_s": pick.start, "stop_s": pick.stop}
    async for state, again in studio.follow(request, "chop", values):
        yield (state, *shown(again, 0)) if again else (state, *[gr.skip()] * 4)


with blocks("Chop - wspy") as demo:
    gr.HTML(title_html("Chop", "Take a word away from the decoder, and read what is left. How local is a word?"))
    with gr.Row():
        with gr.Column(scale=0, min_width=340, elem_classes="wspy-form"):
            audio = gr.Audio(
                label=described("rollout", "audio")["info"],
                sources=["upload", "microphone"],
                type="filepath",
                buttons=[],
            )
            example_buttons(studio, audio)
            margin = gr.Slider(0, 0.3, 0.0, step=0.02, **described("chop", "margin_s"))
            with gr.Row():
                ask = gr.Button("Listen", variant="primary", scale=2)
                stop = gr.Button("Cancel", scale=1)
            state = gr.HTML()
        with gr.Column(scale=1, min_width=320):
            score = picker('<p class="wspy-hint">The words appear here.</p>', elem_id="score")
            reads = gr.HTML(elem_id="reads")
            silenced = gr.Audio(label="The same stretch silenced in the sound, to hear what is missing", visible=False)
            with gr.Accordion("Every word in turn, with numbers", open=False):
                report = gr.HTML()
    kept = gr.State()
    outputs = [score, reads, silenced, report]
    settings = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    gr.on([ask.click, audio.change, margin.release], listen, [audio, margin], [state, kept, *outputs], **settings)
    score.select(cut, [kept, audio], [state, *outputs], **settings)
forget_leavers(demo, studio, stop)

if __name__ == "__main__":
    demo.launch(**launch_options(studio))
