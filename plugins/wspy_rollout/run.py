"""One clip through the model, and what its maps say."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

import wspy
from wspy.audio import FRAME_S, FRAMES_PER_SECOND, SAMPLE_RATE, WINDOW_FRAMES, log_mel, n_frames, require_window
from wspy.errors import BadInput, NothingToExplain, WordNotHeard
from wspy.model import Model, TokenSequence, Transcription, transcribe, word_times
from wspy_rollout import measure
from wspy_rollout.relevance import (
    DecoderPass,
    EncoderPass,
    contributions,
    cross_relevance,
    decoder_pass,
    encoder_pass,
    plain_rollout,
    self_relevance,
    through_encoder,
)
from wspy_rollout.result import Ending, Reach, RolloutResult, Target, WordRelevance, WordTime

if TYPE_CHECKING:
    from jaxtyping import Float

DISTANCES = (5, 10, 25, 50, 100)  # frames
MARGIN_S = 0.2  # a phone is heard a little before and after itself, and the model's timing errs by about as much
NO_SPEECH, LOGPROB = 0.6, -1.0  # beyond these openai-whisper's own `transcribe` doubts what the model wrote
MARKS = string.punctuation + "“”‘’¿¡。，！？、…"


@dataclass(frozen=True)
class Word:
    """A word to explain: where its tokens stand in the sequence that the decoder reads."""

    time: WordTime
    places: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Maps:
    """The relevance map without the identity, and the relevance of each explained token, word after word."""

    frames: Float[Tensor, "frame frame"]
    tokens: Float[np.ndarray, "token frame"]


def run(
    context: wspy.Context, audio: Path, target: Target, word: str | None, occurrence: int, language: str | None
) -> RolloutResult:
    """Answer `wspy analyze rollout`."""
    if (target == "word") != (word is not None):
        raise BadInput("rollout", "word", "a word and the target word need each other: give --target word --word WORD")
    samples = context.audio(audio)
    require_window(samples, what=audio.name)
    model, duration_s = context.model, len(samples) / SAMPLE_RATE
    mel = log_mel(samples, model.dims.n_mels)
    encoded = encoder_pass(model, torch.from_numpy(mel)[None].to(model.device))
    features = encoded.features.detach()
    (written,) = transcribe(model, features, language=language, ends_s=[duration_s])
    sequence, words = _words(model, features, written, duration_s)

    chosen = words
    if target == "word":
        chosen = [_pick(model, sequence, words, str(word), occurrence)]
    elif target == "words" and not words:
        raise NothingToExplain(audio.name)
    found = _encoder_map(encoded) if target == "encoder" else _word_maps(context, encoded, sequence, chosen)
    frames = found.frames.cpu().numpy()
    plain = plain_rollout(encoded.patterns).cpu().numpy()
    end = n_frames(len(samples))
    by_word = _by_word(found.tokens, chosen if target != "encoder" else ())
    explained = _explained(model, sequence, by_word, chosen, end) if target != "encoder" else ()
    return RolloutResult(
        model=model.name,
        audio=audio.name,
        target=target,
        duration_s=duration_s,
        end_frame=end,
        text=written.text,
        words=tuple(word.time for word in words),
        no_speech_prob=written.no_speech_prob,
        avg_logprob=written.avg_logprob,
        doubtful=_doubts(written),
        reach=tuple(_reach(frames, plain, end, distance) for distance in DISTANCES),
        to_padding=measure.mass_in(frames, slice(0, end), slice(end, None)),
        endings=tuple(_endings(frames, plain, end, words)),
        explained=explained,
        sound=context.save("audio.wav", samples),
        arrays=context.save(
            "maps.npz",
            {
                "map": frames,
                "rollout": plain.astype(np.float16),
                "words": by_word,
                "tokens": found.tokens,
                "mel": mel.astype(np.float16),
            },
        ),
    )


# --- words ------------------------------------------------------------------------------------------------


def _words(
    model: Model, features: Float[Tensor, "1 frame d_model"], written: Transcription, end_s: float
) -> tuple[TokenSequence, list[Word]]:
    """The sequence that the decoder would have written without timestamps, and the words in it."""
    tokenizer = model.tokenizer(written.language if model.is_multilingual else None)
    prompt = tokenizer.sot_sequence_including_notimestamps
    text = [token for token in written.tokens if token < tokenizer.eot]
    sequence = TokenSequence((*prompt, *text, tokenizer.eot), len(prompt))
    (times,) = word_times(model, features, [written], ends_s=[end_s])
    words, at = [], len(prompt)
    for time in times:
        while sequence.ids[at : at + len(time.tokens)] != time.tokens:
            at += 1  # over tokens that make no word
        places = tuple(range(at, at + len(time.tokens)))
        words.append(Word(WordTime(label=time.label, start_s=time.start_s, end_s=time.end_s), places))
        at += len(places)
    return sequence, words


def _bare(text: str) -> str:
    return text.strip().strip(MARKS).strip().casefold()


def _pick(model: Model, sequence: TokenSequence, words: list[Word], wanted: str, occurrence: int) -> Word:
    """The word of that name, or else the token."""
    named = [word for word in words if _bare(word.time.label) == _bare(wanted)]
    if not named:
        tokenizer = model.tokenizer()
        pieces = [Word(word.time, (place,)) for word in words for place in word.places]
        said = wanted.strip().casefold()
        named = [
            piece for piece in pieces if tokenizer.decode([sequence.ids[piece.places[0]]]).strip().casefold() == said
        ]
    if len(named) < occurrence:
        heard = dict.fromkeys(word.time.label.strip(MARKS) for word in words)
        raise WordNotHeard(wanted, heard, occurrence if named else None)
    return named[occurrence - 1]


def _doubts(written: Transcription) -> str:
    """Why the text may be made up."""
    if not written.text:
        return ""
    why = []
    if written.no_speech_prob > NO_SPEECH:
        why.append(f"the model itself gives {written.no_speech_prob:.0%} that nobody speaks")
    if written.avg_logprob < LOGPROB:
        why.append(f"it gives its own tokens a mean log-probability of {written.avg_logprob:.2f}, below {LOGPROB:g}")
    return " and ".join(why)


# --- maps -------------------------------------------------------------------------------------------------


def _encoder_map(encoded: EncoderPass) -> Maps:
    layers = contributions(encoded.features.sum(), encoded.patterns)
    return Maps(self_relevance(layers), np.zeros((0, WINDOW_FRAMES), np.float32))


def _word_maps(context: wspy.Context, encoded: EncoderPass, sequence: TokenSequence, words: list[Word]) -> Maps:
    """The map of the words' logits together, and every token in turn: one pass forward, one back for each token."""
    decoded = decoder_pass(context.model, encoded, sequence)
    places = [place for word in words for place in word.places]
    rows, layers = [], list[Tensor]()
    for place in context.progress.track(places, "Tracing tokens", unit="tokens"):
        row, layers = _token_relevance(encoded, decoded, sequence, place)
        rows.append(row)
    if len(places) > 1:
        layers = contributions(_logits(decoded, sequence, places), encoded.patterns)
    return Maps(self_relevance(layers), np.stack(rows))


def _token_relevance(
    encoded: EncoderPass, decoded: DecoderPass, sequence: TokenSequence, place: int
) -> tuple[Float[np.ndarray, " frame"], list[Tensor]]:
    """The relevance of a token over the frames, and what each encoder layer contributed to it."""
    target = _logits(decoded, sequence, [place])
    found = contributions(target, [*encoded.patterns, *decoded.own, *decoded.cross])
    n_encoder, n_decoder = len(encoded.patterns), len(decoded.own)
    layers = found[:n_encoder]
    gathered = cross_relevance(found[n_encoder : n_encoder + n_decoder], found[n_encoder + n_decoder :])
    row = gathered[place - 1 : place]  # the place before a token is the one that predicts it
    return through_encoder(row, layers)[0].cpu().numpy(), layers


def _by_word(tokens: Float[np.ndarray, "token frame"], words: Sequence[Word]) -> Float[np.ndarray, "word frame"]:
    """What a word draws on: the sum over its tokens."""
    if not words:
        return tokens
    firsts = np.cumsum([0, *(len(word.places) for word in words[:-1])])
    found: Float[np.ndarray, "word frame"] = np.add.reduceat(tokens, firsts, axis=0)
    return found


def _logits(decoded: DecoderPass, sequence: TokenSequence, places: list[int]) -> Float[Tensor, ""]:
    tokens = [sequence.ids[place] for place in places]
    with torch.enable_grad():
        return decoded.logits[[place - 1 for place in places], tokens].sum()


# --- numbers ----------------------------------------------------------------------------------------------


def _reach(
    frames: Float[np.ndarray, "frame frame"], plain: Float[np.ndarray, "frame frame"], end: int, distance: int
) -> Reach:
    rows = slice(0, end)
    uniform, even = (measure.uniform_within(n, rows, distance) for n in (len(frames), end))
    assert uniform is not None and even is not None  # audio has a frame at least
    return Reach(
        frames=distance,
        relevance=measure.mass_within(frames, rows, distance),
        rollout=measure.mass_within(plain, rows, distance),
        uniform=uniform,
        even=even,
    )


def _endings(
    frames: Float[np.ndarray, "frame frame"], plain: Float[np.ndarray, "frame frame"], end: int, words: list[Word]
) -> list[Ending]:
    if end >= len(frames):
        return []
    found, rows = [], slice(end, None)
    stops = {"audio": end}
    if words and words[-1].time.end_s > 0:
        stops["speech"] = min(max(round(words[-1].time.end_s * FRAMES_PER_SECOND), 1), end)
    for of, stop in stops.items():
        start = max(stop - FRAMES_PER_SECOND, 0)
        found.append(
            Ending(
                of="audio" if of == "audio" else "speech",
                start_s=start * FRAME_S,
                end_s=stop * FRAME_S,
                relevance=measure.mass_in(frames, rows, slice(start, stop)),
                rollout=measure.mass_in(plain, rows, slice(start, stop)),
                uniform=(stop - start) / len(frames),
            )
        )
    return found


def _explained(
    model: Model, sequence: TokenSequence, relevance: Float[np.ndarray, "word frame"], words: list[Word], end: int
) -> tuple[WordRelevance, ...]:
    tokenizer, found = model.tokenizer(), []
    for n, (word, row) in enumerate(zip(words, relevance, strict=True)):
        own = row[:end]
        first = min(max(int((word.time.start_s - MARGIN_S) * FRAMES_PER_SECOND), 0), end - 1)
        span = slice(first, max(min(round((word.time.end_s + MARGIN_S) * FRAMES_PER_SECOND), end), first + 1))
        half = measure.shortest_half(own)
        others = [measure.inside(other[:end], span) for m, other in enumerate(relevance) if m != n]
        found.append(
            WordRelevance(
                word=word.time,
                tokens=tuple(tokenizer.decode([sequence.ids[place]]) for place in word.places),
                peak_s=float(own.argmax()) * FRAME_S if half else None,
                half_from_s=half[0] * FRAME_S if half else None,
                half_to_s=half[1] * FRAME_S if half else None,
                inside=measure.inside(own, span),
                chance=(span.stop - span.start) / end,
                others=measure.mean_of(others),
                padding=measure.inside(row, slice(end, None)),
            )
        )
    return tuple(found)
