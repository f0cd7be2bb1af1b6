"""What a dictionary is trained on: JumpReLU and its step, with gradients for the threshold, and parts of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

AUX_WEIGHT = 1 / 32
"""Of the loss for dead features (Gao et al. 2024)."""
L0_WEIGHT = 1.0
"""Of the squared relative distance of L0 from its target, for JumpReLU."""
_TINY = 1e-12


class JumpReLU(torch.autograd.Function):
    """z where it is above its threshold, else 0 (Rajamanoharan et al. 2024).

    The threshold has no gradient of its own, so it gets that of the smoothed function in which the jump is spread over
    a band of a width e around it: the derivative by the threshold t is -t/e inside the band, and 0 outside. (It is the
    exact derivative of `smoothed_jump_relu`.) The gradient by z is that of the function itself.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth  # type: ignore[attr-defined]
        return z * (z > threshold)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        z, threshold = ctx.saved_tensors  # type: ignore[attr-defined]
        bandwidth: float = ctx.bandwidth  # type: ignore[attr-defined]
        inside = ((z - threshold).abs() < bandwidth / 2).to(gradient.dtype)
        for_threshold = -(threshold / bandwidth) * inside * gradient
        return (z > threshold) * gradient, for_threshold.sum_to_size(threshold.shape), None


class Step(torch.autograd.Function):
    """1 where z is above its threshold, else 0: what L0 counts. Gradients as for `JumpReLU`: -1/e by the threshold."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth  # type: ignore[attr-defined]
        return (z > threshold).to(z.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[None, Tensor, None]:
        z, threshold = ctx.saved_tensors  # type: ignore[attr-defined]
        bandwidth: float = ctx.bandwidth  # type: ignore[attr-defined]
        inside = ((z - threshold).abs() < bandwidth / 2).to(gradient.dtype)
        return None, (-inside / bandwidth * gradient).sum_to_size(threshold.shape), None


def smoothed_jump_relu(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """JumpReLU with its jump spread over the band: z above it, 0 below, (top^2 - t^2) / 2e inside, t being the
    threshold and top the band's upper end around z."""
    high, low = z + bandwidth / 2, z - bandwidth / 2
    inside = threshold.expand_as(z).clamp(min=low, max=high)
    return (high**2 - inside**2) / (2 * bandwidth)


def smoothed_step(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """The step with the same band: a ramp from 0 to 1."""
    return ((z - threshold) / bandwidth + 0.5).clamp(0, 1)


def fvu(x: Float[Tensor, "frame d_in"], x_hat: Float[Tensor, "frame d_in"]) -> Float[Tensor, ""]:
    """The fraction of variance unexplained: the squared error, over that of predicting the mean of these frames."""
    return (x - x_hat).pow(2).sum() / (x - x.mean(dim=0)).pow(2).sum().clamp_min(_TINY)


def auxiliary_loss(
    error: Float[Tensor, "batch d_in"],
    x: Float[Tensor, "batch d_in"],
    w_enc: Float[Tensor, "d_sae d_in"],
    b_enc: Float[Tensor, " d_sae"],
    w_dec: Float[Tensor, "d_sae d_in"],
    dead: Bool[Tensor, " d_sae"],
) -> Float[Tensor, ""]:
    """How badly the dead features explain what the living ones leave: 1 if not at all (Gao et al. 2024, section A.2).

    Args:
        error: input minus reconstruction, without gradient.
        x: the input as the encoder reads it.

    The highest `d_in / 2` dead features of each frame take part, so that each gets a gradient now and then.
    """
    which = dead.nonzero()[:, 0]
    z = torch.addmm(b_enc[which], x, w_enc[which].t())
    k = min(error.shape[1] // 2, len(which))
    if k < len(which):
        top = z.topk(k, dim=-1, sorted=False)
        z = torch.zeros_like(z).scatter(-1, top.indices, top.values)
    explained = z.relu() @ w_dec[which]
    return (error - explained).pow(2).sum() / error.pow(2).sum().clamp_min(_TINY)
