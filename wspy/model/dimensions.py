"""The sizes of a Whisper model, without torch."""

from __future__ import annotations

from dataclasses import dataclass

MULTILINGUAL_VOCAB = 51865
"""From this many tokens on, a Whisper vocabulary holds language tokens."""


@dataclass(frozen=True)
class Dimensions:
    """What openai-whisper calls `ModelDimensions`, with the derived sizes."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.n_audio_state

    @property
    def d_mlp(self) -> int:
        """Neurons of an MLP."""
        return 4 * self.n_audio_state

    @property
    def is_multilingual(self) -> bool:
        """Whether the vocabulary has tokens for languages."""
        return self.n_vocab >= MULTILINGUAL_VOCAB

    @property
    def n_params(self) -> int:
        """How many weights are learned (the encoder's sinusoids are not)."""
        audio, text = self.n_audio_state, self.n_text_state
        convolutions = 3 * self.n_mels * audio + audio + 3 * audio * audio + audio
        encoder = self.n_audio_layer * (_attention(audio) + _mlp(audio) + 4 * audio) + 2 * audio
        decoder = self.n_text_layer * (2 * _attention(text) + _mlp(text) + 6 * text) + 2 * text
        return convolutions + encoder + decoder + (self.n_vocab + self.n_text_ctx) * text


def _attention(d_model: int) -> int:
    return 4 * d_model * d_model + 3 * d_model  # the key projection has no bias


def _mlp(d_model: int) -> int:
    return 8 * d_model * d_model + 5 * d_model
