"""The two ways to compute a sparse code: with dense matrices anywhere, and on the CPU with what is active alone.

Of some thousand features a few dozen are active in a frame. The encoder has to look at all of them once, which is one
matrix product. Everything after it (decoding, and all of the backward pass) needs the active ones only: about one
hundredth of the multiplications. Both ways give the same numbers and gradients up to rounding; a test compares them.

The active entries of a batch are held in the order of rows, as compressed sparse rows. Sums over them are
`embedding_bag`, which is a gather and a weighted sum; the gradient of the decoder's inputs is `sampled_addmm`, a matrix
product of which only the active entries are computed.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

MOST_ACTIVE = 0.1
"""Above this share of active entries, dense matrices are quicker."""
SAMPLE = 131_072
"""Entries from which a first guess of a batch's threshold is made."""
_CHUNK = 16_384


class Code(Protocol):
    """A batch's pre-activations where features may be active, in a layout of its own, and what is computed from them.

    `z` takes part in gradients. Elementwise functions of `z` and of `per_feature` values stay in the layout.
    """

    z: Tensor

    def per_feature(self, values: Float[Tensor, " d_sae"]) -> Tensor:
        """A value of each feature, in the layout of `z`."""
        ...

    def decode(
        self, features: Tensor, w_dec: Float[Tensor, "d_sae d_in"], first: int = 0, last: int | None = None
    ) -> Float[Tensor, "batch d_in"]:
        """The sum of the decoder's rows, weighted by the features; of the features from `first` to `last` alone."""
        ...

    def fired(self, features: Tensor) -> Bool[Tensor, " d_sae"]:
        """Which features are above zero anywhere in the batch."""
        ...


# --- which entries are active -----------------------------------------------------------------------------


def top_of_rows(pre: Float[Tensor, "batch d_sae"], k: int) -> Int64[Tensor, " active"]:
    """The places, in the flattened matrix, of the `k` highest positive entries of each row, in order."""
    at = pre.topk(k, dim=-1, sorted=False).indices.sort(dim=-1).values
    flat = (at + torch.arange(len(pre), device=pre.device)[:, None] * pre.shape[1]).flatten()
    return flat[pre.view(-1)[flat] > 0]


def top_of_batch(pre: Float[Tensor, "batch d_sae"], n: int) -> Int64[Tensor, " active"]:
    """The places, in the flattened matrix, of its `n` highest positive entries (more where the last are equal), in
    order.

    Source: Bussmann et al. 2024, BatchTopK. Sorting millions of entries would take longer than everything else of a
    step, so an even sample gives a bound that the threshold is very likely above, and only entries beyond it are looked
    at. The result is exact: where the bound was too high, the next is lower.
    """
    flat = pre.view(-1)
    n = min(n, flat.numel())
    stride = max(1, flat.numel() // SAMPLE)
    sample = flat[::stride]
    wanted = min(len(sample), math.ceil(1.2 * n / stride) + 32)
    low = sample.topk(wanted, sorted=False).values.min().clamp_min(0.0)
    at = places(flat > low)
    while len(at) < n and low > 0:
        low = low / 2 if low > 1e-6 else torch.zeros_like(low)
        at = places(flat > low)
    if len(at) <= n:
        return at
    values = flat[at]
    return at[values >= values.topk(n, sorted=False).values.min()]


def places(mask: Bool[Tensor, " entry"]) -> Int64[Tensor, " active"]:
    """Where a flat mask is true. NumPy is twice as quick at it as torch on the CPU."""
    if mask.device.type == "cpu":
        import numpy as np

        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero()[:, 0]


# --- dense ------------------------------------------------------------------------------------------------


class DenseCode:
    """All pre-activations; those that are not active are multiplied by zero."""

    def __init__(self, z: Float[Tensor, "batch d_sae"], active: Int64[Tensor, " active"] | None = None) -> None:
        self.z = z
        if active is not None:
            mask = torch.zeros(z.numel(), dtype=z.dtype, device=z.device)
            mask[active] = 1
            self.z = z * mask.view_as(z)

    def per_feature(self, values: Float[Tensor, " d_sae"]) -> Tensor:
        return values

    def decode(
        self, features: Tensor, w_dec: Float[Tensor, "d_sae d_in"], first: int = 0, last: int | None = None
    ) -> Float[Tensor, "batch d_in"]:
        return features[:, first:last] @ w_dec[first:last]

    def fired(self, features: Tensor) -> Bool[Tensor, " d_sae"]:
        return (features > 0).any(dim=0)


# --- sparse -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Active:
    """Which entries of a matrix are active, by rows, and the same by columns."""

    shape: tuple[int, int]
    rows: Int64[Tensor, " active"]
    columns: Int64[Tensor, " active"]
    row_starts: Int64[Tensor, " row+1"]
    by_column: Int64[Tensor, " active"]
    """The active entries ordered by column."""
    column_starts: Int64[Tensor, " column+1"]

    @classmethod
    def at(cls, flat: Int64[Tensor, " active"], shape: tuple[int, int]) -> Active:
        """From places in the flattened matrix, in order."""
        rows, columns = flat // shape[1], flat % shape[1]
        by_column = columns.sort(stable=True).indices
        return cls(shape, rows, columns, _starts(rows, shape[0]), by_column, _starts(columns, shape[1]))

    def times(
        self, values: Float[Tensor, " active"], matrix: Float[Tensor, "column d_in"]
    ) -> Float[Tensor, "row d_in"]:
        """The sparse matrix of these values, times a dense one."""
        return _bags(self.columns, matrix, self.row_starts, values)

    def transposed_times(
        self, values: Float[Tensor, " active"], matrix: Float[Tensor, "row d_in"]
    ) -> Float[Tensor, "column d_in"]:
        """The transposed sparse matrix of these values, times a dense one."""
        at = self.by_column
        return _bags(self.rows[at], matrix, self.column_starts, values[at])

    def products(
        self, left: Float[Tensor, "row d_in"], right: Float[Tensor, "column d_in"]
    ) -> Float[Tensor, " active"]:
        """The active entries of `left @ right.T`."""
        if torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
            zeros = torch.zeros(len(self.rows), dtype=left.dtype)
            with warnings.catch_warnings():  # torch calls the format a beta
                warnings.simplefilter("ignore")
                pattern = torch.sparse_csr_tensor(
                    self.row_starts, self.columns, zeros, self.shape, check_invariants=False
                )
            products: Tensor = torch.sparse.sampled_addmm(pattern, left.contiguous(), right.t(), beta=0)
            return products.values()
        parts = [
            (left[rows] * right[columns]).sum(dim=-1)
            for rows, columns in zip(torch.split(self.rows, _CHUNK), torch.split(self.columns, _CHUNK), strict=True)
        ]
        return torch.cat(parts)


def _starts(sorted_or_not: Int64[Tensor, " active"], n: int) -> Int64[Tensor, " n+1"]:
    counts = torch.bincount(sorted_or_not, minlength=n)
    return F.pad(counts.cumsum(0), (1, 0))


def _bags(
    rows: Int64[Tensor, " active"], matrix: Tensor, starts: Int64[Tensor, " bag+1"], weights: Float[Tensor, " active"]
) -> Tensor:
    summed: Tensor = F.embedding_bag(
        rows, matrix, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
    return summed


class SparseCode:
    """The active pre-activations alone. On the CPU, in single precision."""

    def __init__(
        self,
        x: Float[Tensor, "batch d_in"],
        w_enc: Float[Tensor, "d_sae d_in"],
        b_enc: Float[Tensor, " d_sae"],
        pre: Float[Tensor, "batch d_sae"],
        active: Int64[Tensor, " active"],
    ) -> None:
        self.active = Active.at(active, (pre.shape[0], pre.shape[1]))
        z: Tensor = _Encode.apply(x, w_enc, b_enc, pre.view(-1)[active], self.active)  # type: ignore[no-untyped-call]
        self.z = z

    def per_feature(self, values: Float[Tensor, " d_sae"]) -> Tensor:
        return values[self.active.columns]

    def decode(
        self, features: Tensor, w_dec: Float[Tensor, "d_sae d_in"], first: int = 0, last: int | None = None
    ) -> Float[Tensor, "batch d_in"]:
        active = self.active
        if (first, last) != (0, None):
            last = len(w_dec) if last is None else last
            kept = places((active.columns >= first) & (active.columns < last))
            flat = active.rows[kept] * (last - first) + active.columns[kept] - first
            active = Active.at(flat, (active.shape[0], last - first))
            features, w_dec = features[kept], w_dec[first:last]
        decoded: Tensor = _Decode.apply(features, w_dec, active)  # type: ignore[no-untyped-call]
        return decoded

    def fired(self, features: Tensor) -> Bool[Tensor, " d_sae"]:
        fired = torch.zeros(self.active.shape[1], dtype=torch.bool)
        fired[self.active.columns[features > 0]] = True
        return fired


class _Encode(torch.autograd.Function):
    """The active pre-activations, which were computed with all others; the gradient touches their features alone."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,
        w_enc: Tensor,
        b_enc: Tensor,
        values: Tensor,
        active: Active,
    ) -> Tensor:
        ctx.save_for_backward(x, w_enc)
        ctx.active = active  # type: ignore[attr-defined]
        return values.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, w_enc = ctx.saved_tensors  # type: ignore[attr-defined]
        active: Active = ctx.active  # type: ignore[attr-defined]
        for_x = active.times(gradient, w_enc) if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]
        for_w = active.transposed_times(gradient, x)
        for_b = torch.zeros(active.shape[1], dtype=gradient.dtype).index_add_(0, active.columns, gradient)
        return for_x, for_w, for_b, None, None


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, features: Tensor, w_dec: Tensor, active: Active) -> Tensor:
        ctx.save_for_backward(features, w_dec)
        ctx.active = active  # type: ignore[attr-defined]
        return active.times(features, w_dec)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, w_dec = ctx.saved_tensors  # type: ignore[attr-defined]
        active: Active = ctx.active  # type: ignore[attr-defined]
        for_features = active.products(gradient, w_dec)
        for_w = active.transposed_times(features, gradient) if ctx.needs_input_grad[1] else None  # type: ignore[attr-defined]
        return for_features, for_w, None
