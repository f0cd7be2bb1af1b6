"""How far the encoder has to look.

Question: does Whisper still hear the words when every frame sees only its neighbours?

Method: before the softmax of the encoder's self-attention, the score of every key more than k frames (20 ms each)
from its query is set to minus infinity: query i sees the keys j with |i - j| <= k, itself included, as in section 2.2
of the post. The rest of the model is untouched. The transcript under each window is compared with the unmasked one by
the word error rate (WER): substituted, inserted and deleted words over the words of the unmasked transcript, both in
the form of openai-whisper's normalizer; over a corpus pooled over clips, with a 95 % interval from drawing the clips
anew 2,000 times. Where the clips have a text, the WER against that is given as well. Text that begins after a clip
has ended is left out.

How it can mislead: the window holds in each layer, so n layers reach n times as far; k is no bound on what a
transcript depends on. The mask cuts off the padding, too, in which clips of a few seconds seem to store something
(the post saw all frames after the end attend to the end): what breaks with a small k need not be the speech. A WER
against the unmasked transcript counts changes, not mistakes. One looping transcript can insert hundreds of words into
a small corpus.

Example: `wspy analyze window speech.wav --k 75`, or `wspy.analyze("window", k=[75])` for a corpus.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import AudioInput, Count, Head, Layer

SWEEP = (100, 75, 50, 20, 10)
"""The post's windows, in frames, besides the full one."""
WindowFrames = Annotated[int, Field(ge=1, le=1500)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Masked(_Part):
    """What one window did, over all clips."""

    k: int = Field(description="Frames of 20 ms that each frame sees on either side.")
    layers: tuple[int, ...] = Field(description="Encoder layers that were masked.")
    heads: tuple[int, ...] = Field(description="Heads that were masked in these layers; empty: all.")
    wer: float | None = Field(description="Word errors over words of the unmasked transcripts; null without words.")
    wer_low: float | None = Field(
        description="Lower end of its 95 % bootstrap interval; null for fewer than two clips."
    )
    wer_high: float | None = Field(description="Upper end of that interval.")
    substituted: int = Field(description="Words replaced, against the unmasked transcripts.")
    inserted: int = Field(description="Words added.")
    deleted: int = Field(description="Words missing.")
    changed: float = Field(description="Share of clips whose transcript has any word error.")
    text_wer: float | None = Field(description="WER against the corpus' own texts; null where there are none.")
    text_wer_low: float | None = Field(description="Lower end of its 95 % bootstrap interval.")
    text_wer_high: float | None = Field(description="Upper end of that interval.")


class Heard(_Part):
    """What Whisper wrote for one clip."""

    text: str = Field(description="The transcript, up to the clip's end.")
    avg_logprob: float = Field(description="Mean natural logarithm of the tokens' probabilities.")
    no_speech_prob: float = Field(description="Probability that the model gives to there being no speech.")
    made_up: bool = Field(description="Words where the model, or the corpus, says that there is no speech.")
    beyond_end: bool = Field(description="Text that began after the clip's end was left out.")


class ClipResult(_Part):
    """One clip, unmasked and under each window."""

    clip: str = Field(description="Id of the clip in the corpus, or the file's name.")
    frames: int = Field(description="Frames of 20 ms that hold sound.")
    language: str = Field(description="Whisper's code of the language that all its transcripts are in.")
    said: str | None = Field(description="The corpus' own text; null where unknown.")
    unmasked: Heard = Field(description="The transcript without a mask.")
    masked: tuple[Heard, ...] = Field(description="The transcripts under `windows`, in their order.")


class Window(wspy.Analysis["Window.Inputs", "Window.Result"]):
    """Transcripts with a limited attention window in the encoder."""

    api = 1
    name = "window"
    summary = "How far the encoder's attention has to reach for the transcript to stay."

    class Inputs(wspy.Inputs):
        audio: AudioInput | None = Field(
            None, description="A recording of up to 30 s; without it, clips of the corpus are heard."
        )
        k: list[WindowFrames] = Field(
            list(SWEEP), min_length=1, description="Windows: frames of 20 ms that each frame sees on either side."
        )
        layers: list[Layer] = Field([], description="Encoder layers to mask; all if left out.")
        heads: list[Head] = Field([], description="Heads to mask in these layers; all if left out.")
        each: Literal["together", "layer", "head"] = Field(
            "together",
            description="Mask these layers and heads together, each layer by itself, or each head by itself.",
        )
        limit: Count = Field(40, description="Clips of the corpus to hear, spread evenly over it.")

    class Result(wspy.Result):
        model: str = Field(description="Name of the model.")
        corpus: str | None = Field(description="Name of the corpus; null for a recording.")
        each: Literal["together", "layer", "head"] = Field(description="What each window masks: see the input.")
        n_layers: int = Field(description="Layers of the encoder.")
        windows: tuple[Masked, ...] = Field(
            description="One per window and place, in the order in which they were asked."
        )
        text_wer: float | None = Field(description="WER of the unmasked transcripts against the corpus' texts.")
        text_wer_low: float | None = Field(description="Lower end of its 95 % bootstrap interval.")
        text_wer_high: float | None = Field(description="Upper end of that interval.")
        n_words: int = Field(description="Words of the unmasked transcripts, normalized.")
        clips: tuple[ClipResult, ...] = Field(description="What was written for each clip.")
        notes: tuple[str, ...] = Field(description="What to keep in mind about this run, one line each.")
        audio: wspy.Media | None = Field(description="The recording; null for a corpus.")

    def run(self, inputs: Window.Inputs, context: wspy.Context) -> Window.Result:
        from wspy_window.sweep import sweep

        return sweep(inputs, context)

    def view(self, result: Window.Result) -> list[wspy.Block]:
        from wspy_window.page import page

        return page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Window)
