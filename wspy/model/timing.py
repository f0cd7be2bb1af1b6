"""When each token and word is heard: openai-whisper's own method, dynamic time warping over cross-attention.

The steps and constants are those of `whisper.timing.find_alignment`; here they work on a pass of the decoder over many
clips, which is often made anyway, and on frames that the encoder has already given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wspy.audio import FRAME_S, FRAMES_PER_SECOND, WINDOW_FRAMES
from wspy.errors import BadShape
from wspy.model.hooks import capture
from wspy.model.load import Model, Task
from wspy.model.text import TokenSequence, Transcription, teacher_force

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

MEDIAN_FRAMES = 7
OPENING, CLOSING = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
"""Punctuation that belongs to the word after it, and to the word before it: those of openai-whisper."""


@dataclass(frozen=True)
class WordTime:
    """A word of a transcript, with its punctuation, and when it is heard, in seconds from the clip's start."""

    start_s: float
    end_s: float
    label: str
    tokens: tuple[int, ...]


def alignment_sites(model: Model) -> list[str]:
    """The cross-attention patterns that `alignment_weights` reads, to be captured during a pass of the decoder."""
    return sorted({f"decoder.blocks.{layer}.cross_attn.pattern" for layer, _ in _alignment_heads(model)})


def alignment_weights(
    model: Model, patterns: Mapping[str, Tensor], clip: int, n_tokens: int, n_frames: int
) -> Float[Tensor, "head token frame"]:
    """What the model's alignment heads attended to in one clip of a batch, on the CPU.

    Args:
        patterns: the captured `alignment_sites`, each `[batch head query key]`.
        clip: place in the batch.
        n_tokens: tokens of the clip's sequence, prompt and end included; what follows is padding.
        n_frames: valid frames of the clip.
    """
    rows = [
        patterns[f"decoder.blocks.{layer}.cross_attn.pattern"][clip, head, :n_tokens, :n_frames]
        for layer, head in _alignment_heads(model)
    ]
    return torch.stack([row.float().cpu() for row in rows])  # on the CPU, for Apple's devices have no float64


def sharpened(weights: Float[Tensor, "head token frame"]) -> Float[Tensor, "head token frame"]:
    """Attention that stands out, as openai-whisper's timing looks at it, for each head by itself.

    Each row is made to sum to one over its frames; then each frame is counted in standard deviations from its mean over
    the tokens, so that frames which every token attends to drop out, and smoothed by a median over seven frames.
    """
    from whisper.timing import median_filter

    weights = weights / weights.sum(dim=-1, keepdim=True)
    std, mean = weights.std(dim=-2, keepdim=True, unbiased=False), weights.mean(dim=-2, keepdim=True)
    # Attention that no token changes (a clip of one frame, say) has no spread and tells no time.
    standard = torch.nan_to_num((weights - mean) / std, nan=0.0, posinf=0.0, neginf=0.0)
    smooth: Tensor = median_filter(standard, MEDIAN_FRAMES)
    return smooth


def token_starts(
    weights: Float[Tensor, "head token frame"], first_row: int, end_row: int
) -> Float64[np.ndarray, " token"]:
    """When the model begins to listen to what each row predicts, in seconds, as `whisper.timing` has it.

    The row that predicts a token listens to it: the one before it. The last start is thus the end of the last token,
    where `end_row` is the place after it.

    Args:
        first_row: The row before the first token's own, which predicts it.
        end_row: The row after the last token's own.
    """
    from whisper.timing import dtw

    matrix = sharpened(weights).mean(dim=0)[first_row:end_row]
    n_threads = torch.get_num_threads()
    row_of_step, frame_of_step = dtw(-matrix)
    # Numba, which compiles it, gives the whole process as many threads as there are cores when it starts. Then the same
    # activations would be rounded otherwise from there on.
    torch.set_num_threads(n_threads)
    starts: Float64[np.ndarray, " token"] = frame_of_step[np.diff(row_of_step, prepend=-1) > 0] * FRAME_S
    return starts


def token_times(weights: Float[Tensor, "head token frame"], first_row: int, end_row: int) -> list[float]:
    """When each token is heard, in seconds: halfway between its start and the next one's (see `token_starts`).

    That moment lies inside the word more often than either start.
    """
    starts = token_starts(weights, first_row, end_row)
    times: list[float] = ((starts[:-1] + starts[1:]) / 2).tolist()
    return times


@torch.no_grad()
def word_times(
    model: Model,
    audio_features: Float[Tensor, "batch frame d_model"],
    transcriptions: Sequence[Transcription],
    *,
    ends_s: Sequence[float],
    task: Task = "transcribe",
) -> list[tuple[WordTime, ...]]:
    """The words of each transcript with their times, those of `whisper.timing.find_alignment`, in one decoder pass.

    A word without punctuation before it begins where the one before ended: the timing knows no pauses within sentences.

    Args:
        audio_features: what the encoder made of the clips.
        transcriptions: what was written for them (see `wspy.model.transcribe`).
        ends_s: where each clip's audio ends within its window, in seconds.
        task: what the model was asked to write.

    Raises:
        BadShape: not one transcript and one end for each clip.
    """
    if not len(audio_features) == len(transcriptions) == len(ends_s):
        expected = f"one for each of the {len(audio_features)} windows"
        raise BadShape("The list of transcripts or ends", [len(transcriptions), len(ends_s)], expected)
    sequences = [_sequence(model, transcription, task) for transcription in transcriptions]
    if not sequences:
        return []
    with capture(model, alignment_sites(model)) as patterns:
        teacher_force(model, audio_features, sequences)
    found: list[tuple[WordTime, ...]] = []
    for clip, (sequence, end_s) in enumerate(zip(sequences, ends_s, strict=True)):
        n_text = len(sequence.ids) - sequence.n_prompt - 1
        n_frames = min(max(round(end_s * FRAMES_PER_SECOND), 1), WINDOW_FRAMES)
        if n_text == 0:
            found.append(())
            continue
        weights = alignment_weights(model, patterns, clip, len(sequence.ids), n_frames)
        starts = token_starts(weights, sequence.n_prompt - 1, sequence.n_prompt + n_text)
        found.append(_words(model, sequence, starts, transcriptions[clip].language))
    return found


def written_words(model: Model, transcription: Transcription) -> tuple[str, ...]:
    """The words of a transcript with their punctuation, split as `word_times` splits them."""
    sequence = _sequence(model, transcription, "transcribe")
    starts = np.zeros(len(sequence.ids))
    return tuple(word.label for word in _words(model, sequence, starts, transcription.language))


# --- parts ------------------------------------------------------------------------------------------------


def _alignment_heads(model: Model) -> list[tuple[int, int]]:
    return [(int(layer), int(head)) for layer, head in model.whisper.alignment_heads.indices().T.tolist()]


def _sequence(model: Model, transcription: Transcription, task: Task) -> TokenSequence:
    """What the decoder would have written without timestamps."""
    tokenizer = model.tokenizer(transcription.language if model.is_multilingual else None, task)
    prompt = tokenizer.sot_sequence_including_notimestamps
    text = [token for token in transcription.tokens if token < tokenizer.eot]
    return TokenSequence((*prompt, *text, tokenizer.eot), len(prompt))


def _words(
    model: Model, sequence: TokenSequence, starts: Float64[np.ndarray, " token"], language: str
) -> tuple[WordTime, ...]:
    from whisper.timing import WordTiming, merge_punctuations

    # With the end token, since the split looks at what follows a word.
    tokenizer = model.tokenizer(language if model.is_multilingual else None)
    texts, groups = tokenizer.split_to_word_tokens(list(sequence.ids[sequence.n_prompt :]))
    borders = np.cumsum([0, *(len(group) for group in groups[:-1])])
    timings = [
        WordTiming(text, group, float(starts[first]), float(starts[end]), 1.0)
        for text, group, first, end in zip(texts[:-1], groups[:-1], borders[:-1], borders[1:], strict=True)
    ]
    merge_punctuations(timings, OPENING, CLOSING)
    return tuple(
        WordTime(round(timing.start, 3), round(timing.end, 3), timing.word.strip(), tuple(timing.tokens))
        for timing in timings
        if timing.word.strip()
    )
