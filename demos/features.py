"""Which features of a sparse dictionary fire in a recording; turn one up or down: python demos/features.py

Record, upload or take an example; press a feature to hear where it fires, set a factor and read the new transcript;
from the analyses `features` and `steer`. It needs a dictionary: `make dictionary` trains the small one, and so does
starting this with --allow-writes where there is none.
"""

from __future__ import annotations

import html
import subprocess
import sys
from collections.abc import AsyncIterator

from wspy.web import open_early

if __name__ == "__main__":
    opening = open_early("Features")  # a page that is there while the rest is imported

import gradio as gr

from wspy.files import home
from wspy.web import (
    KeptRun,
    Settings,
    Studio,
    blocks,
    described,
    difference_html,
    example_buttons,
    forget_leavers,
    launch_options,
    picker,
    title_html,
)

TRAIN = [
    "--name",
    "demo",
    "--site",
    "encoder.blocks.2",
    "--corpus",
    "demo",
    "--width",
    "4x",
    "--k",
    "32",
    "--steps",
    "1000",
]
EMPTY = '<p class="wspy-hint">Take an example, record something or upload a file first.</p>'
NONE = (
    '<p class="wspy-hint">There is no dictionary yet. Make the small one with <code>make dictionary</code> (some '
    "minutes), or start this page with <code>--allow-writes</code>; then reload it.</p>"
)
studio = Studio(Settings(allow_writes="--allow-writes" in sys.argv))
News = tuple[object, ...]


def dictionaries() -> list[str]:
    """Names of what has been trained or imported."""
    folder = home() / "dictionaries"
    return sorted(path.parent.name for path in folder.glob("*/cfg.json") if not path.parent.name.startswith("."))


def prepare() -> None:
    """Train the small dictionary where there is none, if this server may write."""
    if studio.settings.allow_writes and not dictionaries():
        opening.note("Training the small dictionary: some minutes, once")
        if "demo" not in studio.corpora_there():
            command = [sys.executable, "-m", "wspy.cli", "corpus", "make", "demo", "--from", "demo", "--quiet"]
            subprocess.run(command, check=True)
        subprocess.run([sys.executable, "-m", "wspy.cli", "sae", "train", *TRAIN, "--steps", "1000"], check=True)


async def listen(request: gr.Request, sound: str | None, sae: str | None) -> AsyncIterator[News]:
    """The features that fire in a recording."""
    if not sound or not sae:
        yield "", None, EMPTY if sae else NONE, "", "", ""
        return
    async for state, run in studio.follow(request, "features", {"audio": sound, "sae": sae}):
        if run is None:
            yield state, *[gr.skip()] * 5
            continue
        yield "", run, fired_html(run), studio.part_html(run, "The recording"), "", studio.run_html(run)


def fired_html(run: KeptRun) -> str:
    """The strongest features to press: what each answers to elsewhere, and where it fires here."""
    result = studio.result(run)
    most = max((one.strength for one in result.features), default=1.0) or 1.0
    bars = "".join(
        f'<button type="button" data-pick="{one.feature}"><code>{one.feature}'
        f"{f' {html.escape(one.label.phone)}' if one.label else ''}</code>"
        f'<span><i style="width:{100 * one.strength / most:.1f}%"></i></span>'
        f"<b>{html.escape(one.word or '')} {one.peak_s:.2f} s</b></button>"
        for one in result.features
    )
    told = f"“{html.escape(result.text)}”: {result.n_fired:,} of {result.d_sae:,} features fire. Press one to hear it."
    labels = f" Labels are of corpus {html.escape(result.labels_from)}." if result.labels_from else ""
    return f'<p class="wspy-hint">{told}{labels}</p><div class="wspy-bars wide">{bars}</div>'


def hear(run: KeptRun | None, picked: gr.EventData) -> News:
    """Where a feature fires, and the number that will be changed."""
    feature = int(picked.pick)
    return (feature, studio.part_html(run, f"Feature {feature}:")) if run else (feature, gr.skip())


async def turn(
    request: gr.Request, sound: str | None, sae: str | None, idx: int | None, factor: float, mode: str
) -> AsyncIterator[News]:
    """What Whisper writes with more or less of a feature, next to random changes of the same size."""
    if not sound or not sae or idx is None:
        yield "", EMPTY if sae else NONE, ""
        return
    values = {"audio": sound, "sae": sae, "idx": int(idx), "mode": mode, "factor": [float(factor)]}
    async for state, run in studio.follow(request, "steer", values):
        if run is None:
            yield state, gr.skip(), gr.skip()
            continue
        result = studio.result(run)
        before = result.clips[0].text
        own, *controls = result.steered
        lines = [
            f'<p class="wspy-hint">Feature {int(idx)} with factor {own.factor:g}, in {own.size:.0%} of the size of '
            f'what is there:</p><p class="wspy-reads" id="turned">{difference_html(before, own.texts[0])}</p>',
            *(
                f'<p class="wspy-hint">{html.escape(one.by)}, changed by as much: '
                f"{difference_html(before, one.texts[0])}</p>"
                for one in controls
            ),
        ]
        if own.size == 0:
            lines.append('<p class="wspy-hint">Nothing was changed: the feature does not fire, or the factor is 1.</p>')
        yield "", "".join(lines), studio.run_html(run)


def arrive() -> object:
    """What has been trained since the last visit."""
    names = dictionaries()
    return gr.Dropdown(names, value="demo" if "demo" in names else next(iter(names), None))


with blocks("Features - wspy") as demo:
    gr.HTML(title_html("Features", "Which features fire while you speak? Turn one up, and read what Whisper writes."))
    with gr.Row():
        with gr.Column(scale=0, min_width=340, elem_classes="wspy-form"):
            sources = ["upload", "microphone"]
            audio = gr.Audio(label=described("features", "audio")["info"], sources=sources, type="filepath", buttons=[])
            example_buttons(studio, audio)
            sae = gr.Dropdown(dictionaries(), **described("features", "sae"))
            stop = gr.Button("Cancel")
            state = gr.HTML()
        with gr.Column(scale=1, min_width=320):
            picture = gr.HTML()
            fired = picker(EMPTY if dictionaries() else NONE, elem_id="fired")
            sounds = gr.HTML()
            with gr.Row():
                idx = gr.Number(**described("steer", "idx"), precision=0, minimum=0, elem_id="idx")
                factor = gr.Slider(-8, 16, 4, step=0.5, **described("steer", "factor"), min_width=260)
                mode = gr.Radio(["scale", "clamp", "add"], value="scale", **described("steer", "mode"), min_width=240)
            ask = gr.Button("Turn it, and transcribe", variant="primary")
            turned = gr.HTML()
            with gr.Accordion("The features, with numbers", open=False):
                report = gr.HTML()
            with gr.Accordion("The change, with numbers", open=False):
                changed = gr.HTML()
    kept = gr.State()
    quick = {"api_visibility": "private", "show_progress": "hidden"}
    settings = {**quick, "concurrency_limit": None}
    demo.load(arrive, None, sae, **quick)
    gr.on([audio.change, sae.input], listen, [audio, sae], [state, kept, fired, picture, sounds, report], **settings)
    fired.select(hear, kept, [idx, sounds], **quick)
    gr.on([ask.click, idx.submit], turn, [audio, sae, idx, factor, mode], [state, turned, changed], **settings)
forget_leavers(demo, studio, stop)

if __name__ == "__main__":
    prepare()
    demo.launch(**launch_options(studio))
