"""A dictionary while it is being trained: its forward pass gives the loss.

With x the activations, scaled so that their variance is one per dimension on average:

    z = W_enc (x - b_dec) + b_enc        pre-activations
    f = active(z)                        features, few of which are above zero
    x_hat = W_dec f + b_dec              every feature's row of W_dec has the length 1
    loss = FVU + sparsity + AUX_WEIGHT * auxiliary loss of dead features

`active` keeps the k highest of each frame (topk, Gao et al. 2024), the k * batch highest of a batch (batchtopk,
Bussmann et al. 2024; matryoshka, Bussmann et al. 2025, averages the error over nested beginnings of the dictionary),
those above learned thresholds (jumprelu, Rajamanoharan et al. 2024), or all above zero with an L1 penalty (relu: the
post's form, tied and without b_dec, on activations as they are).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from wspy_sae.losses import AUX_WEIGHT, L0_WEIGHT, JumpReLU, Step, auxiliary_loss, fvu
from wspy_sae.settings import POST_ALPHA, TrainSettings
from wspy_sae.sparse import MOST_ACTIVE, Code, DenseCode, SparseCode, places, top_of_batch, top_of_rows

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

FIRST_THRESHOLD = 0.5
BANDWIDTH = 0.5
"""Of the smoothed jump, in units of the scaled activations (whose norm is about the root of d_in)."""
PREFIXES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
"""Of the dictionary, each of which a matryoshka reconstructs with."""


class StepOutput(NamedTuple):
    """The loss of one batch, and what it says of the dictionary; only the loss has a gradient."""

    loss: Tensor
    fvu: Tensor
    l0: Tensor
    fired: Bool[Tensor, " d_sae"]


class Learner(nn.Module):
    """The weights and their loss. `since_fired` counts the frames since each feature was last above zero."""

    since_fired: Tensor

    def __init__(self, settings: TrainSettings, d_in: int, *, sparse: bool = True) -> None:
        """
        Args:
            sparse: compute with the active entries alone where that is quicker; False is for comparison.
        """
        super().__init__()
        self.settings, self.d_in, self.sparse = settings, d_in, sparse
        self.tied = settings.architecture == "relu"
        generator = torch.Generator().manual_seed(settings.seed)
        if self.tied:
            directions = torch.empty(d_in, settings.d_sae)
            nn.init.orthogonal_(directions, generator=generator)
            directions = directions.t().contiguous()
        else:
            directions = torch.randn(settings.d_sae, d_in, generator=generator)
        directions = directions / directions.norm(dim=1, keepdim=True)
        self.W_dec = nn.Parameter(directions, requires_grad=not settings.frozen_decoder)
        self.b_enc = nn.Parameter(torch.zeros(settings.d_sae))
        if not self.tied:
            self.W_enc = nn.Parameter(directions.clone())
            self.b_dec = nn.Parameter(torch.zeros(d_in))
        if settings.architecture == "jumprelu":
            self.threshold = nn.Parameter(torch.full((settings.d_sae,), FIRST_THRESHOLD))
        self.register_buffer("since_fired", torch.zeros(settings.d_sae, dtype=torch.int64))

    @property
    def dead(self) -> Bool[Tensor, " d_sae"]:
        """Features that have not fired for longer than the settings allow."""
        return self.since_fired > self.settings.dead_after

    def forward(self, x: Float[Tensor, "batch d_in"]) -> StepOutput:
        """The loss of a batch of scaled activations."""
        if self.tied:
            return self._tied(x)
        centred = x - self.b_dec
        code = self._code(centred)
        penalty = x.new_zeros(())
        if self.settings.architecture == "jumprelu":
            threshold = code.per_feature(self.threshold)
            features: Tensor = JumpReLU.apply(code.z, threshold, BANDWIDTH)  # type: ignore[no-untyped-call]
            l0: Tensor = Step.apply(code.z, threshold, BANDWIDTH).sum() / len(x)  # type: ignore[no-untyped-call]
            penalty = L0_WEIGHT * (l0 / self.settings.k - 1).pow(2)
        else:
            features = code.z.relu()
            l0 = (features.detach() > 0).sum() / len(x)
        variance = (x - x.mean(dim=0)).pow(2).sum()
        loss, x_hat = self._reconstruct(code, features, x, variance)
        loss = loss + penalty
        dead = self.dead
        if dead.any():
            error = (x - x_hat).detach()
            loss = loss + AUX_WEIGHT * auxiliary_loss(error, centred, self.W_enc, self.b_enc, self.W_dec, dead)
        return StepOutput(loss, fvu(x, x_hat.detach()), l0.detach(), code.fired(features.detach()))

    def _code(self, centred: Float[Tensor, "batch d_in"]) -> Code:
        """The pre-activations of the features that may be active."""
        k, architecture = self.settings.k, self.settings.architecture
        quick = self.sparse and centred.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        with torch.set_grad_enabled(torch.is_grad_enabled() and not quick):
            pre = torch.addmm(self.b_enc, centred, self.W_enc.t())
        values = pre.detach().float()
        active: Tensor | None
        if architecture == "topk":
            active = top_of_rows(values, k)
        elif architecture == "jumprelu":
            # Also those just below the threshold, which has a gradient there.
            band = (values > self.threshold.detach() - BANDWIDTH / 2).view(-1)
            active = places(band)
        else:
            active = top_of_batch(values, k * len(values))
        if quick and len(active) <= MOST_ACTIVE * pre.numel():
            return SparseCode(centred, self.W_enc, self.b_enc, pre, active)
        if quick:
            pre = torch.addmm(self.b_enc, centred, self.W_enc.t())
        return DenseCode(pre, None if architecture == "jumprelu" else active)

    def _reconstruct(
        self, code: Code, features: Tensor, x: Float[Tensor, "batch d_in"], variance: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch d_in"]]:
        """The error over the variance, and the reconstruction; for a matryoshka the mean over its prefixes."""
        if self.settings.architecture != "matryoshka":
            x_hat = code.decode(features, self.W_dec) + self.b_dec
            return (x - x_hat).pow(2).sum() / variance, x_hat
        first, losses, x_hat = 0, [], self.b_dec.expand_as(x)
        for share in PREFIXES:
            last = max(math.ceil(share * self.settings.d_sae), 1)
            if last > first:
                x_hat = x_hat + code.decode(features, self.W_dec, first, last)
            losses.append((x - x_hat).pow(2).sum() / variance)
            first = last
        return torch.stack(losses).mean(), x_hat

    def _tied(self, x: Float[Tensor, "batch d_in"]) -> StepOutput:
        """The post's loss: POST_ALPHA times the mean squared error, plus the L1 norm of the features."""
        features = torch.addmm(self.b_enc, x, self.W_dec.t()).relu()
        x_hat = features @ self.W_dec
        loss = POST_ALPHA * (x - x_hat).pow(2).mean() + features.sum(dim=-1).mean()
        active = features.detach() > 0
        return StepOutput(loss, fvu(x, x_hat.detach()), active.sum() / len(x), active.any(dim=0))

    # --- rules that hold at every step ---------------------------------------------------------------------

    @torch.no_grad()
    def project_gradient(self) -> None:
        """Take from the decoder's gradient what would only change the length of its rows."""
        if self.W_dec.grad is not None and not self.tied:
            along = (self.W_dec.grad * self.W_dec).sum(dim=1, keepdim=True)
            self.W_dec.grad.addcmul_(along, self.W_dec, value=-1)

    @torch.no_grad()
    def after_step(self, fired: Bool[Tensor, " d_sae"], n_frames: int) -> None:
        """Bring the decoder's rows back to the length 1, thresholds above zero, and count who has fired."""
        self.W_dec.div_(self.W_dec.norm(dim=1, keepdim=True).clamp_min(1e-12))
        if self.settings.architecture == "jumprelu":
            self.threshold.clamp_(min=0)
        self.since_fired.add_(n_frames).masked_fill_(fired, 0)
