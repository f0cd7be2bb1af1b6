"""The controls of an analysis, made from its `Inputs`, and the way back from their values to checked inputs."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, quote, urlencode

import gradio as gr
from gradio.components import Component

from wspy.analysis import AnyAnalysis
from wspy.fields import InputField, input_fields
from wspy.plugins import load_plugins

FEW_CHOICES = 4
SHOWN_OPTIONS = 3
"""Inputs with a default that are shown at once; the rest is behind "More settings"."""
Value = str | int | float | bool | list[str] | None


def label_of(field: InputField) -> str:
    """A field's name as words."""
    words = field.name.replace("_", " ")
    return re.sub(r" s$", " (seconds)", words)


def described(analysis: str, name: str) -> dict[str, str]:
    """Label and explanation of one input of an analysis, for a control of one's own."""
    field = next(f for f in input_fields(load_plugins().analysis(analysis).Inputs) if f.name == name)
    return {"label": label_of(field), "info": field.description}


def control(field: InputField, sites: Sequence[str]) -> Component:
    """The control for one input, not yet placed on the page.

    Args:
        sites: What to offer where a site of the model is asked for.
    """
    label, info = label_of(field), field.description
    if field.kind == "audio":
        label = f"{label}: {info}"
        return gr.Audio(label=label, sources=["upload", "microphone"], type="filepath", buttons=[], render=False)
    if field.kind == "flag":
        return gr.Checkbox(label=label, info=info, value=bool(field.default), render=False)
    if field.kind in ("integer", "number"):
        return _number_control(field)
    if field.kind == "choice" or field.role == "site":
        return _choice_control(field, sites)
    if field.kind in ("integers", "numbers"):
        info = f"{info} Several with commas between them."
    lines = 1
    if field.kind == "texts":
        info, lines = f"{info} One per line.", 2
    value = _text(field.default, "\n" if field.kind == "texts" else ", ")
    return gr.Textbox(
        value, label=label, info=info, lines=lines, max_lines=6 if lines > 1 else 1, max_length=2000, render=False
    )


def _number_control(field: InputField) -> Component:
    label, info, default = label_of(field), field.description, field.default
    if default is None and not field.required:
        # Gradio's field for numbers has no way to be empty from the start: it would say 0.
        return gr.Textbox(label=label, info=info, placeholder="not set", lines=1, max_lines=1, render=False)
    return gr.Number(
        default if isinstance(default, int | float) else field.minimum or 0,
        label=label,
        info=info,
        precision=0 if field.kind == "integer" else None,
        minimum=field.minimum,
        maximum=field.maximum,
        step=1 if field.kind == "integer" else 0.01,
        render=False,
    )


def _choice_control(field: InputField, sites: Sequence[str]) -> Component:
    label, info = label_of(field), field.description
    chosen = str(field.default) if field.default is not None else None
    if field.role != "site" and len(field.choices) <= FEW_CHOICES:
        return gr.Radio(list(field.choices), label=label, info=info, value=chosen, render=False)
    offered = list(sites) if field.role == "site" else list(field.choices)
    if chosen is None and field.required:
        chosen = next((name for name in offered if name.endswith("mlp.1")), None)
    return gr.Dropdown(offered, label=label, info=info, value=chosen, filterable=True, render=False)


def _text(default: object, between: str = ", ") -> str:
    if default is None:
        return ""
    return between.join(map(str, default)) if isinstance(default, list | tuple) else str(default)


def plain_values(fields: Sequence[InputField], given: Sequence[Value]) -> dict[str, object]:
    """What the controls hold, as `wspy.runs.validated` takes it; what was left empty is left out."""
    values: dict[str, object] = {}
    for field, value in zip(fields, given, strict=True):
        plain = _plain(field, value)
        if plain is not None:
            values[field.name] = plain
    return values


def _plain(field: InputField, value: Value) -> object:
    if value is None or (isinstance(value, str) and not value.strip() and field.role != "prompt"):
        return None
    if field.kind in ("integers", "numbers"):
        return [part for part in re.split(r"[,\s]+", str(value)) if part]
    if field.kind == "texts":
        return [line for line in str(value).split("\n") if line.strip()] or None
    if field.kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


# --- links ------------------------------------------------------------------------------------------------


def query_of(fields: Sequence[InputField], values: Mapping[str, object], rest: Mapping[str, str]) -> str:
    """The address, after the `?`, under which the same question is asked again; a recording has no address."""
    pairs: list[tuple[str, str]] = []
    for field in fields:
        value = values.get(field.name)
        if value is None or field.kind == "audio":
            continue
        if isinstance(value, list | tuple):
            pairs += [(field.name, str(item)) for item in value]
        else:
            pairs.append((field.name, str(value).lower() if isinstance(value, bool) else str(value)))
    pairs += list(rest.items())
    return urlencode(pairs, quote_via=quote)


def values_from_query(fields: Sequence[InputField], query: Mapping[str, Sequence[str]]) -> dict[str, Value]:
    """What a link says about the inputs, as their controls hold it. Whether it fits is checked with everything else."""
    found: dict[str, Value] = {}
    for field in fields:
        given = query.get(field.name)
        if not given or field.kind == "audio":
            continue
        last = given[-1]
        if field.kind in ("integers", "numbers"):
            found[field.name] = ", ".join(given)
        elif field.kind == "texts":
            found[field.name] = "\n".join(given)
        elif field.kind == "flag":
            found[field.name] = last.lower() in ("true", "1", "yes")
        elif field.kind in ("integer", "number"):
            found[field.name] = _number(last, whole=field.kind == "integer")
        elif field.kind != "choice" or last in field.choices:
            found[field.name] = last
    return found


def _number(text: str, whole: bool) -> Value:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        return None


# --- examples ---------------------------------------------------------------------------------------------


def examples_of(analysis: type[AnyAnalysis] | AnyAnalysis) -> list[tuple[str, str]]:
    """Label and query of each command that the plugin's own documentation gives as an example.

    A recording in such a command is replaced by an example sentence, spoken by the bundled voice.
    """
    module = sys.modules.get(type(analysis).__module__ if not isinstance(analysis, type) else analysis.__module__)
    text = " ".join((module.__doc__ or "").split()) if module else ""
    fields = input_fields(analysis.Inputs)
    found = []
    for command in re.findall(r"`(wspy analyze [^`]+)`", text):
        try:
            words = shlex.split(command)
        except ValueError:
            continue
        if words[2:3] == [analysis.name]:
            query = _query_of_words(fields, words[3:])
            if query is not None:
                found.append((_example_label(words[3:]), query))
    audio = [field for field in fields if field.kind == "audio"]
    if audio and not any("say=" in query for _, query in found):
        found.append(("an example sentence", "say=0"))
    return list(dict.fromkeys(found))


def _example_label(words: Sequence[str]) -> str:
    label = " ".join(f"“{w.strip()}”" if " " in w else w.removeprefix("--") for w in words if not w.endswith(".wav"))
    spoken = any(w.endswith(".wav") for w in words)
    return f"example sentence{', ' + label if label else ''}" if spoken else label or "as it is"


def _query_of_words(fields: Sequence[InputField], words: Sequence[str]) -> str | None:
    """The options of a command as a query; None where they are not all inputs of the analysis."""
    names = {"--" + field.name.replace("_", "-"): field for field in fields}
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(words):
        word = words[at]
        if not word.startswith("--"):
            pairs.append(("say", "0"))
            at += 1
            continue
        flag = names.get(word) or names.get("--" + word.removeprefix("--no-"))
        if flag is not None and flag.kind == "flag":
            pairs.append((flag.name, str(not word.startswith("--no-")).lower()))
            at += 1
        elif flag is not None and at + 1 < len(words):
            pairs.append((flag.name, words[at + 1]))
            at += 2
        else:
            return None
    return urlencode(pairs, quote_via=quote) or "ask=yes"


def parse_query(query: str) -> dict[str, list[str]]:
    """A query string as names with their values."""
    return parse_qs(query, keep_blank_values=True, max_num_fields=64)


__all__ = [
    "Value",
    "control",
    "described",
    "examples_of",
    "label_of",
    "parse_query",
    "plain_values",
    "query_of",
    "values_from_query",
]
