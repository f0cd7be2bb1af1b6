"""Which clips are heard, and both sides in turn."""

from __future__ import annotations

from collections.abc import Sequence

import wspy
from wspy.audio import SAMPLE_RATE, n_frames
from wspy.errors import NothingAligned, OutOfRange, WindowTooWide
from wspy.model import Model
from wspy_heads import Heads
from wspy_heads.decoder import decoder
from wspy_heads.encoder import encoder


def study(inputs: Heads.Inputs, context: wspy.Context) -> Heads.Result:
    """Measure what was asked for.

    Raises:
        OutOfRange: a layer or head that the encoder does not have.
        WindowTooWide: heads were to be masked to a window that no clip is longer than.
        NothingAligned: only the decoder was asked for, and no clip has timed words.
    """
    chosen = _chosen(inputs, context.model)
    corpus = context.corpus
    clips = corpus.spread(inputs.limit)
    notes: list[str] = []
    foreign = sum(clip.language not in (None, "en") for clip in clips)
    if foreign and not context.model.is_multilingual:
        notes.append(f"{context.model.name} knows English only, and {foreign} of {len(clips)} clips are not English.")
    if inputs.side != "decoder" and inputs.causal:
        _require_longer(inputs.k, clips, corpus.name, notes)
    encoded = encoder(inputs, chosen, clips, context, notes) if inputs.side != "decoder" else None
    decoded = decoder(inputs, clips, context, notes) if inputs.side != "encoder" else None
    if inputs.side == "decoder" and decoded is None:
        raise NothingAligned(corpus.name, "none of the clips heard has words with times")
    return Heads.Result(
        model=context.model.name,
        corpus=corpus.name,
        n_clips=len(clips),
        encoder=encoded,
        decoder=decoded,
        notes=tuple(notes),
    )


def _require_longer(k: int, clips: Sequence[wspy.Clip], corpus: str, notes: list[str]) -> None:
    """Refuse a causal test in which no mask hides any sound, and note the clips for which it hides padding only."""
    lengths = [round(clip.duration_s * SAMPLE_RATE) for clip in clips]
    covered, longest = sum(n_frames(length) <= k for length in lengths), max(lengths)
    if covered == len(clips):
        raise WindowTooWide(f"The longest clip of corpus {corpus!r}", n_frames(longest), longest / SAMPLE_RATE, k)
    if covered:
        notes.append(f"{covered} of {len(clips)} clips are no longer than {k} frames: there a mask hides padding only.")


def _chosen(inputs: Heads.Inputs, model: Model) -> list[tuple[int, int]]:
    """Layer and head of the encoder heads that were asked for."""
    dims, of = model.dims, f"the encoder of {model.name}"
    for what, given, count in (("Layer", inputs.layers, dims.n_audio_layer), ("Head", inputs.heads, dims.n_audio_head)):
        for number in given:
            if number >= count:
                raise OutOfRange(what, number, 0, count - 1, of)
    layers = sorted(set(inputs.layers)) or list(range(dims.n_audio_layer))
    heads = sorted(set(inputs.heads)) or list(range(dims.n_audio_head))
    return [(layer, head) for layer in layers for head in heads]
