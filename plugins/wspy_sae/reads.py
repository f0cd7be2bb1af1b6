"""The neurons that a feature reads from, by their weights and by what they give when it fires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wspy.audio import n_frames, s_to_frame
from wspy.model import capture, encode, mel_batch
from wspy_sae.feature import NeuronRead, Reads

if TYPE_CHECKING:
    from jaxtyping import Float

    import wspy
    from wspy.model import Model
    from wspy_sae.dictionary import Dictionary

SHOWN = 10
N_RANDOM = 100


def read_from(dictionary: Dictionary, idx: int, peaks: Sequence[tuple[str, float]], context: wspy.Context) -> Reads:
    """The neurons of the site's block and of earlier ones, ranked in two ways.

    Args:
        peaks: clips by id, and the moments at which the feature fires most; empty for one that never fires.
    """
    model, site = context.model, dictionary.config.site
    n_layers = int(site.rpartition(".")[2]) + 1
    written = neuron_directions(model, n_layers)  # [layer neuron d_model]
    direction = dictionary.W_enc[:, idx]
    gains = written @ direction
    lengths = written.norm(dim=-1) * direction.norm()
    cosines = gains / lengths.clamp_min(1e-30)
    found = _measure(model, site, gains, peaks, context)
    pre = dictionary.pre_activations
    ranked = cosines.abs().flatten().argsort(descending=True)[:SHOWN].tolist()
    more = (found.at_peaks - found.elsewhere).flatten().argsort(descending=True)[: SHOWN if peaks else 0].tolist()
    n_neurons = written.shape[1]

    def neuron(at: int) -> NeuronRead:
        layer, unit = divmod(at, n_neurons)
        return NeuronRead(
            layer=layer,
            idx=unit,
            cosine=float(cosines[layer, unit]),
            at_peaks=float(found.at_peaks[layer, unit]),
            elsewhere=float(found.elsewhere[layer, unit]),
        )

    def mean_of(x: Float[Tensor, "frame d_model"]) -> float:
        return float(pre(x)[:, idx].mean()) if len(x) else 0.0

    return Reads(
        n_neurons=n_layers * n_neurons,
        n_peaks=len(peaks),
        chance=_chance(written.flatten(0, 1), context.rng),
        pre_activation=mean_of(found.stream_at_peaks),
        pre_activation_elsewhere=mean_of(found.stream_elsewhere),
        neurons_at_peaks=float(found.at_peaks.sum()),
        neurons_elsewhere=float(found.elsewhere.sum()),
        along=tuple(neuron(at) for at in ranked),
        drivers=tuple(neuron(at) for at in more),
    )


def neuron_directions(model: Model, n_layers: int) -> Float[Tensor, "layer neuron d_model"]:
    """What each MLP neuron of the first blocks adds to the residual stream per unit of activation."""
    blocks = model.whisper.encoder.blocks
    return torch.stack([blocks[layer].mlp[2].weight.detach().float().cpu().t() for layer in range(n_layers)])


@dataclass(frozen=True, eq=False)
class _Measured:
    at_peaks: Float[Tensor, "layer neuron"]
    """What each neuron adds to the pre-activation, mean over the peaks."""
    elsewhere: Float[Tensor, "layer neuron"]
    stream_at_peaks: Float[Tensor, "frame d_model"]
    stream_elsewhere: Float[Tensor, "frame d_model"]


def _measure(
    model: Model,
    site: str,
    gains: Float[Tensor, "layer neuron"],
    peaks: Sequence[tuple[str, float]],
    context: wspy.Context,
) -> _Measured:
    """One pass over the clips of the peaks, each padded to 30 s."""
    n_layers = len(gains)
    neurons = [f"encoder.blocks.{layer}.mlp.1" for layer in range(n_layers)]
    sums, rest, n_rest = torch.zeros_like(gains), torch.zeros_like(gains), 0
    streams: list[Tensor] = []
    others: list[Tensor] = []
    clips = {clip.id: clip for clip in context.corpus.clips}
    for name, peak_s in context.progress.track(peaks, "Reading neurons at the peaks", len(peaks), unit="clips"):
        samples = context.corpus.audio(clips[name])
        frames, at = n_frames(len(samples)), s_to_frame(peak_s)
        with torch.inference_mode(), capture(model, [*neurons, site]) as cache:
            encode(model, mel_batch(model, [samples]), stop_after=site)
        active = torch.stack([cache[neuron][0, :frames].float().cpu() for neuron in neurons])  # layer frame neuron
        sums += active[:, at]
        rest += active.sum(dim=1) - active[:, at]
        n_rest += frames - 1
        stream = cache[site][0, :frames].float().cpu()
        streams.append(stream[at : at + 1])
        others.append(torch.cat([stream[:at], stream[at + 1 :]]))
    none = torch.zeros(0, model.dims.d_model)
    return _Measured(
        gains * sums / max(len(peaks), 1),
        gains * rest / max(n_rest, 1),
        torch.cat(streams) if streams else none,
        torch.cat(others) if others else none,
    )


def _chance(written: Float[Tensor, "neuron d_model"], rng: np.random.Generator) -> float:
    """The highest absolute cosine that a random direction has with any neuron, on average."""
    random = torch.from_numpy(rng.standard_normal((N_RANDOM, written.shape[1])).astype(np.float32))
    random /= random.norm(dim=1, keepdim=True)
    units = written / written.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return float((random @ units.t()).abs().max(dim=1).values.mean())
