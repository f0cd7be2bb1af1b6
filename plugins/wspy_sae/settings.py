"""What a dictionary is trained with."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from wspy_sae.train_errors import BadTraining

Trainable = Literal["relu", "topk", "batchtopk", "jumprelu", "matryoshka"]
Speed = Literal["exact", "condensed"]
Precision = Literal["fp32", "bf16", "fp16"]

POST_WIDTH = 200
"""The atoms of the tied form, as in the repository of the post."""
POST_LR = 4e-4
POST_ALPHA = 1e4


class TrainSettings(BaseModel):
    """Everything that decides what training gives, besides the model and the corpus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str = Field(description="Where in the model the activations are read: a module path of the encoder.")
    architecture: Trainable = Field("batchtopk", description="What makes the code sparse.")
    d_sae: int = Field(gt=0, description="Features of the dictionary.")
    k: int = Field(32, gt=0, description="Features that may be active in a frame; for jumprelu the L0 that it aims at.")
    steps: int = Field(3000, gt=0, description="Updates of the weights.")
    batch: int = Field(4096, gt=1, description="Frames in one update, of all processes together.")
    lr: float | None = Field(None, gt=0, description="Peak learning rate; null: 3e-3 * sqrt(3072 / d_sae), relu 4e-4.")
    seed: int = Field(0, ge=0, description="Of the first weights, the held-out clips and the order of frames.")
    speed: Speed = Field("condensed", description="How padding is heard: all of it, or in short.")
    precision: Precision = Field("fp32", description="fp32, or mixed precision in bf16 or fp16.")
    held_out: float = Field(0.1, ge=0, lt=1, description="Share of the clips that training never hears.")
    dead_frames: int | None = Field(
        None, gt=0, description="Frames without firing after which a feature counts as dead; null: 5 % of training."
    )
    frozen_decoder: bool = Field(False, description="A control: the decoder stays at its random first directions.")
    memory_gb: float = Field(1.0, gt=0, description="Most that the buffer of activations may take, in GB.")

    @property
    def peak_lr(self) -> float:
        if self.lr is not None:
            return self.lr
        return POST_LR if self.architecture == "relu" else 3e-3 * (3072 / self.d_sae) ** 0.5

    @property
    def dead_after(self) -> int:
        """Frames without firing after which a feature counts as dead."""
        return self.dead_frames or max(self.steps * self.batch // 20, 1)


def parse_width(width: str, d_in: int) -> int:
    """A number of features, or with an x how many times as many as the site has units: 3072, 8x.

    Raises:
        BadTraining: neither.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(x?)", width.strip().lower())
    value = float(found[1]) * (d_in if found[2] else 1) if found else 0
    if value < 1 or value != int(value):
        raise BadTraining("--width", repr(width), "give a number of features, or a multiple such as 8x")
    return int(value)
