"""What Whisper's decoder knows of language, without a sound: python demos/decoder.py

Predictions as one types, a map of the words with search, and neurons that stand for a meaning; from the analyses
`bigrams`, `embeddings` and `semantic`.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator

from wspy.web import open_early

if __name__ == "__main__":
    opening = open_early("Decoder")  # a page that is there while the rest is imported

import gradio as gr

from wspy.web import Studio, blocks, described, forget_leavers, launch_options, picker, title_html

TOP = 12
studio = Studio()
News = tuple[object, ...]


async def predict(request: gr.Request, prompt: str, steps: int) -> AsyncIterator[News]:
    """The most likely next tokens after what has been typed."""
    if not prompt:
        yield "", '<p class="wspy-hint">Type something: a word begins with its space.</p>'
        return
    values = {"prompt": [prompt], "top": TOP, "steps": int(steps)}
    async for state, run in studio.follow(request, "bigrams", values):
        if run is None:
            yield state, gr.skip()
            continue
        found = studio.result(run).predictions[0]
        most = max(token.probability for token in found.next)
        bars = "".join(
            f'<button type="button" data-pick="{html.escape(prompt + token.token.text)}">'
            f"<code>{html.escape(token.token.text)}</code>"
            f'<span><i style="width:{100 * token.probability / most:.1f}%"></i></span>'
            f"<b>{token.probability:.1%}</b></button>"
            for token in found.next
        )
        more = f'<p class="wspy-reads">{html.escape(found.text)}</p>' if steps else ""
        yield "", f'{more}<div class="wspy-bars">{bars}</div><p class="wspy-hint">Press a token to go on with it.</p>'


def go_on(picked: gr.EventData) -> str:
    """The prompt with a predicted token behind it."""
    return str(picked.pick)


async def search(request: gr.Request, word: str, measure: str, drawn: bool) -> AsyncIterator[News]:
    """The neighbours of a word, and the map of all words."""
    values = {"word": [word], "measure": measure, "map": drawn, "sample": 1500}
    async for state, run in studio.follow(request, "embeddings", values):
        if run is None:
            yield state, gr.skip(), gr.skip()
            continue
        yield "", studio.part_html(run, "Map of") + studio.part_html(run, "Nearest to"), studio.run_html(run)


async def mean(request: gr.Request, layer: int, idx: int) -> AsyncIterator[News]:
    """The words that a neuron of the decoder responds to."""
    values = {"layer": int(layer), "idx": int(idx)}
    async for state, run in studio.follow(request, "semantic", values):
        yield (state, studio.run_html(run)) if run else (state, gr.skip())


with blocks("Decoder - wspy") as demo:
    gr.HTML(title_html("Decoder", "Whisper has read its transcripts. What does it expect when it hears nothing?"))
    state = gr.HTML()
    with gr.Tabs():
        with gr.Tab("Next word"):
            prompt = gr.Textbox(
                " traffic", **described("bigrams", "prompt"), lines=1, max_lines=1, max_length=300, elem_id="prompt"
            )
            steps = gr.Slider(0, 30, 0, step=1, **described("bigrams", "steps"))
            likely = picker(elem_id="likely")
            gr.Examples([[" traffic"], [" thank"], [" once upon a"], [" New York"], ["<|nospeech|>"]], prompt)
        with gr.Tab("Neighbours"):
            with gr.Row():
                word = gr.Textbox(" rug", **described("embeddings", "word"), max_length=60, min_width=240)
                measure = gr.Radio(
                    ["cosine", "cleaned"], value="cosine", **described("embeddings", "measure"), min_width=260
                )
                drawn = gr.Checkbox(True, **described("embeddings", "map"), min_width=240)
            with gr.Row():
                seek = gr.Button("Search", variant="primary", scale=4)
                stop = gr.Button("Cancel", scale=1)
            gr.Examples([[" rug"], [" sea"], [" London"], [" happy"]], word)
            near = gr.HTML()
            with gr.Accordion("Every figure, with numbers", open=False):
                whole = gr.HTML()
        with gr.Tab("Neurons"):
            with gr.Row():
                layer = gr.Number(0, **described("semantic", "layer"), precision=0, minimum=0)
                idx = gr.Number(10, **described("semantic", "idx"), precision=0, minimum=0)
            with gr.Row():
                read = gr.Button("Read its words", variant="primary", scale=4)
                leave = gr.Button("Cancel", scale=1)
            gr.Examples([[0, 10], [0, 100], [0, 700]], [layer, idx])
            meant = gr.HTML()
    settings = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    as_typed = {**settings, "trigger_mode": "always_last"}
    gr.on([demo.load, prompt.change, steps.release], predict, [prompt, steps], [state, likely], **as_typed)
    likely.select(go_on, None, prompt, api_visibility="private", show_progress="hidden")
    gr.on([seek.click, word.submit], search, [word, measure, drawn], [state, near, whole], **settings)
    gr.on([read.click, idx.submit], mean, [layer, idx], [state, meant], **settings)
forget_leavers(demo, studio, stop, leave)

if __name__ == "__main__":
    demo.launch(**launch_options(studio))
