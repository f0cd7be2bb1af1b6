"""What `features` does: one pass of the encoder over a recording, and what of its features is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

import wspy
from wspy.audio import FRAME_S, SAMPLE_RATE, excerpt, log_mel, n_frames, require_window
from wspy.errors import OutOfRange
from wspy.model import Transcription, capture, encode, mel_batch, transcribe, word_times
from wspy_sae.evaluate import reconstruct
from wspy_sae.labels import feature_labels
from wspy_sae.listening import Features, Fired, Label, Span
from wspy_sae.site import fitting_dictionary

if TYPE_CHECKING:
    from jaxtyping import Float, Float32

    from wspy.model import Model
    from wspy_sae.dictionary import Dictionary

GAP = 2
"""Frames of silence that a stretch may contain."""
AROUND_S = 0.1
SHORTEST_S = 0.3
"""Less than that is a click to the ear."""


def hear_recording(inputs: Features.Inputs, context: wspy.Context) -> Features.Result:
    """Encode a recording and choose what is shown of it.

    Raises:
        UnknownDictionary, OtherModel, OtherWidth: the dictionary is not there, or of something else.
        OutOfRange: a feature that it does not have.
        AudioTooLong: more than 30 s.
    """
    dictionary = fitting_dictionary(inputs.sae, context.reference)
    config = dictionary.config
    for feature in inputs.only:
        check_feature(feature, inputs.sae, dictionary)
    samples = context.audio(inputs.audio)
    require_window(samples, what=inputs.audio.name)
    heard, written, words = _heard(context.model, samples, config.site)
    found, _ = reconstruct(dictionary, [heard])
    activations = dictionary.encode(heard).numpy()
    strengths = _strengths(activations, dictionary)
    chosen = list(dict.fromkeys(inputs.only)) or _strongest(strengths, inputs.top)
    corpus, labels = feature_labels(inputs.sae, context.reference, chosen)
    mel = log_mel(samples, context.model.dims.n_mels, window_s=None)
    return Features.Result(
        sae=inputs.sae,
        site=config.site,
        model=context.reference.name,
        d_sae=config.d_sae,
        name=inputs.audio.name,
        duration_s=round(len(samples) / SAMPLE_RATE, 6),
        n_frames=len(heard),
        text=written.text,
        words=words,
        fvu=found.fvu if len(heard) > 1 and bool(heard.var(dim=0).sum() > 0) else None,
        l0=found.l0,
        n_fired=int((found.counts > 0).sum()),
        labels_from=corpus,
        features=tuple(
            _fired(feature, activations[:, feature], float(strengths[feature]), samples, words, labels, context)
            for feature in chosen
        ),
        audio=context.save("recording.wav", samples),
        arrays=context.save(
            "activations.npz",
            {
                "features": np.array(chosen, np.int32),
                "activations": activations[:, chosen].T.astype(np.float32),
                "mel": mel,
            },
        ),
    )


def check_feature(feature: int, sae: str, dictionary: Dictionary) -> None:
    """Refuse a number that no feature has.

    Raises:
        OutOfRange: it is too high.
    """
    if feature >= dictionary.config.d_sae:
        raise OutOfRange("Feature", feature, 0, dictionary.config.d_sae - 1, f"the dictionary {sae!r}")


def _heard(
    model: Model, samples: Float32[np.ndarray, " sample"], site: str
) -> tuple[Float[torch.Tensor, "frame d_in"], Transcription, tuple[Span, ...]]:
    """The site's activations in the recording's own frames, and what Whisper writes for it."""
    end_s = len(samples) / SAMPLE_RATE
    mel = mel_batch(model, [samples])
    with torch.inference_mode():
        with capture(model, site) as cache:
            features = encode(model, mel)
        assert features is not None  # only a pass that stops early gives none
        written = transcribe(model, features, ends_s=[end_s])[0]
        times = word_times(model, features, [written], ends_s=[end_s])[0]
        values = cache[site][0, : n_frames(len(samples))].flatten(1).float().cpu()
    spans = tuple(
        Span(start_s=round(word.start_s, 3), end_s=round(word.end_s, 3), label=word.label.strip()) for word in times
    )
    return values, written, spans


def _strengths(activations: Float[np.ndarray, "frame d_sae"], dictionary: Dictionary) -> Float[np.ndarray, " d_sae"]:
    """Per feature its share of the features' coming and going."""
    lengths = dictionary.W_dec.norm(dim=1).numpy()
    varying: Float[np.ndarray, " d_sae"] = activations.var(axis=0, dtype=np.float64) * lengths**2
    return varying / max(float(varying.sum()), 1e-30)


def _strongest(strengths: Float[np.ndarray, " d_sae"], top: int) -> list[int]:
    order = np.argsort(-strengths, kind="stable")[:top]
    return [int(feature) for feature in order if strengths[feature] > 0]


def _fired(
    feature: int,
    activation: Float[np.ndarray, " frame"],
    strength: float,
    samples: Float32[np.ndarray, " sample"],
    words: Sequence[Span],
    labels: dict[int, Label],
    context: wspy.Context,
) -> Fired:
    peak = int(activation.argmax())
    start, stop = stretch(activation, peak)
    start_s, end_s = start * FRAME_S, min(stop * FRAME_S, len(samples) / SAMPLE_RATE)
    width_s = max(end_s - start_s + 2 * AROUND_S, SHORTEST_S)
    sound = excerpt(samples, (start_s + end_s) / 2, width_s)
    at_peak = next((word.label for word in words if word.start_s <= peak * FRAME_S < word.end_s), None)
    return Fired(
        feature=feature,
        strength=strength,
        peak=float(activation[peak]),
        peak_s=round(peak * FRAME_S, 3),
        active=float((activation > 0).mean()),
        start_s=round(start_s, 3),
        end_s=round(end_s, 3),
        word=at_peak,
        label=labels.get(feature),
        audio=context.save(f"audio/feature-{feature}.wav", sound),
    )


def stretch(activation: Float[np.ndarray, " frame"], peak: int) -> tuple[int, int]:
    """The frames around a peak in which a feature fires, short gaps included: the first, and the one after the last."""
    fires = np.flatnonzero(activation > 0)
    if activation[peak] <= 0:
        return peak, peak + 1
    at = int(np.searchsorted(fires, peak))
    breaks = np.flatnonzero(np.diff(fires) > GAP + 1)
    first = int(breaks[breaks < at].max(initial=-1)) + 1
    last = int(breaks[breaks >= at].min(initial=len(fires) - 1))
    return int(fires[first]), int(fires[last]) + 1
