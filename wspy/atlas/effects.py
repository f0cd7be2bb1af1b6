"""Which tokens a decoder neuron speaks for and against: its direct effect on the logits.

With w what the neuron adds to the residual stream, E the token embedding (which Whisper uses to write, too) and g the
weight of the last LayerNorm, the effect on the tokens is E (g * (w - mean w)), leaving out the LayerNorm's scale, which
depends on the text. Given in standard deviations over all tokens of text, so that neurons can be compared.
"""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wspy.errors import DamagedAtlas
from wspy.files import write_atomic

if TYPE_CHECKING:
    from jaxtyping import Float32

    from wspy.model import Model

EFFECTS_KEPT = 10
_BATCH = 256


@dataclass(frozen=True)
class TokenEffect:
    """What a unit does to the logit of one token."""

    token: str
    effect: float
    """In standard deviations over all tokens of text."""


@dataclass(frozen=True)
class UnitEffects:
    """The tokens that a unit moves most."""

    promoted: tuple[TokenEffect, ...]
    suppressed: tuple[TokenEffect, ...]


def site_effects(model: Model, site: str) -> list[UnitEffects] | None:
    """For each neuron of a decoder MLP, the tokens that it moves most; None for other sites."""
    if not fnmatch.fnmatch(site, "decoder.blocks.*.mlp.1"):
        return None
    tokenizer = model.tokenizer()
    decoder = model.whisper.decoder
    written = model.whisper.get_submodule(f"{site[:-1]}2").weight.detach().float().cpu().numpy().T
    scale = decoder.ln.weight.detach().float().cpu().numpy()
    embedding = decoder.token_embedding.weight.detach().float().cpu().numpy()[: tokenizer.eot]
    moved = (written - written.mean(axis=1, keepdims=True)) * scale
    found: list[UnitEffects] = []
    for start in range(0, len(moved), _BATCH):
        found += [_strongest(row, tokenizer.encoding.decode) for row in moved[start : start + _BATCH] @ embedding.T]
    return found


def _strongest(effects: Float32[np.ndarray, " token"], decode: object) -> UnitEffects:
    assert callable(decode)
    scores = (effects - effects.mean()) / max(float(effects.std()), 1e-9)
    ends = np.argpartition(scores, (EFFECTS_KEPT, -EFFECTS_KEPT))
    low, high = ends[:EFFECTS_KEPT], ends[-EFFECTS_KEPT:]

    def named(ids: np.ndarray) -> tuple[TokenEffect, ...]:
        return tuple(TokenEffect(decode([int(n)]), round(float(scores[n]), 3)) for n in ids)

    return UnitEffects(named(high[np.argsort(-scores[high])]), named(low[np.argsort(scores[low])]))


def write_effects(path: Path, effects: list[UnitEffects]) -> None:
    """Write the effects of a site's units as JSON, in order."""
    rows = [[[[t.token, t.effect] for t in side] for side in (unit.promoted, unit.suppressed)] for unit in effects]
    write_atomic(path, json.dumps(rows, ensure_ascii=False))


def read_effects(path: Path) -> list[UnitEffects]:
    """What `write_effects` wrote.

    Raises:
        DamagedAtlas: it is something else.
    """
    try:
        rows = json.loads(path.read_text("utf-8"))
        return [UnitEffects(*(tuple(TokenEffect(str(t), float(e)) for t, e in side) for side in row)) for row in rows]
    except (OSError, TypeError, ValueError) as error:
        raise DamagedAtlas(str(path.parent), str(error)) from None
