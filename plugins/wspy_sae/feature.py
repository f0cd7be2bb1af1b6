"""What one feature of a sparse dictionary responds to, what it reads, and what it promotes.

Question: which sounds drive a feature, which neurons make it fire, which features are like it, and, in the last layer,
what does it make the decoder write?

Method: the page of a neuron, through the same atlas: features are the units of the site `sae:NAME`
(see `wspy analyze neuron`). Besides:

Nearest features have the highest cosine between their rows of W_dec (by direction), or answer most alike to the phones.

Neurons it reads from. In the residual stream after block L nothing lies between what MLP neurons write and what the
encoder of the dictionary reads, so a feature's pre-activation is a sum. With e the feature's column of W_enc, a_n the
activation of neuron n of a block up to L and w_n what it writes into the stream,

    pre-activation = sum over n of a_n (e . w_n)  +  what attention, convolutions and biases write  + constants

`cosine` is that of e and w_n. `at peaks` is a_n (e . w_n), mean over the peaks of the feature's strongest clips,
`elsewhere` the same over all other frames of these clips; neurons are ranked by the cosine, and by how much more they
give at the peaks. Control: the highest cosine that a random direction has with any of these neurons, mean of 100.

Tokens it promotes (dictionaries of the last block, or of ln_post). With d the feature's row of W_dec, g(d) the
linear part of ln_post (d less its mean, times its weight; its normaliser is a common factor), V and O a cross-attention
head's value and output, G the same part of the decoder's last layer norm and E the token embedding:

    effect on the logits = E G (sum over layers and heads of O V g(d))

That is the direct path, with every head looking at nothing but the feature's frame; the mean over all tokens is taken
off. `score` is the effect on a token over its standard deviation for random directions d of the same length: 0 is no
effect, 3 is what one random direction in 700 reaches for that token. Since there are some 50,000 tokens, every
direction has some that score high: so the highest score stands beside those of 200 random directions. `gain` of a head
is the length of O V g(d) over what random directions get.

Papers: Bricken et al. 2023 (a feature's page, logit weights), Elhage et al. 2021 (paths through V and O, layer norm
folded in), Marks et al. 2024 (features from features).

How it can mislead: what the top clips share is not all that a feature does. Direct paths leave out what the MLPs of the
decoder and its later layers make of it; a token that is promoted need not be written. A neuron that writes along the
feature's direction need not be active when it fires: see `at peaks`. Everything in `wspy sae eval` holds: random
directions look meaningful, too (`wspy sae random --like NAME` makes a dictionary of them).

Example: `wspy analyze sae --sae demo --idx 3`, or `wspy.analyze("sae", sae="demo", idx=3)`.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import Count, Unit
from wspy.units import SignChoice, UnitResult


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NeuronRead(_Part):
    """A neuron whose output the feature reads."""

    layer: int = Field(description="Block of the encoder, counted from 0.")
    idx: int = Field(description="Neuron within the block's MLP.")
    cosine: float = Field(description="Of what it writes and the feature's encoder direction, -1 to 1.")
    at_peaks: float = Field(description="What it adds to the pre-activation at the feature's peaks, mean.")
    elsewhere: float = Field(description="The same in all other frames of these clips.")


class Reads(_Part):
    """The neurons of this block and earlier ones, as the feature reads them."""

    n_neurons: int = Field(description="Neurons that write into the site.")
    n_peaks: int = Field(description="Clips whose peaks were measured.")
    chance: float = Field(description="Highest absolute cosine of a random direction with any of them, mean of 100.")
    pre_activation: float = Field(description="Of the feature at these peaks, mean.")
    pre_activation_elsewhere: float = Field(description="Of the feature in all other frames of these clips, mean.")
    neurons_at_peaks: float = Field(description="All neurons' part of it at the peaks.")
    neurons_elsewhere: float = Field(description="All neurons' part elsewhere.")
    along: tuple[NeuronRead, ...] = Field(description="Those with the highest absolute cosine.")
    drivers: tuple[NeuronRead, ...] = Field(description="Those that give most more at the peaks than elsewhere.")


class TokenScore(_Part):
    """A token and how much the feature promotes it."""

    token: str = Field(description="As the decoder writes it, with its leading space.")
    score: float = Field(description="In standard deviations of random directions' effects on it.")


class HeadEffect(_Part):
    """What one cross-attention head hands on of the feature."""

    layer: int = Field(description="Block of the decoder, counted from 0.")
    head: int = Field(description="Head within the layer.")
    gain: float = Field(description="Length of what it hands on, over that for a random direction (root mean square).")
    tokens: tuple[str, ...] = Field(description="What this head alone promotes most.")


class Promotes(_Part):
    """The tokens that the feature promotes through cross-attention."""

    up: tuple[TokenScore, ...] = Field(description="The highest scores.")
    down: tuple[TokenScore, ...] = Field(description="The lowest scores.")
    highest: float = Field(description="The highest score.")
    highest_random: float = Field(description="The same for a random direction, median of 200.")
    beaten: float = Field(description="Share of the 200 random directions with a lower highest score.")
    heads: tuple[HeadEffect, ...] = Field(description="The heads with the highest gain.")


class SaeResult(UnitResult):
    """What one feature responds to, reads and promotes."""

    sae: str = Field(description="The dictionary.")
    base: str = Field(description="Module path of the activations that it reads.")
    d_sae: int = Field(description="Features of the dictionary.")
    reads: Reads | None = Field(description="Null where the dictionary is not one of the residual stream.")
    promotes: Promotes | None = Field(description="Null where the decoder does not read the site.")


class Sae(wspy.Analysis["Sae.Inputs", SaeResult]):
    """The page of a neuron for a feature, with its neighbours, the neurons it reads and the tokens it promotes."""

    api = 1
    name = "sae"
    summary = "What one feature of a sparse dictionary responds to, reads and promotes, with audio."

    class Inputs(wspy.Inputs):
        sae: str = Field(description="The dictionary: a name that `wspy sae list` lists.")
        idx: Unit = Field(description="Feature of the dictionary, counted from 0.")
        top: Count = Field(10, le=25, description="How many of the strongest clips to show, 1 to 25.")
        sign: SignChoice = Field(
            "positive", description="Look at the highest activations, the lowest, or both; features are not negative."
        )

    Result = SaeResult

    def run(self, inputs: Sae.Inputs, context: wspy.Context) -> SaeResult:
        from wspy_sae.feature_run import feature_page_of

        return feature_page_of(inputs, context)

    def view(self, result: SaeResult) -> list[wspy.Block]:
        from wspy_sae.feature_page import page

        return page(result)
