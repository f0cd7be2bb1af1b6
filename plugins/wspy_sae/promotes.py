"""The tokens that a feature of the last layer promotes: see the formula in `wspy_sae.feature`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from wspy_sae.feature import HeadEffect, Promotes, TokenScore

if TYPE_CHECKING:
    from jaxtyping import Float

    import wspy
    from wspy.model import Model
    from wspy_sae.dictionary import Dictionary

SHOWN, SHOWN_HEADS, PER_HEAD = 12, 6, 5
N_RANDOM = 200
AT_ONCE = 8192
"""Tokens whose effects are computed at once, which bounds the memory."""


def promoted(dictionary: Dictionary, idx: int, context: wspy.Context) -> Promotes:
    """The tokens with the highest and lowest scores, next to random directions."""
    model = context.model
    direction = dictionary.W_dec[idx]
    random = torch.from_numpy(context.rng.standard_normal((N_RANDOM, len(direction))).astype(np.float32))
    normed = dictionary.config.site == "encoder.ln_post"
    effects = token_effects(model, normed=normed)
    sizes = effects.norm(dim=1).clamp_min(1e-30) / len(direction) ** 0.5
    scores = (effects @ (direction / direction.norm().clamp_min(1e-30))) / sizes
    random /= random.norm(dim=1, keepdim=True)
    highest = torch.stack([((effects @ one) / sizes).max() for one in random])
    order = scores.argsort(descending=True).tolist()
    tokenizer = model.tokenizer()

    def scored(at: int) -> TokenScore:
        return TokenScore(token=tokenizer.decode([at]), score=float(scores[at]))

    return Promotes(
        up=tuple(scored(at) for at in order[:SHOWN]),
        down=tuple(scored(at) for at in order[: -SHOWN - 1 : -1]),
        highest=float(scores.max()),
        highest_random=float(highest.median()),
        beaten=float((highest < scores.max()).float().mean()),
        heads=_heads(model, direction, normed=normed),
    )


def token_effects(model: Model, *, normed: bool) -> Float[Tensor, "token d_model"]:
    """What a direction d at the site does to each token's logit is its row of this, times d.

    Only tokens of text, their mean taken off.

    Args:
        normed: whether d is added after ln_post already.
    """
    decoder = model.whisper.decoder
    path = torch.stack([_weight(block.cross_attn.out) @ _weight(block.cross_attn.value) for block in decoder.blocks])
    whole = _linear(decoder.ln) @ path.sum(dim=0)
    if not normed:
        whole = whole @ _linear(model.whisper.encoder.ln_post)
    embedding = decoder.token_embedding.weight.detach().float().cpu()[: model.tokenizer().eot]
    effects = torch.cat([some @ whole for some in embedding.split(AT_ONCE)])
    return effects - effects.mean(dim=0)


def _linear(norm: nn.LayerNorm) -> Float[Tensor, "d_model d_model"]:
    """What a layer norm does to a small addition, but for its normaliser: the mean off, times the weight."""
    weight = norm.weight.detach().float().cpu()
    n = len(weight)
    return weight[:, None] * (torch.eye(n) - 1 / n)


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return layer.weight.detach().float().cpu()


def _heads(model: Model, direction: Float[Tensor, " d_model"], *, normed: bool) -> tuple[HeadEffect, ...]:
    """The heads that hand most of it on, compared with random directions."""
    decoder, dims = model.whisper.decoder, model.dims
    before = torch.eye(len(direction)) if normed else _linear(model.whisper.encoder.ln_post)
    after, d_head = _linear(decoder.ln), dims.d_model // dims.n_text_head
    embedding = decoder.token_embedding.weight.detach().float().cpu()[: model.tokenizer().eot]
    unit = direction / direction.norm().clamp_min(1e-30)
    found = []
    for layer, block in enumerate(decoder.blocks):
        out, value = _weight(block.cross_attn.out), _weight(block.cross_attn.value)
        for head in range(dims.n_text_head):
            part = slice(head * d_head, (head + 1) * d_head)
            path = out[:, part] @ (value[part] @ before)
            # A random direction of length 1 gives the squared length |path|^2 / d_model on average.
            typical = float(path.norm()) / len(direction) ** 0.5
            handed = path @ unit
            found.append((float(handed.norm()) / max(typical, 1e-30), layer, head, handed))
    found.sort(key=lambda one: -one[0])
    tokenizer = model.tokenizer()
    heads = []
    for gain, layer, head, handed in found[:SHOWN_HEADS]:
        logits = embedding @ (after @ handed)
        best = logits.argsort(descending=True)[:PER_HEAD].tolist()
        heads.append(HeadEffect(layer=layer, head=head, gain=gain, tokens=tuple(tokenizer.decode([at]) for at in best)))
    return tuple(heads)
