"""Dictionaries of a random model, as the tests of their features need them."""

from __future__ import annotations

import numpy as np
import torch

from wspy.corpus import Clip, Corpus
from wspy.model import Model
from wspy_sae.dictionary import Dictionary, DictionaryConfig
from wspy_sae.store import save_dictionary

SITE = "encoder.blocks.0"


def toy_dictionary(model: Model, site: str = SITE, d_sae: int = 40, *, d_in: int = 64, **config: object) -> Dictionary:
    """Random directions, of which some fire in every frame of a random model."""
    given = {
        "architecture": "jumprelu",
        "trained_as": "batchtopk",
        "d_in": d_in,
        "d_sae": d_sae,
        "k": 5,
        "site": site,
        "model_name": model.name,
        "model_sha256": model.reference.sha256,
        **config,
    }
    made = Dictionary(DictionaryConfig.model_validate(given))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        made.W_dec.copy_(torch.randn(d_sae, d_in, generator=generator))
        made.W_dec.div_(made.W_dec.norm(dim=1, keepdim=True))
        made.W_enc.copy_(made.W_dec.t())
        made.b_dec.copy_(torch.linspace(-0.2, 0.2, d_in))
        made.threshold.fill_(0.8)
    return made


def kept(model: Model, name: str = "toy", **given: object) -> Dictionary:
    """A toy dictionary that is also on disk."""
    made = toy_dictionary(model, **given)  # type: ignore[arg-type]
    save_dictionary(made, name)
    return made


def sound(seconds: float = 1.3, seed: int = 0) -> np.ndarray:
    """Noise whose loudness comes and goes."""
    rng = np.random.default_rng(seed)
    n = round(seconds * 16_000)
    loud = 0.02 + 0.3 * (np.sin(np.arange(n) / 16_000 * 2 * np.pi * 3) > 0)
    return (rng.standard_normal(n) * loud).astype(np.float32)


def corpus_of(n_clips: int = 4, text: str | None = "a word") -> Corpus:
    """Clips of noise."""
    return Corpus.in_memory(
        "toys",
        [(sound(0.6 + 0.2 * at, at), Clip(f"clip-{at}", text=text, language="en"), None) for at in range(n_clips)],
    )
