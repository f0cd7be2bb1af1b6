"""The closed vocabulary of input types: what an analysis may ask a person for.

Every front end knows how to ask for exactly these, so a plugin that stays inside the vocabulary gets a command
line and a web form for nothing. A field of `Inputs` is one of the names below, or a plain `int`, `float`,
`bool`, `str`, a `Literal` of strings, or a list of `int`, `float` or `str`; `| None` makes it optional.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Kind = Literal["audio", "integer", "number", "flag", "text", "choice", "integers", "numbers", "texts"]
Default = int | float | bool | str | list[int] | list[float] | list[str] | None


@dataclass(frozen=True)
class Role:
    """What a value of the vocabulary stands for, so that a front end can offer the fitting control."""

    name: str


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()  # so that the command in a run's provenance works from any folder


AudioInput = Annotated[Path, AfterValidator(_absolute), Role("audio")]
"""A recording: a file's path on the command line, an upload or a microphone on the web."""
Layer = Annotated[int, Ge(0), Role("layer")]
"""A block of the encoder or decoder, counted from 0."""
Unit = Annotated[int, Ge(0), Role("unit")]
"""One scalar of a site, counted from 0: an MLP neuron, a residual direction, a dictionary feature."""
Head = Annotated[int, Ge(0), Role("head")]
"""An attention head within its layer, counted from 0."""
Frame = Annotated[int, Ge(0), Le(1500), Role("frame")]
"""An encoder step of 20 ms, counted from 0."""
Count = Annotated[int, Ge(1), Role("count")]
"""How many of something, at least one."""
Seconds = Annotated[float, Ge(0), Role("seconds")]
"""A time or a length of time, in seconds."""
SiteName = Annotated[str, Role("site")]
"""A place in the model, by module path, as `wspy sites` lists them."""
Prompt = Annotated[str, Role("prompt")]
"""Words for the decoder, kept as typed: a leading space is part of a token."""

_SCALARS: dict[object, Kind] = {Path: "audio", int: "integer", float: "number", bool: "flag", str: "text"}
RESERVED = frozenset(
    ["analysis", "model", "corpus", "device", "seed", "out", "progress", "json", "quiet", "debug", "help"]
)
"""Names that every analysis has as options of `wspy analyze` or arguments of `wspy.analyze`."""
_LISTS: dict[object, Kind] = {int: "integers", float: "numbers", str: "texts"}


@dataclass(frozen=True)
class InputField:
    """One input of an analysis, as a front end needs it to ask for it."""

    name: str
    kind: Kind
    role: str
    description: str
    required: bool
    default: Default
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None


class VocabularyError(TypeError):
    """A field of an analysis' `Inputs` that the front ends cannot ask for; for plugin authors."""


def input_fields(inputs: type[BaseModel]) -> tuple[InputField, ...]:
    """The fields of an analysis' `Inputs` in order.

    Raises:
        VocabularyError: a field has no description, or a type outside the vocabulary.
    """
    return tuple(_input_field(name, field) for name, field in inputs.model_fields.items())


def _input_field(name: str, field: FieldInfo) -> InputField:
    if not field.description:
        raise VocabularyError(f"field {name!r} has no description")
    if name in RESERVED:
        raise VocabularyError(f"field {name!r} has the name of an option that every analysis has: choose another")
    kind, choices = _kind(name, field.annotation)
    marks = [*field.metadata, *_marks(field.annotation)]
    role = next((mark.name for mark in marks if isinstance(mark, Role)), kind)
    lows = [mark.ge if isinstance(mark, Ge) else mark.gt for mark in marks if isinstance(mark, Ge | Gt)]
    highs = [mark.le if isinstance(mark, Le) else mark.lt for mark in marks if isinstance(mark, Le | Lt)]
    low = max(typing.cast("list[float]", lows), default=None)
    high = min(typing.cast("list[float]", highs), default=None)
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return InputField(
        name, kind, role, field.description, field.is_required(), typing.cast(Default, default), choices, low, high
    )


def _marks(annotation: object) -> Iterator[object]:
    """The roles and bounds inside an annotation: those of `X` in `X | None` and in `list[X]`."""
    if typing.get_origin(annotation) is Annotated:
        for mark in typing.get_args(annotation)[1:]:
            yield from getattr(mark, "metadata", [mark])  # a pydantic Field carries its bounds as metadata
    if typing.get_origin(annotation) is not Literal:
        for inner in typing.get_args(annotation):
            yield from _marks(inner)


def _kind(name: str, annotation: object) -> tuple[Kind, tuple[str, ...]]:
    """The kind of a bare annotation, and its choices where it is a `Literal`."""
    if typing.get_origin(annotation) is Annotated:
        return _kind(name, typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        if len(inner) == 1:
            return _kind(name, inner[0])
    if typing.get_origin(annotation) is Literal:
        choices = typing.get_args(annotation)
        if all(isinstance(choice, str) for choice in choices):
            return "choice", choices
    if typing.get_origin(annotation) in (list, tuple):
        item = typing.get_args(annotation)[0]
        if typing.get_origin(item) is Annotated:
            item = typing.get_args(item)[0]
        if item in _LISTS:
            return _LISTS[item], ()
    if annotation in _SCALARS:
        return _SCALARS[annotation], ()
    raise VocabularyError(f"field {name!r} has type {annotation!r}, which is not in the vocabulary of wspy.fields")
