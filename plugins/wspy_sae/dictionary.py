"""A sparse dictionary: what turns activations into features, and features back into activations.

    f = active(W_enc' (x - b_dec) + b_enc)        with b_dec left out of it where apply_b_dec_to_input is false
    x_hat = W_dec' f + b_dec

`active` is what the architecture says: above zero (relu), above each feature's threshold (jumprelu), or the k highest
of a frame that are above zero (topk). x is what the site gives, as it is: whatever training multiplied it by is in the
weights, so that a reader of another library needs no factor besides them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from wspy.audio import FRAMES_PER_SECOND, SAMPLE_RATE

if TYPE_CHECKING:
    from jaxtyping import Float

Architecture = Literal["relu", "topk", "jumprelu"]
TrainedAs = Literal["relu", "topk", "batchtopk", "jumprelu", "matryoshka", "gated", "random"]


class DictionaryConfig(BaseModel):
    """What there is to know of a dictionary besides its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = Field(
        description="How a frame is encoded; batchtopk and matryoshka are jumprelu here."
    )
    trained_as: TrainedAs = Field(description="How it was trained; random: its directions were not.")
    d_in: int = Field(gt=0, description="Units of the site.")
    d_sae: int = Field(gt=0, description="Features.")
    k: int | None = Field(
        None, description="Active features per frame: exactly for topk, else aimed at; null: not set."
    )
    site: str = Field(description="Module path of the activations.")
    model_name: str = Field(description="Name of the model.")
    model_sha256: str = Field(description="Hash of the model's weights.")
    published_name: str | None = Field(
        None, description="Name under which openai-whisper publishes these weights, whatever file they are in."
    )
    corpus: str | None = Field(None, description="Name of the corpus it was trained on.")
    corpus_hash: str | None = Field(None, description="Hash of that corpus.")
    tied: bool = Field(False, description="Whether the encoder is the decoder transposed.")
    apply_b_dec_to_input: bool = Field(True, description="Whether b_dec is taken from the input.")
    sample_rate_hz: int = Field(SAMPLE_RATE, description="Of the audio.")
    frames_per_second: int = Field(FRAMES_PER_SECOND, description="Of the site.")
    valid_frames_only: bool | None = Field(
        True, description="Whether padding was left out of training; null: not known."
    )


class Dictionary(nn.Module):
    """The weights, and what is computed with them."""

    threshold: Tensor

    def __init__(self, config: DictionaryConfig) -> None:
        super().__init__()
        self.config = config
        self.W_enc = nn.Parameter(torch.zeros(config.d_in, config.d_sae))
        self.b_enc = nn.Parameter(torch.zeros(config.d_sae))
        self.W_dec = nn.Parameter(torch.zeros(config.d_sae, config.d_in))
        self.b_dec = nn.Parameter(torch.zeros(config.d_in))
        self.register_buffer("threshold", torch.zeros(config.d_sae))
        self.requires_grad_(False)

    def pre_activations(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        if self.config.apply_b_dec_to_input:
            x = x - self.b_dec
        return x @ self.W_enc + self.b_enc

    def encode(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        z = self.pre_activations(x)
        if self.config.architecture == "jumprelu":
            return z.relu() * (z > self.threshold)
        if self.config.architecture == "topk":
            assert self.config.k is not None
            top = z.topk(self.config.k, dim=-1, sorted=False)
            return torch.zeros_like(z).scatter(-1, top.indices, top.values.relu())
        return z.relu()

    def decode(self, f: Float[Tensor, "... d_sae"]) -> Float[Tensor, "... d_in"]:
        return f @ self.W_dec + self.b_dec

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_in"]:
        return self.decode(self.encode(x))
