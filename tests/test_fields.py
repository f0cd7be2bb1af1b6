"""The closed vocabulary of input types."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from wspy.analysis import Inputs
from wspy.fields import (
    RESERVED,
    AudioInput,
    Count,
    Frame,
    Head,
    Layer,
    Prompt,
    Seconds,
    SiteName,
    Unit,
    VocabularyError,
    input_fields,
)


class Everything(Inputs):
    audio: AudioInput = Field(description="d")
    layer: Layer = Field(description="d")
    unit: Unit = Field(description="d")
    head: Head = Field(3, description="d")
    frame: Frame = Field(description="d")
    count: Count = Field(10, le=25, description="d")
    start_s: Seconds = Field(0.5, description="d")
    site: SiteName = Field("encoder.ln_post", description="d")
    prompt: Prompt | None = Field(None, description="d")
    flag: bool = Field(False, description="d")
    choice: Literal["a", "b"] = Field("a", description="d")
    maybe_choice: Literal["a", "b"] | None = Field(None, description="d")
    integers: list[int] = Field(default_factory=lambda: [1], description="d")
    numbers: tuple[float, ...] = Field((), description="d")
    texts: list[str] | None = Field(None, description="d")
    layers: list[Layer] = Field([0], description="d")
    above: float = Field(gt=0, lt=1, description="d")


FIELDS = {field.name: field for field in input_fields(Everything)}


def test_fields_come_in_order():
    assert list(FIELDS) == list(Everything.model_fields)


@pytest.mark.parametrize(
    ("name", "kind", "role", "required", "default", "minimum", "maximum"),
    [
        ("audio", "audio", "audio", True, None, None, None),
        ("layer", "integer", "layer", True, None, 0, None),
        ("unit", "integer", "unit", True, None, 0, None),
        ("head", "integer", "head", False, 3, 0, None),
        ("frame", "integer", "frame", True, None, 0, 1500),
        ("count", "integer", "count", False, 10, 1, 25),
        ("start_s", "number", "seconds", False, 0.5, 0, None),
        ("site", "text", "site", False, "encoder.ln_post", None, None),
        ("prompt", "text", "prompt", False, None, None, None),
        ("flag", "flag", "flag", False, False, None, None),
        ("choice", "choice", "choice", False, "a", None, None),
        ("maybe_choice", "choice", "choice", False, None, None, None),
        ("integers", "integers", "integers", False, [1], None, None),
        ("numbers", "numbers", "numbers", False, (), None, None),
        ("texts", "texts", "texts", False, None, None, None),
        ("layers", "integers", "layer", False, [0], 0, None),
        ("above", "number", "number", True, None, 0, 1),
    ],
)
def test_each_type_of_the_vocabulary(name, kind, role, required, default, minimum, maximum):
    field = FIELDS[name]
    assert (field.kind, field.role, field.required, field.default) == (kind, role, required, default)
    assert (field.minimum, field.maximum) == (minimum, maximum)


def test_choices_are_listed():
    assert FIELDS["choice"].choices == FIELDS["maybe_choice"].choices == ("a", "b")
    assert FIELDS["layer"].choices == ()


@pytest.mark.parametrize("kind", [dict, bytes, dict[str, int], int | str, Literal[1, 2], list[bytes], set[int], object])
def test_a_type_outside_the_vocabulary_is_refused(kind):
    class Bad(Inputs):
        x: kind = Field(description="d")

    with pytest.raises(VocabularyError, match="'x'"):
        input_fields(Bad)


def test_a_field_without_a_description_is_refused():
    class Bad(Inputs):
        x: int

    with pytest.raises(VocabularyError, match="description"):
        input_fields(Bad)


@pytest.mark.parametrize("name", sorted(RESERVED - {"json"}))
def test_a_field_with_the_name_of_a_common_option_is_refused(name):
    bad = type("Bad", (Inputs,), {"__annotations__": {name: int}, name: Field(description="d")})
    with pytest.raises(VocabularyError, match="choose another"):
        input_fields(bad)


def test_recordings_become_absolute(tmp_path, monkeypatch):
    class Listen(Inputs):
        audio: AudioInput = Field(description="d")

    monkeypatch.chdir(tmp_path)
    assert Listen(audio=Path("a.wav")).audio == tmp_path / "a.wav"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Listen(audio=Path("~/a.wav")).audio == tmp_path / "a.wav"
