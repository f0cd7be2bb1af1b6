"""The encoder at the speed of the clip: only part of the padding is computed, the rest is known beforehand.

A clip of two seconds fills 100 of the 1,500 frames that Whisper's encoder computes; the others are padding. They
cannot be left out, since every frame of the clip listens to them, and they cannot be computed once and for all, since
they listen to the clip. But each padding frame is nearly the same from clip to clip, and what little differs changes
slowly from one frame to the next. So:

* The reference: a window of nothing but padding is computed once per model, and the keys and values of each layer kept.
* The plan: the clip's own frames are computed, and a margin beyond them; then knots, close together at first and up to
  48 frames apart; and the landmarks, padding frames whose residual stream grows far beyond the others' in some layer
  (in `base` about a hundred, which many heads rest on). The landmarks are read off the reference.
* In each layer, keys and values of the frames left out are the reference's, plus how far the knots on either side are
  from the reference, interpolated. Landmarks are too singular to be interpolated from. So every computed frame attends
  to all 1,500 keys, and attention patterns keep their key axis.

Nothing is learned and no speech is needed. It differs from leaving out frames and weighting the others (a quadrature)
in that what is interpolated is small: the sinusoids of the position, which alias under any stride, are in the
reference. Statisticians call it a control variate. How well it agrees with the whole window is in docs/condensed.md,
printed by benchmarks/condensed.py; `wspy.model.agreement` measures it on other audio.

    plan = plan_frames(model, n_frames(len(samples)))
    with capture(model, "encoder.blocks.3.mlp.1") as cache:
        encode(model, mel, stop_after="encoder.blocks.3.mlp.1", plan=plan)
    activations = cache["encoder.blocks.3.mlp.1"][:, : n_frames(len(samples))]
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.model import AudioEncoder, ResidualAttentionBlock, Whisper

from wspy.errors import InputError, OutOfRange
from wspy.model.attention import ObservedAttention, whole_window

if TYPE_CHECKING:
    from jaxtyping import Float

    from wspy.model.load import Model

PLAN_STEP = 25  # frames: clips whose lengths round up to the same multiple share a plan, and so can share a batch
MARGIN = 15  # frames computed beyond the clip; the convolutions alone reach two
KNOT_GROWTH = 1.12  # each knot is this much farther from the last than that one was from its own
MAX_KNOT_DISTANCE = 48  # frames
KNOTS_AT_ONCE = 8  # in one table of weights
MAX_SHARE = 0.85  # a plan that computes a larger share of the window saves too little
LANDMARK_NORM = 2.0  # a frame with this many times the median norm of its layer is a landmark
MAX_LANDMARK_SHARE = 0.1  # of the window
PADDING_LEVEL = -0.75  # what padding holds in the log-mel spectrogram of ordinary speech


@dataclass(frozen=True)
class FramePlan:
    """Which of the window's `n_window` frames are computed.

    The first `n_head` are: the clip and a margin. Of the others, `knots` are, which those left out are interpolated
    between, and `landmarks` are, which are left alone. `frames` holds all of them in order, so the first frames of
    what a condensed pass gives are the clip's own.
    """

    n_window: int
    n_head: int
    knots: tuple[int, ...]
    landmarks: tuple[int, ...]

    @functools.cached_property
    def frames(self) -> tuple[int, ...]:
        """The frames that are computed, in this order: the clip's own first."""
        return (*range(self.n_head), *sorted((*self.knots, *self.landmarks)))

    @property
    def n_own(self) -> int:
        """How many frames the longest clip of this plan has, and at least one: the head without its margin."""
        return max(self.n_head - MARGIN, 1)

    @property
    def share(self) -> float:
        """How much of the window is computed; the rest of the work is saved."""
        return len(self.frames) / self.n_window


def plan_frames(model: Model | Whisper, n_valid: int) -> FramePlan | None:
    """The plan for clips of up to `n_valid` frames (see `wspy.audio.n_frames`).

    The first plan for a model takes one pass of the encoder, for the reference. Clips of nearly the same length get
    equal plans, which hash alike.

    Returns:
        None where the clip leaves too little padding to save, which `encode` takes as the whole window.

    Raises:
        OutOfRange: no such number of frames.
        InputError: a model that was not loaded with `wspy.load_model`.
    """
    whisper = model if isinstance(model, Whisper) else model.whisper
    n_window = whisper.dims.n_audio_ctx
    if not 0 <= n_valid <= n_window:
        raise OutOfRange("A clip of", n_valid, 0, n_window, "frames of one window")
    n_head = -(-n_valid // PLAN_STEP) * PLAN_STEP + MARGIN
    if n_head > MAX_SHARE * n_window:
        return None
    landmarks = [frame for frame in _reference_of(whisper).landmarks if frame >= n_head]
    plan = FramePlan(n_window, n_head, tuple(_knots(n_head, n_window, set(landmarks))), tuple(landmarks))
    return plan if plan.share <= MAX_SHARE else None


def _knots(n_head: int, n_window: int, landmarks: set[int]) -> Iterator[int]:
    """Frames that are no landmarks, ever farther apart, up to the window's last that is none."""
    distance, frame = 1.0, n_head - 1
    last = max((frame for frame in range(n_head, n_window) if frame not in landmarks), default=n_window)
    while frame < last:
        distance = min(distance * KNOT_GROWTH, MAX_KNOT_DISTANCE)
        frame += max(round(distance), 2)
        while frame in landmarks:
            frame += 1
        frame = min(frame, last)
        if frame < n_window:
            yield frame


# --- the pass ---------------------------------------------------------------------------------------------


def run_condensed(
    whisper: Whisper, mel: Float[Tensor, "batch mel 2*frame"], plan: FramePlan, last_block: int | None = None
) -> Tensor:
    """openai-whisper's encoder over the plan's frames. `encode` calls it; hooks see `[batch planned_frame ...]`.

    Args:
        last_block: The pass ends within this block. What it makes of padding nobody hears, so once all frames have
            given their keys and values, only the clip's own go on.

    Returns:
        `[batch planned_frame d_model]`.

    Raises:
        InputError: there is sound in the part of the window that the plan takes for padding.
    """
    encoder = whisper.encoder
    n_tail = plan.n_window - plan.n_head
    # All padding of a clip holds one constant. So a few columns of it stand for as many as there are, the last for the
    # window's end, where the convolution sees zeros.
    padding = mel[..., 2 * plan.n_head - 4 :]
    if n_tail and not bool((padding == mel[:, :1, -1:]).all()):
        raise InputError(
            f"The spectrogram has sound beyond the {plan.n_head - MARGIN} frames of the plan: plan for all of it."
        )
    short = n_tail > 2
    if short:
        mel = torch.cat([mel[..., : 2 * plan.n_head], mel[..., -4:]], dim=-1)
    frames = torch.tensor(plan.frames, device=mel.device)
    rows = frames.clamp(max=plan.n_head) if short else frames
    rows = torch.where(frames == plan.n_window - 1, plan.n_head + 1, rows) if short else rows

    x = F.gelu(encoder.conv1(mel))
    x = F.gelu(encoder.conv2(x)).transpose(1, 2)[:, rows]
    x = (x + encoder.positional_embedding[frames]).to(x.dtype)
    with _completed(whisper, plan):
        for index, block in enumerate(encoder.blocks):
            x = _own_frames(block, x, plan) if index == last_block else block(x)
        features: Tensor = encoder.ln_post(x)
    return features


def _own_frames(block: ResidualAttentionBlock, x: Tensor, plan: FramePlan) -> Tensor:
    """What a block makes of the clip's own frames, which listen to all that are planned."""
    normed = block.attn_ln(x)
    own = slice(plan.n_own)
    x = x[:, own] + block.attn(normed[:, own], normed)[0]
    x = x + block.mlp(block.mlp_ln(x))
    return x


@contextmanager
def _completed(whisper: Whisper, plan: FramePlan) -> Iterator[None]:
    """Let the attentions of this thread see the whole window."""
    if len(plan.frames) == plan.n_window:
        yield
        return
    token = whole_window.set(_Completion(_reference_of(whisper), plan).complete)
    try:
        yield
    finally:
        whole_window.reset(token)


class _Completion:
    """Fills in keys and values of the frames that a plan leaves out."""

    def __init__(self, reference: _Reference, plan: FramePlan) -> None:
        self.reference, self.plan = reference, plan
        place = {frame: at for at, frame in enumerate(plan.frames)}
        device = reference.device
        self.knots = torch.tensor([plan.n_head - 1, *plan.knots], device=device)
        self.knot_places = torch.tensor([place[frame] for frame in self.knots.tolist()], device=device)
        self.landmarks = torch.tensor(plan.landmarks, dtype=torch.long, device=device) - plan.n_head
        self.landmark_places = torch.tensor([place[frame] for frame in plan.landmarks], dtype=torch.long, device=device)
        self.stretches = [(frames, knots, weights.to(device)) for frames, knots, weights in _interpolation(plan)]
        self.rooms: dict[str, Tensor] = {}

    def complete(self, attention: ObservedAttention, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self.reference.layers[attention]
        return self._filled(k, keys, "keys"), self._filled(v, values, "values")

    def _filled(
        self,
        computed: Float[Tensor, "batch planned_frame d_model"],
        reference: Float[Tensor, "frame d_model"],
        role: str,
    ) -> Float[Tensor, "batch frame d_model"]:
        reference = reference.to(computed.dtype)
        n_head = self.plan.n_head
        change = computed[:, self.knot_places] - reference[self.knots]
        whole = self._room(computed, role)
        whole[:, :n_head] = computed[:, :n_head]
        padding = whole[:, n_head:]
        padding.copy_(reference[n_head:])
        for frames, knots, weights in self.stretches:
            shares = weights.to(computed.dtype).expand(len(computed), -1, -1)
            padding[:, frames].baddbmm_(shares, change[:, knots])
        padding[:, self.landmarks] = computed[:, self.landmark_places]
        return whole

    def _room(self, computed: Tensor, role: str) -> Tensor:
        """Uninitialised, and the same memory for every layer, which is done with it before the next one begins."""
        shape = (len(computed), self.plan.n_window, computed.shape[-1])
        if torch.is_grad_enabled():  # then the layers' keys and values are needed later
            return computed.new_empty(shape)
        if role not in self.rooms or self.rooms[role].dtype != computed.dtype:
            self.rooms[role] = computed.new_empty(shape)
        return self.rooms[role]


@functools.lru_cache(maxsize=16)
def _interpolation(plan: FramePlan) -> list[tuple[slice, slice, Float[Tensor, "frame knot"]]]:
    """For each frame beyond the head the weights of the knots around it; the head's last frame is the first knot.

    Returns:
        Stretch by stretch its frames beyond the head, its knots, and their weights: one table of all would be zeros
        nearly everywhere.
    """
    knots = [plan.n_head - 1, *plan.knots]
    stretches = []
    for first in range(0, len(knots) - 1, KNOTS_AT_ONCE):
        some = knots[first : first + KNOTS_AT_ONCE + 1]
        start = some[0] + 1
        end = some[-1] + 1 if some[-1] < knots[-1] else plan.n_window
        with torch.inference_mode(False):
            weights = torch.zeros(end - start, len(some))
            for at, (left, right) in enumerate(pairwise(some)):
                frames = torch.arange(left + 1, right + 1)
                share = (frames - left) / (right - left)
                weights[frames - start, at] = 1 - share
                weights[frames - start, at + 1] = share
            weights[some[-1] + 1 - start :, -1] = 1  # landmarks at the very end, which are overwritten
        beyond = slice(start - plan.n_head, end - plan.n_head)
        stretches.append((beyond, slice(first, first + len(some)), weights))
    return stretches


# --- the reference ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Reference:
    """What a window of padding holds in each layer: keys and values `[frame d_model]`, and which frames stand out."""

    layers: dict[ObservedAttention, tuple[Tensor, Tensor]]
    landmarks: tuple[int, ...]
    weights: tuple[tuple[int, int], ...]
    device: torch.device


_references: WeakKeyDictionary[Whisper, _Reference] = WeakKeyDictionary()
_lock = threading.Lock()


def _reference_of(whisper: Whisper) -> _Reference:
    """The model's reference, computed anew where its weights have changed or moved."""
    with _lock:
        known, weights = _references.get(whisper), _fingerprint(whisper)
        if known is None or known.weights != weights:
            known = _references[whisper] = _compute_reference(whisper, weights)
    return known


def _fingerprint(whisper: Whisper) -> tuple[tuple[int, int], ...]:
    """Differs once a weight of the encoder has been replaced or changed in place."""
    tensors = (*whisper.encoder.parameters(), *whisper.encoder.buffers())
    return tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors)


def _compute_reference(whisper: Whisper, weights: tuple[tuple[int, int], ...]) -> _Reference:
    # Ordinary tensors in full precision, whatever mode the caller is in: they outlive it.
    device = whisper.encoder.conv1.weight.device
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        return _walk(whisper.encoder, weights)


def _walk(encoder: AudioEncoder, weights: tuple[tuple[int, int], ...]) -> _Reference:
    """One pass by the modules' `forward`, which runs no hooks: captures and patches are for the caller's clips."""
    n_window = encoder.positional_embedding.shape[0]
    mel = torch.full((1, encoder.conv1.in_channels, 2 * n_window), PADDING_LEVEL)
    mel = mel.to(encoder.conv1.weight)
    x = F.gelu(encoder.conv2.forward(F.gelu(encoder.conv1.forward(mel)))).transpose(1, 2)
    x = (x + encoder.positional_embedding).to(x.dtype)  # [1 frame d_model]
    layers: dict[ObservedAttention, tuple[Tensor, Tensor]] = {}
    prominence = x.new_zeros(n_window)
    for block in encoder.blocks:
        attention = block.attn
        if not isinstance(attention, ObservedAttention):
            raise InputError("This model's attentions cannot be condensed: load the model with wspy.load_model.")
        normed = block.attn_ln.forward(x)
        q, k, v = (part.forward(normed) for part in (attention.query, attention.key, attention.value))
        layers[attention] = k[0], v[0]
        q, k, v = (part.unflatten(-1, (attention.n_head, -1)).transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + attention.out.forward(mixed)
        hidden = F.gelu(block.mlp[0].forward(block.mlp_ln.forward(x)))
        x = x + block.mlp[2].forward(hidden)
        norms = x[0].norm(dim=-1)
        prominence = torch.maximum(prominence, norms / norms.median())
    n_most = int(MAX_LANDMARK_SHARE * n_window)
    highest = prominence.argsort(descending=True)[:n_most]
    landmarks = sorted(highest[prominence[highest] > LANDMARK_NORM].tolist())
    return _Reference(layers, tuple(landmarks), weights, x.device)
