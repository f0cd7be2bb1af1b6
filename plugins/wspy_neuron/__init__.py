"""What one MLP neuron responds to.

Question: which sounds (encoder) or words (decoder) drive a neuron, at its peak and below it?

Method: one pass over the corpus records, for every neuron of the layer, the highest and lowest activation within each
clip. Examples are the clips with the most extreme peaks (maximally activating dataset examples, as in section 1.1 of
the post), and a sample of clips from ten equal ranges between zero and the highest peak, because a neuron that looks
pure at the top often has company below (section 1.3). The phone and word at a peak come from the corpus' alignment.

How it can mislead: the top examples show where a neuron is loudest, not all that it does, and a handful of them agree
by chance more often than one thinks; hence every share comes with its 95 % interval and with the share that the phone
has of the whole corpus. A neuron may peak a frame or two after its sound, so a short phone may already have passed at
the peak. What the corpus does not contain, no example can show.

Example: `wspy analyze neuron --layer 2 --idx 3`, or `wspy.analyze("neuron", layer=2, idx=3)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import Count, Layer, Unit

Sign = Literal["positive", "negative"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Span(_Part):
    """A labelled stretch of a clip."""

    start_s: float = Field(description="Start in seconds from the clip's start.")
    end_s: float = Field(description="End in seconds.")
    label: str = Field(description="Word or phone.")


class Example(_Part):
    """One clip that the neuron responds to."""

    clip: str = Field(description="Id of the clip in the corpus.")
    activation: float = Field(description="Activation at the peak, in the site's own units.")
    peak_s: float = Field(
        description="Time of the peak in seconds: the centre of the frame, or when the token is heard."
    )
    word: str | None = Field(description="Word at the peak; null where the corpus has no alignment there.")
    phone: str | None = Field(description="Phone at the peak; null where the corpus has no alignment there.")
    speaker: str | None = Field(description="Speaker, where known.")
    text: str | None = Field(description="What is said in the clip, where known.")
    duration_s: float = Field(description="Length of the clip in seconds.")
    words: tuple[Span, ...] = Field(description="Words of the clip with their times.")
    phones: tuple[Span, ...] = Field(description="Phones of the clip with their times.")
    audio: wspy.Media = Field(description="The clip, the sound around the peak amplified, the rest quieter.")
    excerpt: wspy.Media = Field(description="The half second around the peak.")


class PhoneShare(_Part):
    """How often a phone is heard at the peaks of the top examples."""

    phone: str = Field(description="In the phone set of the corpus' alignment.")
    count: int = Field(description="Top examples with this phone at the peak.")
    share: float = Field(description="`count` over all top examples that have a phone.")
    low: float = Field(description="Lower end of the 95 % Wilson interval of the share.")
    high: float = Field(description="Upper end of the 95 % Wilson interval of the share.")
    base: float = Field(description="Share of the corpus' aligned time that is this phone: what chance would give.")


class Range(_Part):
    """Clips whose peak falls into one tenth of the way from zero to the highest peak."""

    low: float = Field(description="Lower end, as activation.")
    high: float = Field(description="Upper end, as activation.")
    examples: tuple[Example, ...] = Field(description="A sample of the clips that peak in the range.")


class SignResult(_Part):
    """What the neuron responds to in one direction."""

    sign: Sign = Field(description="positive: the highest activations; negative: the lowest.")
    examples: tuple[Example, ...] = Field(description="Clips with the most extreme peaks, strongest first.")
    phones: tuple[PhoneShare, ...] = Field(description="Phones at the peaks of `examples`, most frequent first.")
    ranges: tuple[Range, ...] = Field(description="Examples from ten activation ranges, strongest range first.")
    bin_edges: tuple[float, ...] = Field(description="Edges of the histogram's bins, as magnitude of the peak.")
    bin_counts: tuple[int, ...] = Field(description="Clips that peak within each bin.")


class Neuron(wspy.Analysis["Neuron.Inputs", "Neuron.Result"]):
    """Maximally activating examples of an MLP neuron, to look at and to listen to."""

    api = 1
    name = "neuron"
    summary = "What one MLP neuron responds to, with audio."

    class Inputs(wspy.Inputs):
        layer: Layer = Field(description="Block of the encoder or decoder, counted from 0.")
        idx: Unit = Field(description="Neuron within the block's MLP, counted from 0.")
        side: Literal["encoder", "decoder"] = Field(
            "encoder", description="encoder: neurons over frames of sound; decoder: neurons over tokens of text."
        )
        top: Count = Field(10, le=25, description="How many of the strongest clips to show, 1 to 25.")
        sign: Literal["positive", "negative", "both"] = Field(
            "positive", description="Look at the highest activations, the lowest, or both."
        )

    class Result(wspy.Result):
        site: str = Field(description="Module path of the neuron's layer.")
        idx: int = Field(description="Neuron within the layer.")
        position: Literal["frame", "token"] = Field(description="What activations run over.")
        model: str = Field(description="Name of the model.")
        corpus: str = Field(description="Name of the corpus.")
        alignment: str | None = Field(description="Where words and phones come from; null without alignment.")
        n_clips: int = Field(description="Clips that were heard.")
        n_positions: int = Field(description="Frames of sound, or tokens of text, that were heard; no padding.")
        mean: float = Field(description="Mean activation over all frames or tokens.")
        std: float = Field(description="Standard deviation of the activation.")
        minimum: float = Field(description="Lowest activation.")
        maximum: float = Field(description="Highest activation.")
        density: float = Field(description="Share of frames or tokens with an activation above zero.")
        signs: tuple[SignResult, ...] = Field(description="One per direction that was asked for.")
        pictures: wspy.Media = Field(description="Arrays by name of the audio: log-mel, activation, its times.")

    def run(self, inputs: Neuron.Inputs, context: wspy.Context) -> Neuron.Result:
        from wspy_neuron.listen import listen

        return listen(inputs, context)

    def view(self, result: Neuron.Result) -> list[wspy.Block]:
        from wspy_neuron.page import page

        return page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Neuron)
