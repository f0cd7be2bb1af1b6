"""Two sites inside every attention: `pattern` and `heads`.

openai-whisper's attention runs on PyTorch's fused kernel, which never holds the attention weights. Here the class
of each attention module becomes a subclass with two identity submodules, so that ordinary forward hooks reach the
weights and the heads. The weights exist only while somebody listens to `pattern`: then, and only there, attention
is computed step by step. openai-whisper's `disable_sdpa`, its key and value cache and its hooks work as before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.model import SDPA_AVAILABLE, MultiHeadAttention, Whisper

from wspy.audio import WINDOW_FRAMES
from wspy.errors import OutOfRange, UnknownSite

if TYPE_CHECKING:
    from jaxtyping import Float

    from wspy.model.load import Model


class ObservedAttention(MultiHeadAttention):  # type: ignore[misc]  # openai-whisper has no types
    """An attention whose weights and heads are sites.

    `pattern` passes on the weights after the softmax, `[batch head query key]`; what its hooks return is what
    attention uses. `heads` passes on each head's output before the output projection, `[batch frame head d_head]`.
    `bias` is added to the scores of both paths; it broadcasts to `[batch head query key]`.
    """

    pattern: nn.Identity
    heads: nn.Identity
    bias: Tensor | None = None

    def qkv_attention(
        self,
        q: Float[Tensor, "batch query d_model"],
        k: Float[Tensor, "batch key d_model"],
        v: Float[Tensor, "batch key d_model"],
        mask: Float[Tensor, "token token"] | None = None,
    ) -> tuple[Float[Tensor, "batch query d_model"], Float[Tensor, "batch head query key"] | None]:
        n_query = q.shape[1]
        if (complete := whole_window.get()) is not None:
            k, v = complete(self, k, v)
        q, k, v = (
            x.view(*x.shape[:2], self.n_head, -1).transpose(1, 2) for x in (q, k, v)
        )  # [batch head token d_head]
        causal = mask[:n_query, :n_query] if mask is not None and n_query > 1 else None
        if SDPA_AVAILABLE and MultiHeadAttention.use_sdpa and not _is_listened_to(self.pattern):
            mixed, scores = self._fused(q, k, v, causal), None
        else:
            mixed, scores = self._stepwise(q, k, v, causal)
        mixed = self.heads(mixed.transpose(1, 2))  # [batch query head d_head]
        return mixed.flatten(start_dim=2), scores

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, causal: Tensor | None) -> Tensor:
        if self.bias is None:
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal is not None)
        bias = self.bias if causal is None else self.bias + causal
        if bias.ndim < 2:  # the kernel wants at least a query and a key axis
            bias = bias.reshape(1, -1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))

    def _stepwise(self, q: Tensor, k: Tensor, v: Tensor, causal: Tensor | None) -> tuple[Tensor, Tensor]:
        # openai-whisper's own arithmetic: scaling both factors keeps half precision in range.
        scale = q.shape[-1] ** -0.25
        scores = (q * scale) @ (k * scale).transpose(-1, -2)
        if causal is not None:
            scores = scores + causal
        if self.bias is not None:
            scores = scores + self.bias
        scores = scores.float()
        weights = self.pattern(F.softmax(scores, dim=-1).to(q.dtype))
        return weights @ v, scores.detach()


Complete = Callable[[ObservedAttention, Tensor, Tensor], tuple[Tensor, Tensor]]

whole_window: ContextVar[Complete | None] = ContextVar("whole_window", default=None)
"""In a condensed pass: makes of the keys and values that were computed those of the whole window."""


def observe_attention(whisper: Whisper) -> None:
    """Give every attention of `whisper` its `pattern` and `heads`; the weights and their names stay as they are."""
    for module in whisper.modules():
        if type(module) is MultiHeadAttention:
            module.__class__ = ObservedAttention
            # Inside inference or training alike: an identity has no weights and no mode of its own.
            module.pattern, module.heads = nn.Identity(), nn.Identity()
            module.pattern.train(module.training)
            module.heads.train(module.training)


@contextlib.contextmanager
def attention_bias(model: Model | Whisper, biases: Mapping[str, Tensor]) -> Iterator[None]:
    """Add a tensor to the scores of some attention modules, inside the `with` only.

    Args:
        biases: for each module path (`encoder.blocks.0.attn`) a tensor that broadcasts to `[batch head query key]`,
            in units of the score (natural logarithm of the weight), on the model's device. Minus infinity bars a key.

    Raises:
        UnknownSite: a path that is no attention of this model.
    """
    whisper = model if isinstance(model, Whisper) else model.whisper
    known = {name: module for name, module in whisper.named_modules() if isinstance(module, ObservedAttention)}
    for path in biases:
        if path not in known:
            raise UnknownSite(path, known)
    before = {path: known[path].bias for path in biases}
    try:
        for path, bias in biases.items():
            known[path].bias = bias
        yield
    finally:
        for path, previous in before.items():
            known[path].bias = previous


def band_bias(k: int, n_frames: int = WINDOW_FRAMES, device: torch.device | None = None) -> Float[Tensor, "query key"]:
    """For `attention_bias`: each frame sees itself and the `k` frames on either side, and nothing else.

    Raises:
        OutOfRange: `k` below 1 or above `n_frames`.
    """
    if not 1 <= k <= n_frames:
        raise OutOfRange("A window of k =", k, 1, n_frames, f"{n_frames} frames")
    frame = torch.arange(n_frames, device=device)
    outside = (frame[:, None] - frame).abs() > k
    return torch.zeros(n_frames, n_frames, device=device).masked_fill_(outside, -torch.inf)


def for_heads(bias: Float[Tensor, "query key"], heads: Sequence[int], n_head: int) -> Float[Tensor, "1 head query key"]:
    """For `attention_bias`: the same bias for some heads, and none for the others.

    Raises:
        OutOfRange: a head that is not there.
    """
    for head in heads:
        if not 0 <= head < n_head:
            raise OutOfRange("Head", head, 0, n_head - 1, "this model")
    chosen = bias.new_zeros(1, n_head, *bias.shape)
    chosen[:, list(heads)] = bias
    return chosen


def _is_listened_to(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
