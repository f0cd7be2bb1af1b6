"""What carries out the updates: one process in single precision, or Accelerate for everything else.

Accelerate (the extra `train`) brings mixed precision, several processes (`accelerate launch -m wspy.cli sae train
...`, on a CPU `torchrun`) and logs for TensorBoard. Without any of these, nothing but torch is needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from wspy.errors import MissingExtra
from wspy_sae.learner import Learner
from wspy_sae.settings import Precision
from wspy_sae.train_errors import BadTraining

if TYPE_CHECKING:
    from accelerate import Accelerator

PACKAGES = ("'wspy[train]'",)


class Engine(Protocol):
    """Where the learner computes, and with whom."""

    rank: int
    n_ranks: int
    device: torch.device

    def prepare(self, learner: Learner, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The learner as it is called, and the optimizer as it is stepped."""
        ...

    def backward(self, loss: Tensor) -> None: ...

    def clip(self, learner: Learner, norm: float) -> None: ...

    def mean(self, value: Tensor) -> Tensor:
        """Over all processes."""
        ...

    def log(self, values: Mapping[str, float], step: int) -> None: ...

    def wait(self) -> None:
        """Until all processes have come here."""
        ...

    def finish(self) -> None: ...


class Plain:
    """One process, single precision."""

    rank, n_ranks = 0, 1

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")

    def prepare(self, learner: Learner, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        return learner, optimizer

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def clip(self, learner: Learner, norm: float) -> None:
        nn.utils.clip_grad_norm_(learner.parameters(), norm)

    def mean(self, value: Tensor) -> Tensor:
        return value

    def log(self, values: Mapping[str, float], step: int) -> None:
        return

    def wait(self) -> None:
        return

    def finish(self) -> None:
        return


class Accelerated:
    """Mixed precision, several processes, logs: through Accelerate."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.rank, self.n_ranks = accelerator.process_index, accelerator.num_processes
        self.device: torch.device = accelerator.device

    def prepare(self, learner: Learner, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        prepared = self.accelerator.prepare(learner, optimizer)
        return prepared[0], prepared[1]

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def clip(self, learner: Learner, norm: float) -> None:
        self.accelerator.clip_grad_norm_(learner.parameters(), norm)

    def mean(self, value: Tensor) -> Tensor:
        reduced: Tensor = self.accelerator.reduce(value.float(), reduction="mean")
        return reduced

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.accelerator.log(dict(values), step=step)

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()

    def finish(self) -> None:
        self.accelerator.end_training()


def make_engine(precision: Precision, device: torch.device, logs: Path | None = None) -> Engine:
    """The simplest engine that does what is wanted.

    Args:
        logs: a folder for TensorBoard's logs; None writes none.

    Raises:
        MissingExtra: Accelerate or TensorBoard is wanted and not installed.
        BadTraining: half precision on the CPU.
    """
    if precision == "fp16" and device.type == "cpu":
        raise BadTraining("--precision", precision, "the CPU knows fp32 and bf16")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if precision == "fp32" and logs is None and not several:
        return Plain(device)
    try:
        from accelerate import Accelerator

        if logs is not None:
            import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        what = "--tensorboard" if logs is not None else "Training in several processes, or in mixed precision,"
        raise MissingExtra(what, PACKAGES) from None
    accelerator = Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        cpu=device.type == "cpu",
        log_with="tensorboard" if logs is not None else None,
        project_dir=str(logs) if logs is not None else None,
    )
    if logs is not None:
        accelerator.init_trackers("wspy")
    return Accelerated(accelerator)
