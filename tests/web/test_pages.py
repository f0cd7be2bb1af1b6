"""The app's pages as gradio holds them, without a browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
import pytest
from pydantic import Field

import wspy
from wspy.web.app import build_app
from wspy.web.page import analysis_page
from wspy.web.studio import Studio
from wspy.web.welcome import page_path

if TYPE_CHECKING:
    from gradio.components import Component


class Plain(wspy.Analysis["Plain.Inputs", "Plain.Result"]):
    api = 1
    name = "plain"
    summary = "In the usual order."

    class Inputs(wspy.Inputs):
        a: int = Field(1, description="First.")
        b: int = Field(description="Second, and needed.")
        c: int = Field(1, description="Third.")

    class Result(wspy.Result):
        pass

    def run(self, inputs: Plain.Inputs, context: wspy.Context) -> Plain.Result:
        return Plain.Result()

    def view(self, result: Plain.Result) -> list[wspy.Block]:
        return []


class Arranged(Plain):
    name = "arranged"

    def layout(self, place: Callable[[str], None]) -> None:
        with gr.Row(elem_id="own-row"):
            place("c")
            place("a")


def labels(app: gr.blocks.Block) -> list[str]:
    """The labels of the inputs in the order of the page."""
    found: list[str] = []

    def walk(block: gr.blocks.Block) -> None:
        if getattr(block, "label", None) in ("a", "b", "c"):
            found.append(str(block.label))  # type: ignore[attr-defined]
        for child in getattr(block, "children", ()):
            walk(child)

    walk(app)
    return found


def page(studio: Studio, analysis: wspy.AnyAnalysis) -> gr.Blocks:
    with gr.Blocks() as app:
        analysis_page(studio, analysis, "")
    return app


def test_what_is_needed_comes_first(wspy_home: Path) -> None:
    assert labels(page(Studio(), Plain())) == ["b", "a", "c"]


def test_a_plugin_may_arrange_its_own_form_and_the_rest_follows(wspy_home: Path) -> None:
    app = page(Studio(), Arranged())
    assert labels(app) == ["c", "a", "b"]
    row = next(block for block in app.blocks.values() if getattr(block, "elem_id", None) == "own-row")
    assert labels(row) == ["c", "a"]


@pytest.mark.parametrize(("names", "pages"), [(["plain"], 1), (["plain", "arranged"], 3)])
def test_each_analysis_has_a_page_and_one_alone_is_the_app(names: Sequence[str], pages: int, wspy_home: Path) -> None:
    known = {"plain": Plain, "arranged": Arranged}
    app = build_app(Studio(), {name: known[name] for name in names})
    assert len(app.pages) == pages
    # One endpoint for each analysis is open to programs, named as it is; what else pages do is theirs.
    public = {fn.api_name for fn in app.fns.values() if fn.api_visibility == "public"}
    assert public == set(names)


def test_an_analysis_cannot_take_an_address_of_gradio() -> None:
    assert page_path("neuron") == "neuron"
    assert page_path("config") == "config-analysis"


def test_every_common_control_says_what_it_is(wspy_home: Path) -> None:
    app = page(Studio(), Plain())
    inputs: list[Component] = [b for b in app.blocks.values() if isinstance(b, gr.Number | gr.Dropdown)]
    assert all(control.label and control.info for control in inputs)  # type: ignore[attr-defined]
