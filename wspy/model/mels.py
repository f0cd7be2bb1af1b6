"""Spectrograms of several sounds at once, as the encoder takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wspy.audio import log_mel
from wspy.model.load import Model

if TYPE_CHECKING:
    from jaxtyping import Float, Float32


def mel_batch(model: Model, sounds: Sequence[Float32[np.ndarray, " sample"]]) -> Float[Tensor, "batch mel 2*frame"]:
    """The log-mel spectrograms of some sounds (mono, 16 kHz), each in a window of 30 s, on the model's device.

    What is longer than the window is trimmed (see `wspy.audio.log_mel`).
    """
    return torch.from_numpy(np.stack([log_mel(sound, model.dims.n_mels) for sound in sounds])).to(model.device)
