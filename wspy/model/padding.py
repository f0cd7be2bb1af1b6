"""What the encoder makes of nothing: a window of silence, which Whisper sees wherever a clip has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from whisper.model import Whisper

from wspy.audio import WINDOW_SAMPLES
from wspy.model.hooks import encode
from wspy.model.load import Model
from wspy.model.mels import mel_batch

if TYPE_CHECKING:
    from jaxtyping import Float

_known: WeakKeyDictionary[Whisper, Tensor] = WeakKeyDictionary()


def padding_features(model: Model) -> Float[Tensor, "1 frame d_model"]:
    """The encoder's output for 30 seconds of zeros, computed once for each model in memory.

    Call it outside of patches, and not after weights have been changed in place: what it gave first is what it gives.
    The tensor is shared, so do not change it.
    """
    if model.whisper not in _known:
        mel = mel_batch(model, [np.zeros(WINDOW_SAMPLES, np.float32)])
        # An ordinary tensor, even where the caller is in inference mode: others may want to take gradients through it.
        with torch.inference_mode(False), torch.no_grad():
            features = encode(model, mel)
        assert features is not None  # only a pass that stops early gives none
        _known[model.whisper] = features
    return _known[model.whisper]
