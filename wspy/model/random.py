"""The control that knows nothing: the same architecture with its weights shuffled."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from wspy.model.reference import ModelReference

if TYPE_CHECKING:
    from wspy.model.load import Model


def random_reference(reference: ModelReference, seed: int = 0) -> ModelReference:
    """What `random_weights` gives, known without loading anything."""
    digest = hashlib.sha256(f"shuffled weights, seed {seed}, of {reference.sha256}".encode()).hexdigest()
    return replace(reference, name=f"{reference.name}-random{seed}", path=None, sha256=digest)


def random_weights(model: Model, seed: int = 0) -> Model:
    """A copy of a model in which the entries of every weight tensor are shuffled.

    Each tensor keeps its distribution, so activations keep roughly their scale, while everything learned is gone. What
    units of such a model seem to detect comes from the architecture and from the sound itself.
    """
    import torch

    whisper = copy.deepcopy(model.whisper)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in whisper.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return replace(model, whisper=whisper, reference=random_reference(model.reference, seed))
