"""The page of one analysis: its form, its state, its result, its examples; made from `Inputs` alone."""

from __future__ import annotations

import functools
import html
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import gradio as gr
from gradio.components import Component

from wspy.analysis import AnyAnalysis
from wspy.errors import NotOffered, RunNotKept, WspyError
from wspy.fields import InputField, input_fields
from wspy.model.reference import DEFAULT_MODEL
from wspy.runs import DEFAULT_CORPUS
from wspy.web.forms import (
    SHOWN_OPTIONS,
    Value,
    control,
    examples_of,
    parse_query,
    plain_values,
    query_of,
    values_from_query,
)
from wspy.web.store import KeptRun
from wspy.web.studio import Studio, toast
from wspy.web.voice import SENTENCES, spoken

EMPTY = (
    '<div class="wspy-empty"><p>The result appears here: what was found in words and numbers, with sounds to play and '
    "figures to turn.</p></div>"
)


@dataclass(frozen=True)
class Common:
    """The controls that every analysis has."""

    model: gr.Dropdown
    corpus: gr.Dropdown
    seed: gr.Number

    @property
    def all(self) -> list[Component]:
        return [self.model, self.corpus, self.seed]


@functools.cache
def site_names() -> tuple[str, ...]:
    """What is offered where a site is asked for: places of the default model with a value per frame or token."""
    from wspy.model import find_model, match_sites

    found = match_sites("*", find_model().dims)
    return tuple(site.name for site in found if site.kind not in ("conv", "pattern"))


def analysis_page(studio: Studio, analysis: AnyAnalysis, path: str) -> None:
    """Put the page of an analysis into the gradio page that is open."""
    fields = input_fields(analysis.Inputs)
    sites = site_names() if any(field.role == "site" for field in fields) else ()
    controls = {field.name: control(field, sites) for field in fields}
    gr.HTML(_heading(analysis, path))
    with gr.Row(elem_classes="wspy-bench"):
        with gr.Column(scale=0, min_width=340, elem_classes="wspy-form"):
            _arrange(analysis, fields, controls)
            with gr.Accordion("Model, corpus and seed", open=False):
                common = _common(studio)
            with gr.Row(elem_classes="wspy-ask"):
                ask = gr.Button("Run", variant="primary", elem_id="wspy-run", scale=2)
                cancel = gr.Button("Cancel", scale=1)
            state = gr.HTML(elem_id="wspy-state")
        with gr.Column(scale=1, min_width=320):
            result = gr.HTML(EMPTY, elem_id="wspy-result")
            with gr.Accordion("The question, the method, and how it can mislead", open=False):
                gr.HTML(_documentation(analysis))
    _connect(studio, analysis, fields, controls, common, (ask, cancel, state, result), sites)


def _common(studio: Studio) -> Common:
    models, corpora = studio.model_names(), studio.corpus_names()
    return Common(
        gr.Dropdown(models, value=models[0], label="model", info="The Whisper that is looked at."),
        gr.Dropdown(corpora, value=corpora[0], label="corpus", info="The clips that are listened to."),
        gr.Number(0, label="seed", info="Of every random choice.", precision=0, minimum=0),
    )


def _arrange(analysis: AnyAnalysis, fields: tuple[InputField, ...], controls: dict[str, Component]) -> None:
    """The analysis' own layout first, then what it left: what is needed and some more at once, the rest folded."""
    left = dict(controls)

    def place(name: str) -> None:
        left.pop(name).render()  # type: ignore[no-untyped-call]

    analysis.layout(place)
    rest = [field for field in fields if field.name in left]
    first = [field for field in rest if field.required or field.kind == "audio"]
    options = [field for field in rest if field not in first]
    shown = options if len(options) <= SHOWN_OPTIONS + 1 else options[:SHOWN_OPTIONS]
    for field in [*first, *shown]:
        place(field.name)
    if len(shown) < len(options):
        with gr.Accordion("More settings", open=False):
            for field in options[len(shown) :]:
                place(field.name)


def _heading(analysis: AnyAnalysis, path: str) -> str:
    links = "".join(
        f'<a href="./{quote(path)}?{html.escape(query)}">{html.escape(label)}</a>'
        for label, query in examples_of(analysis)
    )
    tries = f'<p class="wspy-tries"><span>Try:</span> {links}</p>' if links else ""
    return (
        f'<header class="wspy-head"><h1>{html.escape(analysis.name)}</h1><p>{html.escape(analysis.summary)}</p>'
        f"{tries}</header>"
    )


def _documentation(analysis: AnyAnalysis) -> str:
    """What the plugin's module says about itself, as text."""
    module = sys.modules.get(type(analysis).__module__)
    text = (module.__doc__ or "") if module else ""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
    body = "".join(f"<p>{html.escape(part)}</p>" for part in paragraphs)
    return f'<div class="wspy-method">{body or "<p>This analysis says nothing about itself.</p>"}</div>'


# --- events -----------------------------------------------------------------------------------------------

Answer = tuple[str, object]
Parts = tuple[gr.Button, gr.Button, gr.HTML, gr.HTML]


def _connect(
    studio: Studio,
    analysis: AnyAnalysis,
    fields: tuple[InputField, ...],
    controls: dict[str, Component],
    common: Common,
    parts: Parts,
    sites: Sequence[str],
) -> None:
    ask, cancel, state, result = parts
    inputs = [*controls.values(), *common.all]
    run = _runner(studio, analysis, fields)

    def stop(request: gr.Request) -> None:
        studio.stop(request.session_hash)

    # The queue is the desk's own: gradio's would let what is slow hold up what is quick.
    ask.click(run, inputs, [state, result], api_name=analysis.name, show_progress="hidden", concurrency_limit=None)
    cancel.click(stop, queue=False, api_visibility="private", show_progress="hidden")
    opened = gr.State(value=False)
    root = gr.context.Context.root_block
    assert root is not None
    arrived = root.load(
        _arrival(studio, fields, sites),
        None,
        [*inputs, result, opened],
        api_visibility="private",
        show_progress="hidden",
    )

    async def run_if_asked(request: gr.Request, wanted: bool, *given: Value) -> AsyncIterator[tuple[object, object]]:
        if wanted:
            async for answer in run(request, *given):
                yield answer
        else:
            yield gr.skip(), gr.skip()

    arrived.then(
        run_if_asked,
        [opened, *inputs],
        [state, result],
        api_visibility="private",
        show_progress="hidden",
        concurrency_limit=None,
    )


def _runner(
    studio: Studio, analysis: AnyAnalysis, fields: tuple[InputField, ...]
) -> Callable[..., AsyncIterator[Answer]]:
    async def run(request: gr.Request, *given: Value) -> AsyncIterator[Answer]:
        values, (model, corpus, seed) = plain_values(fields, given[: len(fields)]), given[len(fields) :]
        number = seed if isinstance(seed, int | float) else 0
        asking = studio.follow(request, analysis.name, values, model=_word(model), corpus=_word(corpus), seed=number)
        async for state, found in asking:
            link = _link(fields, found, model, corpus, number) if found else ""
            yield state, studio.run_html(found, link) if found else gr.skip()

    return run


def _word(value: Value) -> str | None:
    return value if isinstance(value, str) else None


def _link(fields: tuple[InputField, ...], run: KeptRun, model: Value, corpus: Value, seed: float) -> str:
    """The permalink of a question; one about a recording can only name its run."""
    if any(field.kind == "audio" and field.name in run.asked for field in fields):
        return ""
    rest = {"model": str(model), "corpus": str(corpus), "seed": str(int(seed))}
    plain = {"model": DEFAULT_MODEL, "corpus": DEFAULT_CORPUS, "seed": "0"}
    query = query_of(fields, run.asked, {name: value for name, value in rest.items() if value != plain[name]})
    return f"?{query or 'ask=yes'}"


def _arrival(studio: Studio, fields: tuple[InputField, ...], sites: Sequence[str]) -> Callable[..., list[object]]:
    """What a page does when it is opened: it fills in what its address says, and asks at once if that is a question."""

    def arrive(request: gr.Request) -> list[object]:
        query = parse_query(str(request.query_params))
        models, corpora = studio.model_names(), studio.corpus_names()
        chosen = values_from_query(fields, query)
        try:
            for one in fields:
                # Gradio would refuse it as well, but show it as HTML.
                if one.role == "site" and (name := chosen.get(one.name)) and name not in sites:
                    raise NotOffered("site", str(name), sites)
            if "say" in query and (field := next((f for f in fields if f.kind == "audio"), None)):
                number = int(query["say"][-1]) if query["say"][-1].isdigit() else 0
                chosen[field.name] = str(spoken(studio, number % len(SENTENCES)))
            shown = gr.skip()
            if "run" in query:
                run = studio.store.find(query["run"][-1])
                if run is None:
                    raise RunNotKept
                shown = studio.run_html(run)
        except WspyError as error:
            raise toast(error) from None
        asks = "run" not in query and any(name in query for name in ("ask", "say", *(f.name for f in fields)))
        model, corpus = query.get("model", [models[0]])[-1], query.get("corpus", [corpora[0]])[-1]
        seed = query.get("seed", ["0"])[-1]
        return [
            *(chosen.get(field.name, gr.skip()) for field in fields),
            gr.Dropdown(models, value=model if model in models else models[0]),
            gr.Dropdown(corpora, value=corpus if corpus in corpora else corpora[0]),
            int(seed) if seed.isdigit() and len(seed) < 10 else 0,
            shown,
            asks,
        ]

    return arrive
