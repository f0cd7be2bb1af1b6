"""Fills the parts of the manual that the code itself knows, so that they cannot drift.

A line `<!-- generated: NAME WORDS -->` in a page is replaced by what the function of that name below gives. MkDocs
calls `on_page_markdown`.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import os
import re
import textwrap
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

    from wspy.errors import WspyError

MARK = re.compile(r"^<!-- generated: (\w+) ?(.*?) -->$", re.MULTILINE)
COLUMNS = "96"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace the marks of one page."""
    return MARK.sub(lambda mark: GENERATORS[mark[1]](*mark[2].split()), markdown)


def inputs(analysis: str) -> str:
    """A table of what an analysis asks for."""
    from wspy.fields import input_fields
    from wspy.plugins import load_plugins

    rows = ["| option | default | meaning |", "| --- | --- | --- |"]
    for field in input_fields(load_plugins().analysis(analysis).Inputs):
        default = "required" if field.required else f"`{field.default}`"
        name = field.name.replace("_", "-")
        option = name.upper() if field.kind == "audio" else f"--{name}"  # audio is given by position
        rows.append(f"| `{option}` | {default} | {_cell(field.description)} |")
    return "\n".join(rows)


def result(analysis: str) -> str:
    """A table of what an analysis gives, and one for each part that it is made of."""
    from wspy.plugins import load_plugins

    whole = load_plugins().analysis(analysis).Result
    parts = [
        f"### {part.__name__}\n\n{inspect.getdoc(part) or ''}\n\n{_fields(part)}" for part in _parts(whole, {whole})
    ]
    return "\n\n".join([_fields(whole), *parts])


def _parts(model: type[BaseModel], seen: set[type[BaseModel]]) -> list[type[BaseModel]]:
    """The pydantic classes inside the fields of one, each once, in the order in which a reader meets them."""
    from pydantic import BaseModel

    found: list[type[BaseModel]] = []
    todo: list[object] = [field.annotation for field in model.model_fields.values()]
    for kind in todo:  # grows while it is read
        todo += typing.get_args(kind)
        if inspect.isclass(kind) and issubclass(kind, BaseModel) and kind not in seen:
            seen.add(kind)
            found.append(kind)
    return [part for kind in found for part in (kind, *_parts(kind, seen))]


def fields(module: str, name: str) -> str:
    """A table of the fields of a pydantic class."""
    return _fields(getattr(importlib.import_module(module), name))


def _fields(model: type[BaseModel]) -> str:
    rows = ["| field | meaning |", "| --- | --- |"]
    rows += [f"| `{name}` | {_cell(field.description or '')} |" for name, field in model.model_fields.items()]
    return "\n".join(rows)


def about(module: str) -> str:
    """A module's opening text without its first line, which is the page's heading."""
    text = inspect.getdoc(importlib.import_module(module)) or ""
    return text.partition("\n")[2].strip()


def public() -> str:
    """Every public name of wspy for mkdocstrings, and the fields where it is a pydantic class."""
    import pydantic

    import wspy

    parts = []
    for name in wspy.__all__:
        value = getattr(wspy, name)
        if name.startswith("__"):
            continue
        lines = [f"::: {_module(name, value)}.{name}", "    options:", f"      heading: wspy.{name}"]
        model = value if inspect.isclass(value) and issubclass(value, pydantic.BaseModel) else None
        if model:
            lines.append("      show_if_no_docstring: false")  # its fields are in the table
        parts.append("\n".join(lines))
        if model and model.model_fields:
            parts.append(_fields(model))
    return "\n\n".join(parts)


def _module(name: str, value: object) -> str:
    """The module that a public name is imported from."""
    import wspy

    found = getattr(value, "__module__", None)
    return found if isinstance(found, str) and found.startswith("wspy.") else wspy._HOME[name]


def error(name: str, *example: str) -> str:
    """What is seen of one error, from the arguments of an example, and what its class says of the cause."""
    kind = error_class(name)
    message = str(kind(*ast.literal_eval(f"({' '.join(example)},)" if example else "()")))
    cause = " ".join((inspect.getdoc(kind) or "").split())
    seen = "\n".join(textwrap.wrap(f"wspy: {message}", int(COLUMNS), break_long_words=False, break_on_hyphens=False))
    return f"**Symptom.** Exit code {kind.exit_code}, and for instance\n\n```text\n{seen}\n```\n\n**Cause.** {cause}"


def error_class(name: str) -> type[WspyError]:
    """The class of a name in `wspy.errors`, or of a dotted name in a plugin."""
    module, _, own = name.rpartition(".")
    found: type[WspyError] = getattr(importlib.import_module(module or "wspy.errors"), own)
    return found


def sites(model: str) -> str:
    """A table of the sites of a published model, one row for each site of a block, with the number of layers."""
    from wspy.model import find_model, list_sites

    dims = find_model(model).dims
    layers = {"encoder": dims.n_audio_layer, "decoder": dims.n_text_layer}
    rows = ["| site | kind | shape | units | meaning |", "| --- | --- | --- | --- | --- |"]
    for site in list_sites(dims):
        if re.search(r"blocks\.[1-9]", site.name):
            continue  # as the block 0
        name = site.name
        if ".blocks.0" in name:
            name = name.replace("blocks.0", "blocks.N", 1)
        shape = site.shape.replace(" ", "&nbsp;")
        rows.append(f"| `{name}` | {site.kind} | {shape} | {site.n_units:,} | {_cell(site.meaning)} |")
    counted = " and ".join(f"{number} in the {side} (*N* from 0 to {number - 1})" for side, number in layers.items())
    return f"{len(list_sites(dims))} sites; blocks: {counted}.\n\n" + "\n".join(rows)


def sizes() -> str:
    """The sizes of every published model: what the axes of a site's shape are."""
    from wspy.model.catalogue import PUBLISHED

    heads = ("model", "parameters", "mel", "d_model", "d_mlp", "heads", "d_head", "encoder", "decoder", "tokens")
    rows = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for name, published in PUBLISHED.items():
        dims = published.dims
        numbers = (
            f"{dims.n_params / 1e6:,.1f} M",
            *(dims.n_mels, dims.d_model, dims.d_mlp, dims.n_audio_head, dims.d_model // dims.n_audio_head),
            *(dims.n_audio_layer, dims.n_text_layer, f"{dims.n_vocab:,}"),
        )
        rows.append(f"| {name} | {' | '.join(map(str, numbers))} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def commands() -> str:
    """The help of every command, as a terminal shows it."""
    from typer.main import get_command

    from wspy.cli import build_app

    tree = _subcommands(get_command(build_app([])))
    tree |= _subcommands(get_command(build_app(["analyze"])))  # an analysis' command is made when it is asked for
    paths: list[tuple[str, ...]] = [()]
    for name, command in tree.items():
        paths += [(name,), *((name, inner) for inner in _subcommands(command))]
    return "\n\n".join(f"## {' '.join(('wspy', *path))}\n\n```text\n{_help(path)}\n```" for path in paths)


def _subcommands(command: object) -> dict[str, object]:
    found = getattr(command, "commands", {})
    return {name: inner for name, inner in found.items() if not inner.hidden}


def _help(path: tuple[str, ...]) -> str:
    from wspy.cli import main

    said = io.StringIO()
    os.environ["COLUMNS"] = COLUMNS
    with contextlib.redirect_stdout(said):
        code = main([*path, "--help"])
    if code:
        raise RuntimeError(f"wspy {' '.join(path)} --help ended with {code}")
    return said.getvalue().strip()


GENERATORS: dict[str, Callable[..., str]] = {
    "about": about,
    "commands": commands,
    "error": error,
    "fields": fields,
    "inputs": inputs,
    "public": public,
    "result": result,
    "sites": sites,
    "sizes": sizes,
}
