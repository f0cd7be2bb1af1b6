"""What a person sees of a feature: the page of a unit, with its neurons and tokens before the sounds."""

from __future__ import annotations

import wspy
from wspy.units import unit_page
from wspy_sae.feature import NeuronRead, Promotes, Reads, SaeResult


def page(result: SaeResult) -> list[wspy.Block]:
    """The summary of the unit first, what is of features only next, then what a unit has."""
    summary, *rest = unit_page(result)
    return [summary, _summary(result), *_reads(result), *_promotes(result), *rest]


def _summary(result: SaeResult) -> wspy.Text:
    lines = [f"A feature of the dictionary `{result.sae}`, one of {result.d_sae:,}, computed from {result.base}."]
    if result.near_direction:
        nearest = result.near_direction[0]
        lines.append(
            f"The feature that writes most alike is {nearest.unit}, with a cosine of {nearest.similarity:.2f}."
        )
    reads, promotes = result.reads, result.promotes
    if reads is None:
        lines.append(
            f"{result.base} is not the residual stream, so no neuron writes straight into it and none is listed."
        )
    elif reads.n_peaks:
        more = reads.pre_activation - reads.pre_activation_elsewhere
        neurons = reads.neurons_at_peaks - reads.neurons_elsewhere
        lines.append(
            f"At its peaks its pre-activation is {more:.2f} above that of the frames around; "
            f"{neurons:.2f} of it come straight from MLP neurons, the rest from attention and the convolutions."
        )
    if promotes is not None:
        verdict = "more than" if promotes.beaten >= 0.95 else "no more than"
        lines.append(
            f"Through cross-attention it promotes {', '.join(f'“{one.token}”' for one in promotes.up[:5])}. Its "
            f"highest score, {promotes.highest:.1f}, is {verdict} chance: random directions reach "
            f"{promotes.highest_random:.1f}, and it is above {promotes.beaten:.0%} of them."
        )
    else:
        lines.append("The decoder does not read this layer, so there are no tokens that it promotes directly.")
    return wspy.Text(markdown="\n\n".join(lines))


def _reads(result: SaeResult) -> list[wspy.Block]:
    reads = result.reads
    if reads is None:
        return []
    blocks: list[wspy.Block] = []
    if reads.drivers:
        blocks.append(_neurons("Neurons that drive it at its peaks", reads.drivers, reads))
    blocks.append(_neurons("Neurons that write along its encoder direction", reads.along, reads))
    return blocks


def _neurons(title: str, neurons: tuple[NeuronRead, ...], reads: Reads) -> wspy.Table:
    return wspy.Table(
        title=f"{title} (of {reads.n_neurons:,}; highest cosine of a random direction: {reads.chance:.2f})",
        columns=(
            wspy.Column(name="layer"),
            wspy.Column(name="neuron", description="To see it: wspy analyze neuron --layer L --idx N."),
            wspy.Column(name="cosine", decimals=3, description="Of what it writes and the feature's encoder column."),
            wspy.Column(name="at peaks", decimals=3, description="What it adds to the pre-activation there, mean."),
            wspy.Column(name="elsewhere", decimals=3, description="The same in the other frames of these clips."),
        ),
        rows=tuple((one.layer, one.idx, one.cosine, one.at_peaks, one.elsewhere) for one in neurons),
    )


def _promotes(result: SaeResult) -> list[wspy.Block]:
    promotes = result.promotes
    return [] if promotes is None else [_tokens(promotes), _heads(promotes)]


def _tokens(promotes: Promotes) -> wspy.Table:
    return wspy.Table(
        title=f"Tokens it promotes and holds back (highest score of a random direction: {promotes.highest_random:.1f})",
        columns=(
            wspy.Column(name="promoted"),
            wspy.Column(name="score", decimals=1, description="In standard deviations of random directions' effects."),
            wspy.Column(name="held back"),
            wspy.Column(name="its score", decimals=1, description="The same, below zero."),
        ),
        rows=tuple(
            (repr(up.token), up.score, repr(down.token), down.score)
            for up, down in zip(promotes.up, promotes.down, strict=True)
        ),
    )


def _heads(promotes: Promotes) -> wspy.Table:
    return wspy.Table(
        title="Cross-attention heads that hand it on",
        columns=(
            wspy.Column(name="layer", description="Of the decoder."),
            wspy.Column(name="head"),
            wspy.Column(name="gain", decimals=2, description="Length of what it hands on; 1 for a random direction."),
            wspy.Column(name="tokens", description="What this head alone promotes most."),
        ),
        rows=tuple((one.layer, one.head, one.gain, ", ".join(map(repr, one.tokens))) for one in promotes.heads),
    )
