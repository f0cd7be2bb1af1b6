"""Browse the neurons of Whisper's encoder, and listen to them: python demos/listen.py

A table and a map of all neurons of a layer, from the analysis `phones`; a click opens the page of one, from the
analysis `neuron`. What is missing is made at the start: the demo corpus, and an atlas of the encoder over it.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator

from wspy.web import open_early

if __name__ == "__main__":
    opening = open_early("Listen")  # a page that is there while the rest is imported

import gradio as gr
import numpy as np

import wspy
from wspy.atlas import SiteAtlas, auroc_table, list_atlases
from wspy.web import Studio, blocks, forget_leavers, launch_options, map_html, picker, title_html

HEADERS = ["neuron", "label", "class", "AUROC", "purity", "density"]
DECIMALS = 3
MAP = "Two neurons are near where they tell phones apart alike: the first two principal components of their AUROC."
studio = Studio()
News = tuple[object, ...]


def site_of(layer: int) -> str:
    """The neurons of a layer."""
    return f"encoder.blocks.{int(layer)}.mlp.1"


def atlas_of(layer: int, model: str, corpus: str) -> SiteAtlas:
    """What is known of them."""
    return SiteAtlas(list_atlases(site_of(layer), model=model, corpus=corpus)[0].folder)


def prepare(model: str = "tiny.en") -> None:
    """Make the demo corpus and label all layers once, if that has not been done: some minutes the first time."""
    if "demo" not in [info.name for info in wspy.list_corpora()]:
        print("Making the demo corpus", file=sys.stderr)
        wspy.make_corpus("demo", "demo")
    if not list_atlases(site_of(0), model=model, corpus="demo"):
        print("Listening to it with every neuron of the encoder, and with shuffled weights", file=sys.stderr)
        wspy.analyze("phones", model=model, corpus="demo")


def rows_of(run: object, layer: int, model: str, corpus: str) -> list[list[object]]:
    """One row per neuron: its label if it beats the controls, AUROC and purity of its best phone, and its density."""
    result = studio.result(run)
    density = atlas_of(layer, model, corpus).densities()
    with (run.path / result.labels.path).open(encoding="utf-8") as lines:
        return [
            [
                int(row["unit"]),
                row["label"] or "",
                row["label_class"] or "",
                round(float(row["auroc"]), DECIMALS),
                round(float(row["purity"]), DECIMALS) if row["purity"] else None,
                round(float(density[int(row["unit"])]), DECIMALS),
            ]
            for row in csv.DictReader(lines)
        ]


def points_of(rows: list[list[object]], layer: int, model: str, corpus: str) -> list[tuple[float, float, str, str]]:
    """Each neuron as a point of the map."""
    table = auroc_table(atlas_of(layer, model, corpus).phones())[:, 2]
    known = table[:, ~np.isnan(table).any(axis=0)]
    left, sizes, _ = np.linalg.svd(known - known.mean(axis=0), full_matrices=False)
    places = left[:, :2] * sizes[:2]
    return [
        (float(x), float(y), str(row[2] or "none"), f"{row[0]}: {row[1] or 'no label'}, AUROC {row[3]}")
        for (x, y), row in zip(places, rows, strict=True)
    ]


async def browse(request: gr.Request, model: str, corpus: str, layer: int) -> AsyncIterator[News]:
    """The table and the map of a layer."""
    values = {"layer": int(layer)}
    async for state, run in studio.follow(request, "phones", values, model=model, corpus=corpus):
        if run is None:
            yield state, gr.skip(), gr.skip()
            continue
        rows = rows_of(run, layer, model, corpus)
        points = points_of(rows, layer, model, corpus)
        yield "", rows, map_html(points, "Map of the neurons", caption=MAP)


async def hear(
    request: gr.Request, model: str, corpus: str, layer: int, idx: int | None
) -> AsyncIterator[tuple[object, object]]:
    """The page of one neuron."""
    if idx is None:
        return
    values = {"layer": int(layer), "idx": int(idx)}
    link = f"?model={model}&corpus={corpus}&layer={int(layer)}&idx={int(idx)}"
    async for state, run in studio.follow(request, "neuron", values, model=model, corpus=corpus):
        yield state, studio.run_html(run, link) if run else gr.skip()


def arrive(request: gr.Request) -> tuple[object, ...]:
    """Open what the address says."""
    asked = dict(request.query_params)
    models, corpora = studio.model_names(), studio.corpus_names()
    model, corpus = asked.get("model", models[0]), asked.get("corpus", corpora[0])
    numbers = [int(asked[name]) if asked.get(name, "").isdigit() else None for name in ("layer", "idx")]
    return (
        gr.Dropdown(models, value=model if model in models else models[0]),
        gr.Dropdown(corpora, value=corpus if corpus in corpora else corpora[0]),
        2 if numbers[0] is None else numbers[0],
        numbers[1],
    )


def row_picked(picked: gr.SelectData) -> int:
    """The neuron of a row, however the table is sorted."""
    return int(picked.row_value[0])


def point_picked(picked: gr.EventData) -> int:
    """The neuron of a point."""
    return int(picked.pick)


with blocks("Listen - wspy") as demo:
    gr.HTML(title_html("Listen", "What does each neuron of Whisper's encoder respond to? Choose one, and hear it."))
    with gr.Row(elem_classes="wspy-tools"):
        model = gr.Dropdown(studio.model_names(), label="model", scale=1, min_width=140)
        corpus = gr.Dropdown(studio.corpus_names(), label="corpus", scale=1, min_width=140)
        layer = gr.Number(2, label="layer", precision=0, minimum=0, scale=1, min_width=100)
        idx = gr.Number(label="neuron", precision=0, minimum=0, scale=1, min_width=100, elem_id="idx")
        stop = gr.Button("Cancel", scale=0, min_width=90)
    state = gr.HTML()
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            table = gr.Dataframe(
                headers=HEADERS,
                datatype=["number", "str", "str", "number", "number", "number"],
                interactive=False,
                show_search="filter",
                max_height=420,
                elem_id="neurons",
                label="Press a row; sort by a heading. A label beats all controls; purity: share of the top clips.",
            )
        with gr.Column(scale=3, min_width=320):
            chart = picker(elem_id="map")
    page = gr.HTML(elem_id="neuron")
    settings = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    place = [model, corpus, layer]
    arrived = demo.load(arrive, None, [*place, idx], api_visibility="private", show_progress="hidden")
    arrived.then(browse, place, [state, table, chart], **settings).then(hear, [*place, idx], [state, page], **settings)
    gr.on([model.input, corpus.input, layer.submit, layer.blur], browse, place, [state, table, chart], **settings)
    quick = {"api_visibility": "private", "show_progress": "hidden"}
    for picked in (table.select(row_picked, None, idx, **quick), chart.select(point_picked, None, idx, **quick)):
        picked.then(hear, [*place, idx], [state, page], **settings)
    idx.submit(hear, [*place, idx], [state, page], **settings)
forget_leavers(demo, studio, stop)

if __name__ == "__main__":
    prepare()
    demo.launch(**launch_options(studio))
