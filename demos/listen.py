"""Browse the neurons of Whisper, and listen to them: python demos/listen.py

A table and a map of all neurons of a layer, from the analysis `phones` (in the decoder, from the atlas alone); a click
opens the page of one, from the analysis `neuron`. What is missing is made at the start: the demo corpus, and an atlas
of all MLP neurons over it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from wspy.web import open_early

if __name__ == "__main__":
    opening = open_early("Listen")  # a page that is there while the rest is imported

import gradio as gr

import wspy
from wspy.atlas import SiteAtlas, ensure_atlases, list_atlases
from wspy.model import match_sites
from wspy.progress import Progress
from wspy.web import (
    NeuronLayer,
    Studio,
    blocks,
    decoder_layer,
    described,
    encoder_layer,
    forget_leavers,
    launch_options,
    near_html,
    picker,
    title_html,
)

EVERY = "all neurons"
HINT = (
    '<p class="wspy-hint">Press a row or a point; a heading sorts. A label is the phone that a neuron tells best, if '
    "that beats all controls; AUROC: how well (0.5 is chance); purity: its share of the strongest clips; density: "
    "share of frames above zero. In the decoder: the tokens whose logits it raises most.</p>"
)
studio = Studio()
News = tuple[object, ...]


def atlas_of(side: str, layer: int, model: str, corpus: str) -> SiteAtlas:
    """What is known of the neurons of a layer."""
    return SiteAtlas(list_atlases(f"{side}.blocks.{int(layer)}.mlp.1", model=model, corpus=corpus)[0].folder)


def prepare(progress: Progress, model: str = "tiny.en") -> None:
    """Make the demo corpus, label the encoder and hear the decoder, if not yet done: some minutes the first time."""
    if "demo" not in [info.name for info in wspy.list_corpora()]:
        progress.note("Making the demo corpus")
        wspy.make_corpus("demo", "demo", align=True, progress=progress)
    if not list_atlases("encoder.blocks.0.mlp.1", model=model, corpus="demo"):
        progress.note("Listening to it with every neuron of the encoder, and with shuffled weights")
        wspy.analyze("phones", model=model, corpus="demo", progress=progress)
    if not list_atlases("decoder.blocks.0.mlp.1", model=model, corpus="demo"):
        loaded = wspy.load_model(model)
        sites = [site.name for site in match_sites("decoder.blocks.*.mlp.1", loaded.dims)]
        corpus = wspy.open_corpus("demo")
        ensure_atlases(sites, loaded.reference, corpus, model=lambda: loaded, progress=progress)


def shown(found: NeuronLayer, wanted: str) -> News:
    """The table, the map, what can be filtered by, and neurons to begin with."""
    kinds = found.kinds()
    wanted = wanted if wanted in kinds else EVERY
    table = gr.Dataframe([list(row) for row in found.listed(wanted)], headers=list(found.headers))
    return table, found.map_html(wanted), gr.Dropdown(kinds, value=wanted), found.beginning()


async def browse(
    request: gr.Request, model: str, corpus: str, side: str, layer: int, wanted: str
) -> AsyncIterator[News]:
    """The table and the map of a layer."""
    name, values = "phones", {"layer": int(layer)}
    if side == "decoder":  # has no phones; its first neuron makes sure of the atlas
        name, values = "neuron", {"layer": int(layer), "idx": 0, "side": side, "top": 1}
    async for state, run in studio.follow(request, name, values, model=model, corpus=corpus):
        if run is None:
            yield state, *[gr.skip()] * 5
            continue
        atlas = atlas_of(side, layer, model, corpus)
        found = (
            decoder_layer(atlas)
            if side == "decoder"
            else encoder_layer(run.path / studio.result(run).labels.path, atlas)
        )
        yield state, found, *shown(found, wanted)


def sift(found: NeuronLayer | None, wanted: str) -> News:
    """The same with another filter."""
    return shown(found, wanted)[:2] if found else (gr.skip(), gr.skip())


async def hear(
    request: gr.Request, model: str, corpus: str, side: str, layer: int, idx: int | None, sign: str
) -> AsyncIterator[News]:
    """The page of one neuron, and the way to those that resemble it."""
    if idx is None:
        return
    values = {"side": side, "layer": int(layer), "idx": int(idx), "sign": sign}
    link = f"?model={model}&corpus={corpus}&layer={int(layer)}&idx={int(idx)}"
    link += f"&side={side}" if side != "encoder" else ""
    async for state, run in studio.follow(request, "neuron", values, model=model, corpus=corpus):
        yield (state, near_html(studio.result(run)), studio.run_html(run, link)) if run else (state, *[gr.skip()] * 2)


def arrive(request: gr.Request) -> News:
    """Open what the address says."""
    asked = dict(request.query_params)
    models, corpora = studio.model_names(), studio.corpus_names()
    model, corpus = asked.get("model", models[0]), asked.get("corpus", corpora[0])
    numbers = [int(asked[name][:6]) if asked.get(name, "").isdecimal() else None for name in ("layer", "idx")]
    return (
        gr.Dropdown(models, value=model if model in models else models[0]),
        gr.Dropdown(corpora, value=corpus if corpus in corpora else corpora[0]),
        "decoder" if asked.get("side") == "decoder" else "encoder",
        2 if numbers[0] is None else numbers[0],
        numbers[1],
    )


def row_picked(picked: gr.SelectData) -> int:
    """The neuron of a row, however the table is sorted."""
    return int(picked.row_value[0])


def point_picked(found: NeuronLayer, picked: gr.EventData) -> int:
    """The neuron of a point."""
    return found.neuron(int(picked.pick))


def chip_picked(picked: gr.EventData) -> int:
    """The neuron that is named."""
    return int(picked.pick)


with blocks("Listen - wspy") as demo:
    gr.HTML(title_html("Listen", "What does each neuron of Whisper respond to? Choose one, and hear it."))
    with gr.Row(elem_classes="wspy-tools"):
        model = gr.Dropdown(studio.model_names(), label="model", info="The Whisper that is looked at.", min_width=150)
        corpus = gr.Dropdown(studio.corpus_names(), label="corpus", info="The clips that are heard.", min_width=150)
        side = gr.Radio(["encoder", "decoder"], value="encoder", **described("neuron", "side"), min_width=220)
        layer = gr.Number(2, **described("neuron", "layer"), precision=0, minimum=0, min_width=150)
        idx = gr.Number(**described("neuron", "idx"), precision=0, minimum=0, min_width=150, elem_id="idx")
        sign = gr.Radio(["positive", "negative", "both"], value="both", **described("neuron", "sign"), min_width=220)
    state = gr.HTML()
    chips = picker(elem_id="begin")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            gr.HTML(HINT)
            with gr.Row():
                wanted = gr.Dropdown([EVERY], value=EVERY, label="show", info="In the table and on the map.")
                stop = gr.Button("Cancel", scale=0, min_width=90)
            table = gr.Dataframe(interactive=False, show_search="filter", max_height=420, elem_id="neurons")
        with gr.Column(scale=3, min_width=320):
            chart = picker(elem_id="map")
    alike = picker(elem_id="alike")
    page = gr.HTML(elem_id="neuron")
    quick = {"api_visibility": "private", "show_progress": "hidden"}
    settings = {**quick, "concurrency_limit": None}
    place, kept = [model, corpus, side, layer], gr.State()
    browsed, heard = [state, kept, table, chart, wanted, chips], ([*place, idx, sign], [state, alike, page])
    arrived = demo.load(arrive, None, [*place, idx], **quick)
    arrived.then(browse, [*place, wanted], browsed, **settings).then(hear, *heard, **settings)
    moved = [model.input, corpus.input, side.input, layer.submit, layer.blur]
    gr.on(moved, browse, [*place, wanted], browsed, **settings)
    wanted.input(sift, [kept, wanted], [table, chart], **quick)
    pressed = [where.select(chip_picked, None, idx, **quick) for where in (chips, alike)]
    for picked in (
        *pressed,
        table.select(row_picked, None, idx, **quick),
        chart.select(point_picked, kept, idx, **quick),
    ):
        picked.then(hear, *heard, **settings).then(
            None, None, None, js="() => document.querySelector('#alike').scrollIntoView({behavior: 'smooth'})"
        )
    gr.on([idx.submit, sign.input], hear, *heard, **settings)
forget_leavers(demo, studio, stop)

if __name__ == "__main__":
    prepare(opening)
    demo.launch(**launch_options(studio))
