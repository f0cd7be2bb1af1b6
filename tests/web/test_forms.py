"""Controls from `Inputs`, and inputs from what the controls hold."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Literal

import gradio as gr
import pytest
from pydantic import Field

import wspy
from wspy.fields import AudioInput, Layer, Prompt, SiteName, input_fields
from wspy.plugins import load_plugins
from wspy.runs import validated
from wspy.web.forms import control, examples_of, parse_query, plain_values, query_of, values_from_query


class Everything(wspy.Inputs):
    audio: AudioInput | None = Field(None, description="A sound.")
    layer: Layer = Field(description="A layer.")
    many: list[int] = Field([10, 20], description="Numbers.")
    start_s: float | None = Field(None, ge=0, le=30, description="A moment.")
    flag: bool = Field(True, description="Yes or no.")
    side: Literal["left", "right"] = Field("left", description="A side.")
    site: SiteName | None = Field(None, description="A site.")
    word: list[Prompt] = Field([" rug"], description="Words.")
    note: str = Field("", description="<b>Anything</b>.")


class Question(wspy.Analysis["Everything", "Question.Result"]):
    api = 1
    name = "question"
    summary = "A question."
    Inputs = Everything

    class Result(wspy.Result):
        pass

    def run(self, inputs: Everything, context: wspy.Context) -> Question.Result:
        return Question.Result()

    def view(self, result: Question.Result) -> list[wspy.Block]:
        return []


FIELDS = input_fields(Everything)


def test_every_kind_of_input_has_its_control_and_its_description() -> None:
    kinds = [type(control(field, ["encoder.blocks.0.mlp.1"])) for field in FIELDS]
    assert kinds == [
        gr.Audio,
        gr.Number,
        gr.Textbox,
        gr.Textbox,
        gr.Checkbox,
        gr.Radio,
        gr.Dropdown,
        gr.Textbox,
        gr.Textbox,
    ]
    for field in FIELDS:
        made = control(field, [])
        said = made.label if isinstance(made, gr.Audio) else made.info
        assert field.description in said


def test_no_control_takes_a_path_on_the_server() -> None:
    audio = control(FIELDS[0], [])
    assert isinstance(audio, gr.Audio) and set(audio.sources) == {"upload", "microphone"}
    choices = [control(field, ["a"]) for field in FIELDS if field.name in ("site", "side")]
    assert not any(getattr(choice, "allow_custom_value", False) for choice in choices)


def test_what_the_controls_hold_at_first_is_what_inputs_have_as_defaults() -> None:
    given = [control(field, []).value for field in FIELDS]
    assert validated(Question(), plain_values(FIELDS, given)) == Everything(layer=0)


def test_what_is_typed_arrives_as_it_was_meant() -> None:
    given = [None, 3, "1, 2 3", "0.5", False, "right", "encoder.ln_post", " rug\n the\n\n", "x"]
    inputs = validated(Question(), plain_values(FIELDS, given))
    assert inputs == Everything(
        layer=3,
        many=[1, 2, 3],
        start_s=0.5,
        flag=False,
        side="right",
        site="encoder.ln_post",
        word=[" rug", " the"],
        note="x",
    )


def test_bad_values_are_refused_by_name() -> None:
    given = [None, 3, "1, x", "", True, "left", None, " rug", ""]
    with pytest.raises(wspy.InputError, match=r"many.*whole number, not 'x'"):
        validated(Question(), plain_values(FIELDS, given))


def test_a_link_asks_the_same_again() -> None:
    inputs = Everything(layer=2, many=[7], start_s=1.5, flag=False, word=[" a b", "&=?"], note='ü"<')
    query = query_of(FIELDS, inputs.model_dump(mode="json", exclude_defaults=True), {"model": "base"})
    assert "audio" not in query and query.endswith("model=base")
    held = values_from_query(FIELDS, parse_query(query))
    given = [held.get(field.name, control(field, []).value) for field in FIELDS]
    assert validated(Question(), plain_values(FIELDS, given)) == inputs


def test_a_link_cannot_name_a_file_or_break_a_number() -> None:
    held = values_from_query(FIELDS, parse_query("audio=/etc/passwd&layer=x&side=elsewhere&flag=1"))
    assert held == {"layer": None, "flag": True}


@pytest.fixture
def documented() -> Iterator[type[Question]]:
    module = types.ModuleType("documented_plugin")
    module.__doc__ = """A plugin.

    Example: `wspy analyze question --layer 2 --no-flag`, `wspy analyze question speech.wav --layer 1`, or
    `wspy analyze other --layer 2` and `wspy analyze question --unknown 3`.
    """
    sys.modules["documented_plugin"] = module
    kept, Question.__module__ = Question.__module__, "documented_plugin"
    yield Question
    Question.__module__ = kept
    del sys.modules["documented_plugin"]


def test_examples_are_the_commands_of_the_plugins_own_documentation(documented: type[Question]) -> None:
    assert examples_of(documented) == [
        ("layer 2 no-flag", "layer=2&flag=false"),
        ("example sentence, layer 1", "say=0&layer=1"),
    ]


def test_every_bundled_page_has_an_example_to_click() -> None:
    bundled = load_plugins()
    without = [name for name in bundled.analyses if not examples_of(bundled.analysis(name))]
    assert without == []
