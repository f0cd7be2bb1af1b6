"""Where a training stands, in one file that is written whole or not at all.

The file is safetensors: the weights, Adam's moments and the counters, and in its header the step, the settings and
what was reported so far. The order of the batches follows from the settings and the step (`wspy_sae.stream`), so
nothing of it is kept. Reading never executes anything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wspy_sae.learner import Learner
from wspy_sae.train_errors import DamagedCheckpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKPOINT = "checkpoint.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class Standing:
    """What a checkpoint says besides the weights."""

    step: int
    """Updates that have been made."""
    identity: dict[str, str]
    """What the training is of: settings, model and corpus, by name, so that a difference can be told."""
    scale: float
    history: list[dict[str, float]]
    seconds: float


def save_checkpoint(path: Path, learner: Learner, optimizer: torch.optim.Optimizer, standing: Standing) -> None:
    """Replace the checkpoint."""
    from safetensors.torch import save

    from wspy.files import write_atomic

    tensors: dict[str, Tensor] = {f"learner.{name}": value for name, value in learner.state_dict().items()}
    for name, parameter in learner.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{name}.{moment}"] = torch.as_tensor(value)
    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    header = {
        "step": str(standing.step),
        "identity": json.dumps(standing.identity),
        "scale": standing.scale.hex(),
        "history": json.dumps(standing.history),
        "seconds": str(standing.seconds),
    }
    write_atomic(path, save(content, header))


def load_checkpoint(path: Path) -> tuple[Standing, dict[str, Tensor]]:
    """What `save_checkpoint` wrote.

    Raises:
        DamagedCheckpoint: the file is no whole checkpoint.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header: Mapping[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        standing = Standing(
            int(header["step"]),
            json.loads(header["identity"]),
            float.fromhex(header["scale"]),
            json.loads(header["history"]),
            float(header["seconds"]),
        )
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DamagedCheckpoint(str(path), str(error)) from None
    return standing, tensors


def restore(learner: Learner, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put a checkpoint's tensors into the learner and its optimizer.

    Raises:
        DamagedCheckpoint: a tensor is missing or of another shape.
    """
    fused = bool(optimizer.defaults.get("fused"))  # then even the counter of steps is on the device
    try:
        own = {name: tensors[f"learner.{name}"] for name in learner.state_dict()}
        learner.load_state_dict(own)
        for name, parameter in learner.named_parameters():
            moments = {moment: tensors[key] for moment in _MOMENTS if (key := f"optimizer.{name}.{moment}") in tensors}
            if moments:
                optimizer.state[parameter] = {
                    moment: value if moment == "step" and not fused else value.to(parameter.device)
                    for moment, value in moments.items()
                }
    except (KeyError, RuntimeError) as error:
        raise DamagedCheckpoint(str(path), str(error)) from None
