"""A plugin with one input of every kind, for the tests of the front end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

TOY = '''
from __future__ import annotations
import sys
from typing import Literal
import wspy
from pydantic import Field
from wspy.fields import AudioInput, Count, Layer, Seconds

@wspy.hookimpl
def register_analyses(register):
    register(Toy)

@wspy.hookimpl
def register_commands(app):
    @app.command("toy-extra")
    def extra() -> None:
        """An extra command [with brackets]."""
        print("extra ran")
    @app.command("models")
    def clash() -> None:
        """Takes a name of wspy's own."""

class Toy(wspy.Analysis):
    api = 1
    name = "toy"
    summary = "Gives back what it was given [as it is]."

    class Inputs(wspy.Inputs):
        clip: AudioInput = Field(description="A recording.")
        layer: Layer = Field(description="A block.")
        top_n: Count = Field(5, le=9, description="How many.")
        start_s: Seconds = Field(0.5, description="Start in seconds.")
        loud: bool = Field(True, description="Shout or not.")
        side: Literal["left", "right"] = Field("left", description="Which ear.")
        bins: list[int] = Field([1, 2], description="Bins.")
        gains: list[float] | None = Field(None, description="Gains.")
        words: list[str] = Field([], description="Words.")
        prompt: str | None = Field(None, description="A prompt.")
        other: AudioInput | None = Field(None, description="Another recording.")

    class Result(wspy.Result):
        inputs: dict
        number: float
        media: wspy.Media

    def run(self, inputs, context):
        print("a library that prints")
        if inputs.prompt == "raise":
            raise RuntimeError("two\\nlines")
        if inputs.prompt == "stop":
            raise KeyboardInterrupt
        if inputs.prompt == "refuse":
            raise wspy.InputError("that cannot be used")
        if inputs.prompt == "warn":
            import logging, warnings
            warnings.warn("a library's warning")
            logging.getLogger("library").warning("a library's log")
        for _ in context.progress.track([1, 2, 3], "Toying"):
            pass
        media = context.save("media/sound.wav", b"RIFF")
        return self.Result(inputs=inputs.model_dump(mode="json"), number=float("nan"), media=media)

    def view(self, result):
        table = wspy.Table(
            title="Given",
            columns=(wspy.Column(name="input"), wspy.Column(name="value", unit="Hz", decimals=3)),
            rows=(("first", 1234567.125), ("second [x]", 2)),
        )
        return [
            wspy.Text(markdown="# Heading\\n\\nSome **bold** text [not a tag] <b>html</b> \\x1b[31m"),
            table,
            wspy.Figure(title="A curve", spec={"data": [], "layout": {}}),
            wspy.Audio(title="The sound", path=result.media.path),
        ]
'''


@pytest.fixture
def toy(make_plugin: Callable[[str, str], Path]) -> Path:
    """The folder of the toy plugin, for `run_cli(..., path=(toy,))`."""
    return make_plugin("toy", TOY)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a recording.wav"
    path.write_bytes(b"not looked at")
    return path
