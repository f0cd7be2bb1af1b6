"""The decoder's cross-attention heads as aligners: who peaks within the word that is being written?"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

import wspy
from wspy.audio import FRAME_S, n_frames
from wspy.corpus import SILENCE
from wspy.errors import TooManyTokens
from wspy.model import (
    Model,
    TokenSequence,
    capture,
    encode,
    forced_tokens,
    mel_batch,
    ratio_interval,
    sharpened,
    teacher_force,
    token_starts,
)
from wspy_heads import Decoder, DecoderHead, Heads, Timing

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

HeadName = tuple[int, int]
MOST_HEADS = 20
"""Alignment heads to try at the most; openai-whisper has 6 to 23."""
NEAR_MS = 100.0


@dataclass(frozen=True)
class Target:
    """A clip whose words have times, as the decoder reads them."""

    clip: wspy.Clip
    sequence: TokenSequence
    words: tuple[wspy.Interval, ...]
    bounds: tuple[int, ...]
    """Row that predicts the first token of each word, and the row after the last word's."""


def decoder(
    inputs: Heads.Inputs, clips: Sequence[wspy.Clip], context: wspy.Context, notes: list[str]
) -> Decoder | None:
    """Score every head, choose some, and time words with them; None where no clip has timed words."""
    model = context.model
    targets = [target for clip in clips if (target := _target(clip, context))]
    if len(targets) < len(clips):
        notes.append(
            f"{len(clips) - len(targets)} of {len(clips)} clips have no words with times, or too many of them."
        )
    if not targets:
        return None
    hits, shuffled = _hits(targets, inputs.tolerance, context)
    names = [(layer, head) for layer in range(model.dims.n_text_layer) for head in range(model.dims.n_text_head)]
    published = _published(model)
    held_out = len(targets) >= 4
    ranked = _ranked(names, hits[::2] if held_out else hits)
    sets = _sets(names, ranked, published, model)
    errors = _boundary_errors(targets, sets, context)
    chosen = _fewest({name: errors[name][::2] if held_out else errors[name] for name in sets if name.startswith(FOUND)})
    found = tuple(sorted(sets[chosen]))
    shared = len(set(found) & set(published)) if published else None
    scores = tuple(_scores(names, hits, shuffled, found, published, context.rng))
    return Decoder(
        alignment=", ".join(context.corpus.alignment_info.sources) if context.corpus.alignment_info else "",
        n_words=sum(len(target.words) for target in targets),
        n_clips=len(targets),
        tolerance_s=inputs.tolerance,
        heads=scores,
        alignment_heads=found,
        dump=dump_heads(found, model.dims.n_text_layer, model.dims.n_text_head),
        published=published,
        shared=shared,
        shared_by_chance=len(found) * len(published) / len(names) if published else None,
        published_auroc=_auroc(scores) if published else None,
        timings=tuple(_timings(sets, chosen, ranked, errors, held_out)),
        held_out=held_out,
    )


def dump_heads(heads: Sequence[HeadName], n_layer: int, n_head: int) -> str:
    """A list of heads as `whisper.model.Whisper.set_alignment_heads` reads it, and openai-whisper keeps it."""
    mask = np.zeros((n_layer, n_head), dtype=bool)
    for layer, head in heads:
        mask[layer, head] = True
    return base64.b85encode(gzip.compress(mask.tobytes(), mtime=0)).decode("ascii")


# --- what the decoder reads -------------------------------------------------------------------------------


def _target(clip: wspy.Clip, context: wspy.Context) -> Target | None:
    """The words of a clip with the tokens of each; None without words, or with more than the decoder takes."""
    alignment = context.corpus.alignment(clip)
    words = [word for word in alignment.words if _is_word(word.label)] if alignment else []
    if not words:
        return None
    # As the text writes them, where it has the same words: with capitals and punctuation, as Whisper would.
    written = (clip.text or "").split()
    labels = written if len(written) == len(words) else [word.label for word in words]
    tokenizer = context.model.tokenizer()
    lengths = [len(tokenizer.encode(f" {' '.join(label.split())}", disallowed_special=())) for label in labels]
    try:
        sequence = forced_tokens(
            context.model, " ".join(labels), clip.language if context.model.is_multilingual else None
        )
    except TooManyTokens:
        return None
    first = sequence.n_prompt - 1  # the row before a token predicts it, and so listens to it
    if sum(lengths) != len(sequence.ids) - sequence.n_prompt - 1:
        return None
    return Target(clip, sequence, tuple(words), tuple(int(row) for row in np.cumsum([first, *lengths])))


def _is_word(label: str) -> bool:
    return label != SILENCE and any(letter.isalnum() for letter in label)


def _weights(
    targets: Sequence[Target], context: wspy.Context, doing: str
) -> Iterator[tuple[Target, Float[torch.Tensor, "head token frame"]]]:
    """The cross-attention of every head over the clip's own frames, layer by layer, clip by clip."""
    model = context.model
    for target in context.progress.track(targets, doing, total=len(targets)):
        samples = context.corpus.audio(target.clip)
        mel = mel_batch(model, [samples])
        with torch.inference_mode():
            features = encode(model, mel)
            assert features is not None  # only a pass that stops early gives none
            with capture(model, "decoder.blocks.*.cross_attn.pattern") as patterns:
                teacher_force(model, features, [target.sequence])
        frames = n_frames(len(samples))
        yield target, torch.cat([patterns[site][0, :, :, :frames].float().cpu() for site in patterns.sites])


# --- scores -----------------------------------------------------------------------------------------------


def _hits(
    targets: Sequence[Target], tolerance_s: float, context: wspy.Context
) -> tuple[list[Bool[np.ndarray, "head word"]], list[Bool[np.ndarray, "head word"]]]:
    """For each clip, whether each head peaks within each word; and within another word of the clip, the control."""
    hits, shuffled = [], []
    for target, weights in _weights(targets, context, "Listening for words"):
        peaks = peak_times(weights, target.bounds)
        spans = np.array([(word.start_s, word.end_s) for word in target.words])
        hits.append(_within(peaks, spans, tolerance_s))
        if len(spans) > 1:
            others = np.roll(spans, int(context.rng.integers(1, len(spans))), axis=0)
            shuffled.append(_within(peaks, others, tolerance_s))
    return hits, shuffled


def peak_times(
    weights: Float[torch.Tensor, "head token frame"], bounds: Sequence[int]
) -> Float[np.ndarray, "head word"]:
    """When each head attends most to each word, in seconds: the centre of the frame."""
    sharp = sharpened(weights)
    profiles = [sharp[:, start:end].mean(dim=1) for start, end in pairwise(bounds)]
    peaks: Float[np.ndarray, "head word"] = torch.stack(profiles, dim=1).argmax(dim=-1).numpy()
    return (peaks + 0.5) * FRAME_S


def _within(
    peaks: Float[np.ndarray, "head word"], spans: Float[np.ndarray, "word 2"], tolerance_s: float
) -> Bool[np.ndarray, "head word"]:
    inside: Bool[np.ndarray, "head word"] = (peaks >= spans[:, 0] - tolerance_s) & (peaks <= spans[:, 1] + tolerance_s)
    return inside


def _ranked(names: Sequence[HeadName], hits: Sequence[Bool[np.ndarray, "head word"]]) -> list[HeadName]:
    share = np.concatenate(hits, axis=1).mean(axis=1)
    return [names[at] for at in np.argsort(-share, kind="stable")]


def _scores(
    names: Sequence[HeadName],
    hits: Sequence[Bool[np.ndarray, "head word"]],
    shuffled: Sequence[Bool[np.ndarray, "head word"]],
    found: Sequence[HeadName],
    published: Sequence[HeadName] | None,
    rng: np.random.Generator,
) -> Iterator[DecoderHead]:
    share = np.concatenate(hits, axis=1).mean(axis=1)
    control = np.concatenate(shuffled, axis=1).mean(axis=1) if shuffled else np.zeros(len(names))
    words = [hit.shape[1] for hit in hits]
    for at, name in enumerate(names):
        low, high = ratio_interval([int(hit[at].sum()) for hit in hits], words, rng) or (None, None)
        yield DecoderHead(
            layer=name[0],
            head=name[1],
            hits=float(share[at]),
            hits_low=low,
            hits_high=high,
            shuffled=float(control[at]),
            chosen=name in found,
            published=name in published if published else None,
        )


def _auroc(heads: Sequence[DecoderHead]) -> float | None:
    """How often, of one published head and one other, the published one hits more words; ties count half."""
    own, rest = ([head.hits for head in heads if bool(head.published) is listed] for listed in (True, False))
    pairs = [(a > b) + 0.5 * (a == b) for a in own for b in rest]
    return sum(pairs) / len(pairs) if pairs else None


# --- timing words -----------------------------------------------------------------------------------------

FOUND = "found here: best "
OWN, UPPER, ALL = "the checkpoint's own", "upper half of the layers", "every head"


def _published(model: Model) -> tuple[HeadName, ...] | None:
    """The heads that come with the checkpoint. openai-whisper's stand-in, the upper half, tells nothing."""
    heads = tuple(sorted((int(layer), int(head)) for layer, head in model.whisper.alignment_heads.indices().T.tolist()))
    return None if heads == _upper(model) else heads


def _upper(model: Model) -> tuple[HeadName, ...]:
    layers = range(model.dims.n_text_layer // 2, model.dims.n_text_layer)
    return tuple((layer, head) for layer in layers for head in range(model.dims.n_text_head))


def _sets(
    names: Sequence[HeadName], ranked: Sequence[HeadName], published: Sequence[HeadName] | None, model: Model
) -> dict[str, list[HeadName]]:
    """The sets to time words with: the best n of the ranking for each n, and what to compare them with."""
    sets = {f"{FOUND}{n}": list(ranked[:n]) for n in range(1, min(MOST_HEADS, len(names)) + 1)}
    if published:
        sets[OWN] = list(published)
    return {**sets, UPPER: list(_upper(model)), ALL: list(names)}


def _boundary_errors(
    targets: Sequence[Target], sets: dict[str, list[HeadName]], context: wspy.Context
) -> dict[str, list[list[float]]]:
    """For each set and clip the absolute errors of the word starts and ends, in milliseconds."""
    errors: dict[str, list[list[float]]] = {name: [] for name in sets}
    n_head = context.model.dims.n_text_head
    for target, weights in _weights(targets, context, "Timing words"):
        bounds = np.array(target.bounds)
        for name, heads in sets.items():
            rows = weights[[layer * n_head + head for layer, head in heads]]
            starts = token_starts(rows, target.bounds[0], target.bounds[-1] + 1)
            times = starts[bounds - bounds[0]]
            wrong = [abs(times[at] - word.start_s) for at, word in enumerate(target.words)]
            wrong += [abs(times[at + 1] - word.end_s) for at, word in enumerate(target.words)]
            errors[name].append([1000 * float(error) for error in wrong])
    return errors


def _fewest(errors: dict[str, list[list[float]]]) -> str:
    """The smallest of some nested sets whose error is within one standard error, over clips, of the least."""
    means = {name: np.array([np.mean(clip) for clip in clips]) for name, clips in errors.items()}
    best = min(means, key=lambda name: float(means[name].mean()))
    n_clips = len(means[best])
    slack = float(means[best].std(ddof=1)) / n_clips**0.5 if n_clips > 1 else 0.0
    return next(name for name in means if means[name].mean() <= means[best].mean() + slack)


def _timings(
    sets: dict[str, list[HeadName]],
    chosen: str,
    ranked: Sequence[HeadName],
    errors: dict[str, list[list[float]]],
    held_out: bool,
) -> Iterator[Timing]:
    single = f"{FOUND}1"
    for name in dict.fromkeys((chosen, single, OWN, UPPER, ALL)):
        if name not in sets:
            continue
        clips = errors[name][1::2] if held_out else errors[name]
        flat = np.array([error for clip in clips for error in clip])
        yield Timing(
            name=f"{name} ({ranked[0][0]}, {ranked[0][1]})" if name == single else name,
            n_heads=len(sets[name]),
            mean_ms=float(flat.mean()),
            median_ms=float(np.median(flat)),
            within_100_ms=float((flat < NEAR_MS).mean()),
        )
