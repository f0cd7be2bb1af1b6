"""Every error a user can meet says what was wrong, in one line."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path

import pytest

from wspy import errors
from wspy.errors import InputError, WspyError, known_names

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, WspyError) and not value.__subclasses__()
]


def example(parameter: inspect.Parameter) -> object:
    """A value for an argument of an error, from its annotation."""
    known = {"str": "a name", "int": 3, "float": 0.5, "bool": True, "Path": Path("a/path"), "object": "a thing"}
    text = str(parameter.annotation).replace(" | None", "")
    for shape in ("Iterable[", "Sequence[", "Collection[", "list[", "tuple["):
        if text.startswith(shape):
            inner = text[len(shape) : -1].split(",")[0].strip()
            return [known.get(inner, "a name"), known.get(inner, "a name")]
    return known.get(text.split(" | ")[0], "a name")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_class_explains_itself_and_builds_one_line(kind):
    assert kind.__doc__
    assert kind.__doc__ != kind.__mro__[1].__doc__
    given = [
        example(parameter)
        for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    message = str(kind(*given))
    assert message.strip()
    assert "\n" not in message
    assert "None" not in message


def test_bad_input_ends_with_2_and_the_rest_with_1():
    assert {kind.exit_code for kind in CLASSES if issubclass(kind, InputError)} == {2}
    assert {kind.exit_code for kind in CLASSES if not issubclass(kind, InputError)} == {1}


@pytest.mark.parametrize(
    ("name", "known", "tail"),
    [
        ("tiny-en", ["tiny.en", "base"], " Did you mean 'tiny.en'? Available: base, tiny.en."),
        ("zzz", ["b", "a"], " Available: a, b."),
        ("x", [], " Available: none."),
    ],
)
def test_known_names(name: str, known: Iterable[str], tail: str):
    assert known_names(name, known) == tail
