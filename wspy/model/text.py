"""Text and tokens: transcribing, and the one pass in which the decoder reads a text that is given to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import whisper as openai_whisper
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from whisper.decoding import DecodingResult
from whisper.tokenizer import Tokenizer

from wspy.errors import BadShape, TooManyTokens
from wspy.model.load import Model, Task, language_code

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

SECONDS_PER_TIMESTAMP = 0.02
END_TOLERANCE_S = 0.1
"""How far before the clip's end a segment may start and still count as made up: Whisper rounds its timestamps."""


@dataclass(frozen=True)
class Segment:
    """A stretch of text between two of Whisper's timestamps; None where Whisper wrote no end."""

    start_s: float
    end_s: float | None
    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Transcription:
    """What Whisper wrote for one window. `tokens` hold the timestamps, and neither the prompt nor the end."""

    text: str
    tokens: tuple[int, ...]
    language: str
    avg_logprob: float
    no_speech_prob: float
    segments: tuple[Segment, ...]

    def until(self, end_s: float) -> Transcription:
        """Without the segments that start where the clip's audio has ended: there Whisper makes text up.

        The scores stay those of the whole.
        """
        kept = tuple(segment for segment in self.segments if segment.start_s < max(end_s - END_TOLERANCE_S, 1e-9))
        if len(kept) == len(self.segments):
            return self
        # The tokens of the kept segments, each with the timestamps around it.
        n_tokens = sum(1 + len(segment.tokens) + (segment.end_s is not None) for segment in kept)
        text = "".join(segment.text for segment in kept).strip()
        return replace(self, text=text, tokens=self.tokens[:n_tokens], segments=kept)


@torch.no_grad()
def transcribe(
    model: Model,
    audio: Float[Tensor, "batch mel 2*frame"] | Float[Tensor, "batch frame d_model"],
    *,
    language: str | None = None,
    task: Task = "transcribe",
    prompt: str | None = None,
    beam_size: int | None = None,
    max_tokens: int | None = None,
    ends_s: Sequence[float] | None = None,
) -> list[Transcription]:
    """Transcribe a batch of 30-second windows, greedily unless `beam_size` is given, with timestamps.

    Args:
        audio: mel spectrograms, or what the encoder made of them.
        language: code or English name; None lets a multilingual model find it out for each clip.
        prompt: text that precedes the audio, as Whisper's context.
        max_tokens: stop each transcript after so many tokens, timestamps included; None: half the decoder's context,
            as openai-whisper does. A batch takes as long as its longest, and a model that loops never ends by itself.
        ends_s: where each clip's audio ends within its window; text that starts beyond it is cut
            (see `Transcription.until`).

    Raises:
        BadShape: neither of the two shapes, or not one end for each window.
        UnknownLanguage: no language of this model.
    """
    dims = model.dims
    shapes = {(dims.n_mels, 2 * dims.n_audio_ctx), (dims.n_audio_ctx, dims.d_model)}
    if audio.ndim != 3 or tuple(audio.shape[1:]) not in shapes:
        raise BadShape("The audio", audio.shape, " or ".join(f"[batch, {a}, {b}]" for a, b in sorted(shapes)))
    if ends_s is not None and len(ends_s) != len(audio):
        raise BadShape("ends_s", [len(ends_s)], f"one end for each of the {len(audio)} windows")
    if not len(audio):
        return []
    if language is not None:
        language = language_code(language, model)
    elif not model.is_multilingual:
        language = "en"  # with None, openai-whisper would look for language tokens that are not there
    options = openai_whisper.DecodingOptions(
        task=task,
        language=language,
        prompt=prompt,
        beam_size=beam_size,
        sample_len=max_tokens,
        fp16=False,
    )
    results: list[DecodingResult] = openai_whisper.decode(model.whisper, audio.to(model.device), options)
    tokenizer = model.tokenizer()
    transcriptions = [_transcription(result, tokenizer) for result in results]
    if ends_s is None:
        return transcriptions
    return [transcription.until(end_s) for transcription, end_s in zip(transcriptions, ends_s, strict=True)]


def transcribe_mixed(
    model: Model,
    audio: Float[Tensor, "batch mel 2*frame"] | Float[Tensor, "batch frame d_model"],
    languages: Sequence[str | None],
    *,
    ends_s: Sequence[float] | None = None,
) -> list[Transcription]:
    """`transcribe` for windows in several languages: those of one language are decoded together.

    Args:
        languages: for each window as in `transcribe`.

    Raises:
        BadShape: not one language, or not one end, for each window.
        UnknownLanguage: no language of this model.
    """
    if len(languages) != len(audio) or (ends_s is not None and len(ends_s) != len(audio)):
        raise BadShape("languages or ends_s", [len(languages)], f"one for each of the {len(audio)} windows")
    found: dict[int, Transcription] = {}
    for language in dict.fromkeys(languages):
        rows = [row for row, spoken in enumerate(languages) if spoken == language]
        ends = None if ends_s is None else [ends_s[row] for row in rows]
        found.update(zip(rows, transcribe(model, audio[rows], language=language, ends_s=ends), strict=True))
    return [found[row] for row in range(len(audio))]


@dataclass(frozen=True)
class TokenSequence:
    """The tokens of one decoder pass: `n_prompt` of prompt (start, language, task, no timestamps), text, end."""

    ids: tuple[int, ...]
    n_prompt: int

    @property
    def is_prompt(self) -> tuple[bool, ...]:
        """For each token, whether it belongs to the prompt, which statistics leave out."""
        return tuple(position < self.n_prompt for position in range(len(self.ids)))


def forced_tokens(model: Model, text: str, language: str | None = None, task: Task = "transcribe") -> TokenSequence:
    """The tokens with which Whisper would write `text`, without timestamps, between its prompt and its end token.

    Raises:
        TooManyTokens: longer than the decoder's context.
        UnknownLanguage: no language of this model.
    """
    tokenizer = model.tokenizer(language, task)
    prompt = tokenizer.sot_sequence_including_notimestamps
    # Whisper writes one space before each word, the first one too; special tokens in the text are plain text.
    text = " ".join(text.split())
    written = tokenizer.encode(f" {text}", disallowed_special=()) if text else []
    ids = (*prompt, *written, tokenizer.eot)
    if len(ids) > model.dims.n_text_ctx:
        raise TooManyTokens(len(ids), model.dims.n_text_ctx)
    return TokenSequence(ids, len(prompt))


@dataclass(frozen=True, eq=False)
class TeacherForced:
    """One decoder pass over given tokens. `logits[:, i]` score the token after token i.

    `valid` marks tokens that are not padding, `prompt` those of the prompt.
    """

    logits: Float[Tensor, "batch token n_vocab"]
    valid: Bool[Tensor, "batch token"]
    prompt: Bool[Tensor, "batch token"]


def teacher_force(
    model: Model, audio_features: Float[Tensor, "batch frame d_model"], sequences: Sequence[TokenSequence]
) -> TeacherForced:
    """Let the decoder read each sequence in one pass, all at once; padding stands at the right, where it is not seen.

    Captured decoder sites have the same `[batch token ...]` layout as the masks.

    Raises:
        BadShape: not one sequence for each window.
        TooManyTokens: a sequence longer than the decoder's context.
    """
    if len(sequences) != len(audio_features) or not sequences:
        raise BadShape("The list of sequences", [len(sequences)], f"one for each of the {len(audio_features)} windows")
    longest = max(len(sequence.ids) for sequence in sequences)
    if longest > model.dims.n_text_ctx:
        raise TooManyTokens(longest, model.dims.n_text_ctx)
    eot = model.tokenizer().eot
    rows = [torch.tensor(sequence.ids) for sequence in sequences]
    tokens = pad_sequence(rows, batch_first=True, padding_value=eot).to(model.device)
    position = torch.arange(longest, device=model.device)
    lengths = torch.tensor([len(sequence.ids) for sequence in sequences], device=model.device)
    n_prompts = torch.tensor([sequence.n_prompt for sequence in sequences], device=model.device)
    logits: Tensor = model.whisper.decoder(tokens, audio_features.to(model.device))
    return TeacherForced(logits, position < lengths[:, None], position < n_prompts[:, None])


# --- parts ------------------------------------------------------------------------------------------------


def _transcription(result: DecodingResult, tokenizer: Tokenizer) -> Transcription:
    return Transcription(
        text=result.text,
        tokens=tuple(result.tokens),
        language=result.language,
        avg_logprob=float(result.avg_logprob),
        no_speech_prob=float(result.no_speech_prob),
        segments=tuple(_segments(result.tokens, tokenizer)),
    )


def _segments(tokens: Sequence[int], tokenizer: Tokenizer) -> list[Segment]:
    """Split tokens at Whisper's timestamps: start, text, end, start, text, end ..."""
    segments: list[Segment] = []
    start_s, written = 0.0, list[int]()
    for token in tokens:
        if token < tokenizer.timestamp_begin:
            written.append(token)
            continue
        time_s = round((token - tokenizer.timestamp_begin) * SECONDS_PER_TIMESTAMP, 2)
        if written:
            segments.append(Segment(start_s, time_s, tokenizer.decode(written), tuple(written)))
            written = []
        start_s = time_s
    if written:
        segments.append(Segment(start_s, None, tokenizer.decode(written), tuple(written)))
    return segments
