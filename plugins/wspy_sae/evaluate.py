"""How well a dictionary reconstructs activations, and with how many features: sums over frames, clip by clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jaxtyping import Float, Int64

    from wspy_sae.dictionary import Dictionary

DENSITY_EDGES = tuple(at / 2 for at in range(-8, 1))
"""Of the histogram of densities: decimal logarithms of the share of frames."""
AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What the sums say."""

    n_frames: int
    fvu: float
    """Squared error over the squared distance from the mean of all frames: 1 is what predicting the mean scores."""
    l0: float
    l1: float
    cosine: float
    """Between input and reconstruction, mean over frames."""
    l2_ratio: float
    """Length of the reconstruction over that of the input, mean over frames."""
    bias: float
    """Relative reconstruction bias: 1 is none, less means that reconstructions shrink (Rajamanoharan et al. 2024)."""
    counts: Int64[np.ndarray, " d_sae"]
    """Frames in which each feature fires."""

    @property
    def densities(self) -> Float[np.ndarray, " d_sae"]:
        """Share of the frames in which each feature fires."""
        return self.counts / max(self.n_frames, 1)

    @property
    def dead(self) -> float:
        """Share of the features that fire nowhere."""
        return float((self.counts == 0).mean())

    def density_histogram(self) -> list[int]:
        """Features that never fire, then features per bin of `DENSITY_EDGES`; what is rarer counts into the first."""
        logs = np.log10(np.maximum(self.densities[self.counts > 0], 10 ** DENSITY_EDGES[0]))
        found: list[int] = np.histogram(logs, DENSITY_EDGES)[0].tolist()
        return [int((self.counts == 0).sum()), *found]


class Tally:
    """Takes in activations with their features and reconstructions."""

    def __init__(self, d_in: int, d_sae: int) -> None:
        self.n = 0
        self.sum = torch.zeros(d_in, dtype=torch.float64)
        self.square = self.error = self.l0 = self.l1 = self.cosine = self.ratio = self.product = self.power = 0.0
        self.counts = torch.zeros(d_sae, dtype=torch.int64)
        self._origin: Tensor | None = None

    def add(
        self, x: Float[Tensor, "frame d_in"], features: Float[Tensor, "frame d_sae"], x_hat: Float[Tensor, "frame d_in"]
    ) -> None:
        """Some more frames."""
        x, x_hat = x.double(), x_hat.double()
        if self._origin is None:  # sums of squares around a near point keep their digits
            self._origin = x.mean(dim=0)
        centred = x - self._origin
        lengths, lengths_hat = x.norm(dim=1).clamp_min(1e-30), x_hat.norm(dim=1)
        dots = (x * x_hat).sum(dim=1)
        self.n += len(x)
        self.sum += centred.sum(dim=0)
        self.square += float(centred.pow(2).sum())
        self.error += float((x - x_hat).pow(2).sum())
        self.l0 += float((features > 0).sum())
        self.l1 += float(features.abs().sum())
        self.cosine += float((dots / (lengths * lengths_hat.clamp_min(1e-30))).sum())
        self.ratio += float((lengths_hat / lengths).sum())
        self.product += float(dots.sum())
        self.power += float(lengths_hat.pow(2).sum())
        self.counts += (features > 0).sum(dim=0)

    @property
    def mean(self) -> Float[Tensor, " d_in"]:
        """Of the activations so far."""
        assert self._origin is not None
        return (self._origin + self.sum / self.n).float()

    def result(self) -> Reconstruction:
        """What the sums say."""
        n = max(self.n, 1)
        variance = self.square - float(self.sum.pow(2).sum()) / n
        return Reconstruction(
            n_frames=self.n,
            fvu=self.error / max(variance, 1e-30),
            l0=self.l0 / n,
            l1=self.l1 / n,
            cosine=self.cosine / n,
            l2_ratio=self.ratio / n,
            bias=self.power / self.product if self.product else float("nan"),
            counts=self.counts.numpy(),
        )


@torch.inference_mode()
def reconstruct(
    dictionary: Dictionary, activations: Iterable[Float[Tensor, "frame d_in"]]
) -> tuple[Reconstruction, Float[Tensor, " d_in"]]:
    """Judge a dictionary by activations; also gives their mean."""
    tally = Tally(dictionary.config.d_in, dictionary.config.d_sae)
    for some in activations:
        for x in torch.split(some, AT_ONCE):
            features = dictionary.encode(x)
            tally.add(x, features, dictionary.decode(features))
    return tally.result(), tally.mean


@torch.inference_mode()
def best_cosines(ours: Float[Tensor, "d_sae d_in"], others: Float[Tensor, "other d_in"]) -> Float[Tensor, " d_sae"]:
    """For each row the highest cosine with any row of the other matrix."""

    def unit(rows: Tensor) -> Tensor:
        scaled: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return scaled

    theirs = unit(others)
    return torch.cat([(unit(some) @ theirs.t()).max(dim=1).values for some in torch.split(ours, AT_ONCE)])


def replaced_frames(
    value: Float[Tensor, "batch frame *unit"],
    lengths: list[int],
    replacement: Callable[[Float[Tensor, "frame d_in"]], Float[Tensor, "frame d_in"]],
) -> Float[Tensor, "batch frame *unit"]:
    """What a site gives, with the frames of each clip replaced; padding stays as it is."""
    changed = value.clone()
    for row, n in enumerate(lengths):
        x = value[row, :n].flatten(1)
        changed[row, :n] = replacement(x).to(value.dtype).view_as(value[row, :n])
    return changed
