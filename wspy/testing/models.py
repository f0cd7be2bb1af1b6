"""A small Whisper for tests."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wspy.model.load import Model

ENGLISH_VOCAB = 51864


def tiny_whisper(
    seed: int = 0,
    n_layers: int = 2,
    d_model: int = 64,
    n_heads: int = 2,
    n_mels: int = 80,
    n_audio_ctx: int = 1500,
    n_vocab: int = ENGLISH_VOCAB,
) -> Model:
    """A small Whisper with random weights, the same for the same arguments, on the CPU.

    It takes real 30-second windows and works with the real tokenizer (`n_vocab` 51865 makes it multilingual).
    The state of PyTorch's random numbers is left as it was.
    """
    import torch
    from whisper.model import ModelDimensions, Whisper

    from wspy.model.attention import observe_attention
    from wspy.model.dimensions import Dimensions
    from wspy.model.load import Model
    from wspy.model.reference import ModelReference

    dims = Dimensions(n_mels, n_audio_ctx, d_model, n_heads, n_layers, n_vocab, 448, d_model, n_heads, n_layers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        whisper = Whisper(ModelDimensions(**asdict(dims)))
        # openai-whisper leaves this one as uninitialised memory, to be overwritten by a checkpoint.
        torch.nn.init.normal_(whisper.decoder.positional_embedding, std=0.1)
        for name, parameter in whisper.named_parameters():
            if name.endswith("bias") or ".ln" in name or "_ln" in name:
                # Away from all zeros and all ones, so that a mix-up of two of them shows.
                parameter.data.add_(0.1 * torch.randn_like(parameter))
    whisper.eval().requires_grad_(False)
    observe_attention(whisper)
    digest = hashlib.sha256()
    for name, tensor in sorted(whisper.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return Model(whisper, ModelReference(f"random-{seed}", "in memory", None, digest.hexdigest(), dims))
