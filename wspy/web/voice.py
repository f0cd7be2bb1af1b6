"""Example sentences, spoken by the bundled voice when somebody first asks: wspy ships no recordings."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from wspy.errors import MissingExtra, WspyError
from wspy.web.studio import Studio, toast

if TYPE_CHECKING:
    from wspy.corpus.demo import Voice

SENTENCES = (
    "She asked three questions about the old traffic light.",
    "Nine men in tan vans went down to the sandy shore.",
    "We heard the thunder long before the rain reached the garden.",
)
_lock = threading.Lock()


def spoken(studio: Studio, number: int) -> Path:
    """A sentence of `SENTENCES` as a WAV file.

    Raises:
        MissingExtra: the voice is not installed.
    """
    folder = studio.store.folder / "examples"
    path = folder / f"example-{number + 1}.wav"
    with _lock:
        if not path.is_file():
            from wspy.audio import write_wav

            folder.mkdir(exist_ok=True)
            write_wav(path, _voice().say(SENTENCES[number], pace=1.0, pitch=1.0, seed=0))
    return path


def example_buttons(studio: Studio, audio: gr.Audio) -> list[gr.Button]:
    """A button for each sentence, which speaks it into an audio control."""

    def say(number: int) -> str:
        try:
            return str(spoken(studio, number))
        except WspyError as error:
            raise toast(error) from None

    buttons = []
    for number, sentence in enumerate(SENTENCES):
        button = gr.Button(f"“{sentence}”", size="sm", elem_classes="wspy-example")
        button.click(functools.partial(say, number), None, audio, api_visibility="private", show_progress="hidden")
        buttons.append(button)
    return buttons


@functools.cache
def _voice() -> Voice:
    try:
        from wspy.corpus.demo import Voice

        return Voice()
    except ImportError:
        raise MissingExtra("The example sentence", ["hibari-tts", "onnxruntime"]) from None
