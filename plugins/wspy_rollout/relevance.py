"""The rules that carry relevance through attention, and the patterns and gradients that they need.

Numbers in brackets are equations of Chefer, Gur and Wolf 2021 (arXiv 2103.15679), section 3. In every map, rows are
what looks (queries) and columns what is looked at (keys).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wspy.model import Model, TokenSequence, capture, encode, patch, teacher_force

if TYPE_CHECKING:
    from jaxtyping import Float

# Weights take no gradient, so the graph begins at these: no pattern lies below them.
ROOTS = "encoder.blocks.0.attn.pattern", "decoder.blocks.0.attn.pattern"


# --- patterns and gradients -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class EncoderPass:
    """What the encoder made of one clip, with the graph of how: a target that is computed from it has gradients."""

    features: Float[Tensor, "1 frame d_model"]
    patterns: tuple[Float[Tensor, "1 head frame frame"], ...]


@dataclass(frozen=True, eq=False)
class DecoderPass:
    """What the decoder made of one text, with the graph that reaches back into the encoder."""

    logits: Float[Tensor, "token n_vocab"]
    own: tuple[Float[Tensor, "1 head token token"], ...]
    cross: tuple[Float[Tensor, "1 head token frame"], ...]


def encoder_pass(model: Model, mel: Float[Tensor, "1 mel 2*frame"]) -> EncoderPass:
    """Run the encoder and keep its patterns and its graph, about two patterns' worth of memory a layer."""
    with (
        torch.enable_grad(),
        patch(model, {ROOTS[0]: _with_gradient}),
        capture(model, "encoder.blocks.*.attn.pattern", detach=False) as cache,
    ):
        features = encode(model, mel)
    assert features is not None
    return EncoderPass(features, tuple(cache.values()))


def decoder_pass(model: Model, encoded: EncoderPass, sequence: TokenSequence) -> DecoderPass:
    """Let the decoder read a text over what the encoder made, and keep its patterns and its graph."""
    with (
        torch.enable_grad(),
        patch(model, {ROOTS[1]: _with_gradient}),
        capture(model, ["decoder.blocks.*.attn.pattern", "decoder.blocks.*.cross_attn.pattern"], detach=False) as cache,
    ):
        logits = teacher_force(model, encoded.features, [sequence]).logits[0]
    cross = tuple(pattern for site, pattern in cache.items() if ".cross_attn." in site)
    return DecoderPass(logits, tuple(pattern for site, pattern in cache.items() if ".cross_attn." not in site), cross)


def contributions(
    target: Float[Tensor, ""], patterns: Sequence[Float[Tensor, "1 head query key"]]
) -> list[Float[Tensor, "query key"]]:
    """How much each weight of each pattern raises the target: the mean over heads of (gradient * pattern)+, [5].

    The graph is kept, for another target.
    """
    gradients = torch.autograd.grad(target, patterns, retain_graph=True)
    with torch.no_grad():
        return [
            gradient.mul_(pattern).clamp_(min=0).mean(dim=1)[0]
            for gradient, pattern in zip(gradients, patterns, strict=True)
        ]


def _with_gradient(pattern: Tensor) -> Tensor:
    return pattern.requires_grad_(True)


# --- rules ------------------------------------------------------------------------------------------------


@torch.no_grad()
def self_relevance(layers: Sequence[Float[Tensor, "query key"]]) -> Float[Tensor, "query key"]:
    """R - 1, where R starts as the identity and each layer makes R + A R of it, [6]; `layers` from the first on.

    The identity, what a position brings along by itself, is left out: beside it, what attention moves would not be
    seen. Kept apart from the start, so that no digit is lost to it.
    """
    moved = torch.zeros_like(layers[0])
    for layer in layers:
        moved = moved + layer + layer @ moved
    return moved


@torch.no_grad()
def cross_relevance(
    own: Sequence[Float[Tensor, "token token"]], cross: Sequence[Float[Tensor, "token frame"]]
) -> Float[Tensor, "token frame"]:
    """Relevance of the encoder's outputs to the decoder's positions, before it is carried on by `through_encoder`.

    In each layer, self-attention passes on what the positions have gathered, [7], and cross-attention adds to it,
    weighted by the normalised relevance among the positions, transposed as in the paper, [10]. The right-hand factor of
    [10], the encoder's own relevance, is the same in all layers, so it can be multiplied at the end.
    """
    n_tokens = len(own[0])
    among = torch.zeros_like(own[0])  # R - 1 of the positions
    identity = torch.eye(n_tokens, dtype=among.dtype, device=among.device)
    gathered = torch.zeros_like(cross[0])
    for own_layer, cross_layer in zip(own, cross, strict=True):
        among = among + own_layer + own_layer @ among
        gathered = gathered + own_layer @ gathered
        gathered = gathered + (_row_shares(among) + identity).T @ cross_layer
    return gathered


@torch.no_grad()
def through_encoder(
    rows: Float[Tensor, "token frame"], layers: Sequence[Float[Tensor, "frame frame"]]
) -> Float[Tensor, "token frame"]:
    """`rows` times the normalised relevance of the encoder, (R - 1) / (its row sums) + 1, [8, 9].

    Without making the frame by frame map: a row at a time passes through the layers.
    """
    sums = torch.zeros_like(layers[0][:, 0])
    for layer in layers:
        sums = sums + layer @ (1 + sums)
    weights = torch.where(sums > 0, rows / sums, torch.zeros_like(rows))  # a frame that attention moved nothing to
    moved = torch.zeros_like(rows)
    for layer in reversed(layers):
        moved = moved + (weights + moved) @ layer
    return rows + moved


@torch.no_grad()
def plain_rollout(patterns: Sequence[Float[Tensor, "1 head frame frame"]]) -> Float[Tensor, "frame frame"]:
    """Attention rollout, Abnar and Zuidema 2020 (arXiv 2005.00928), without the identity that it carries.

    The product over the layers of (mean over heads + 1) / 2, whose rows sum to 1, less 1 / 2^layers on the diagonal:
    the path that no attention took. So the rows that are returned sum to 1 - 1 / 2^layers.
    """
    moved = torch.zeros_like(patterns[0][0, 0])
    kept = 1.0
    for pattern in patterns:
        mean = pattern.mean(dim=1)[0].detach()
        mean = mean / mean.sum(dim=-1, keepdim=True)
        moved = (moved + mean @ moved + kept * mean) / 2
        kept /= 2
    return moved


def _row_shares(matrix: Float[Tensor, "query key"]) -> Float[Tensor, "query key"]:
    """Each row divided by its sum, [8, 9]; rows of zeros stay."""
    sums = matrix.sum(dim=-1, keepdim=True)
    return torch.where(sums > 0, matrix / sums, torch.zeros_like(matrix))
