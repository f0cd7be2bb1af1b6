"""What one MLP neuron responds to.

Question: which sounds (encoder) or words (decoder) drive a neuron, at its peak and below it?

Method: one pass over the corpus records, for every neuron of the layer, the highest and lowest activation within each
clip. Examples are the clips with the most extreme peaks (maximally activating dataset examples, as in section 1.1 of
the post), and a sample of clips from ten equal ranges between zero and the highest peak, because a neuron that looks
pure at the top often has company below (section 1.3). The phone and word at a peak come from the corpus' alignment.

How it can mislead: the top examples show where a neuron is loudest, not all that it does, and a handful of them agree
by chance more often than one thinks; hence every share comes with its 95 % interval and with the share that the phone
has of the whole corpus. Late layers answer a frame or two after the sound; what is named at a peak allows for the lag
of the whole site, which single neurons do not share. What the corpus does not contain, no example can show.

Example: `wspy analyze neuron --layer 2 --idx 3`, or `wspy.analyze("neuron", layer=2, idx=3)`. For any other
site: `wspy analyze unit --site encoder.blocks.2 --idx 5`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field

import wspy
from wspy.fields import Count, Layer, SiteName, Unit
from wspy.units import CHOSEN_SIGNS, SignChoice, UnitResult, mlp_site, unit_page, unit_result


class Neuron(wspy.Analysis["Neuron.Inputs", UnitResult]):
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
        sign: SignChoice = Field("positive", description="Look at the highest activations, the lowest, or both.")

    Result = UnitResult

    def run(self, inputs: Neuron.Inputs, context: wspy.Context) -> UnitResult:
        site = mlp_site(context, inputs.side, inputs.layer, inputs.idx)
        return unit_result(context, site, inputs.idx, top=inputs.top, signs=CHOSEN_SIGNS[inputs.sign])

    def view(self, result: UnitResult) -> list[wspy.Block]:
        return unit_page(result)


class UnitPage(wspy.Analysis["UnitPage.Inputs", UnitResult]):
    """The page of a neuron, for a unit of any site that has one value per frame or token."""

    api = 1
    name = "unit"
    summary = "What one unit of any site responds to, with audio."

    class Inputs(wspy.Inputs):
        site: SiteName = Field(description="Module path, as `wspy sites` lists them.")
        idx: Unit = Field(description="Unit within the site, counted from 0.")
        top: Count = Field(10, le=25, description="How many of the strongest clips to show, 1 to 25.")
        sign: SignChoice = Field("positive", description="Look at the highest activations, the lowest, or both.")

    Result = UnitResult

    def run(self, inputs: UnitPage.Inputs, context: wspy.Context) -> UnitResult:
        return unit_result(context, inputs.site, inputs.idx, top=inputs.top, signs=CHOSEN_SIGNS[inputs.sign])

    def view(self, result: UnitResult) -> list[wspy.Block]:
        return unit_page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Neuron)
    register(UnitPage)
