"""What is lost when one neuron is switched off.

Question: does the model use an encoder neuron, and does it use it for the sound that it answers to?

Method: the neuron's activation is replaced in every frame, by zero or by its mean over the corpus. The decoder reads
the text of each clip (teacher forcing) with and without the neuron. The loss is the cross-entropy in nats per token.
Words that contain the neuron's phone, by the corpus' alignment, are compared with those that do not:

    difference = (loss ablated - loss clean | words with the phone) - (loss ablated - loss clean | words without)

Above zero, the neuron is needed more for words with its phone than for others. Random neurons of the same layer go
through the same, as controls. Intervals are 95 % percentile intervals of a bootstrap over clips. Some of the clips are
also transcribed freely: which transcripts change, and the word error rate (WER) before and after.

How it can mislead: what one neuron did, others may do in its place, so no effect does not mean no use. Zero may be a
value that the model never sees; the mean is the milder change. A random neuron is often quieter than the one in
question, so the table says how much of the residual stream each ablation takes away. A word with the phone differs from
others in more than that phone. And the decoder guesses words from the words before, whatever the sound.

Example: `wspy analyze ablate --layer 2 --idx 3`, or `wspy.analyze("ablate", layer=2, idx=3)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field

import wspy
from wspy.fields import Count, Layer, Unit
from wspy_ablate.result import AblateResult


class Ablate(wspy.Analysis["Ablate.Inputs", AblateResult]):
    """One encoder neuron switched off: its effect on the loss and on transcripts, next to random neurons."""

    api = 1
    name = "ablate"
    summary = "What is lost when one encoder neuron is switched off."

    class Inputs(wspy.Inputs):
        layer: Layer = Field(description="Block of the encoder, counted from 0.")
        idx: Unit = Field(description="Neuron within the block's MLP, counted from 0.")
        phone: str | None = Field(
            None, description="The phone whose words are compared with the others; left out, the neuron's own."
        )
        mode: Literal["zero", "mean"] = Field(
            "zero", description="What replaces the activation: zero, or its mean over the corpus' frames."
        )
        controls: Count = Field(4, le=50, description="Random neurons of the same layer to compare with, 1 to 50.")
        clips: Count = Field(80, description="At most so many clips, drawn at random, half of them with the phone.")
        transcripts: int = Field(
            24, ge=0, description="How many of these clips are also transcribed, with every neuron; 0 for none."
        )

    Result = AblateResult

    def run(self, inputs: Ablate.Inputs, context: wspy.Context) -> AblateResult:
        from wspy_ablate.measure import measure

        return measure(context, inputs)

    def view(self, result: AblateResult) -> list[wspy.Block]:
        from wspy_ablate.page import page

        return page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Ablate)
