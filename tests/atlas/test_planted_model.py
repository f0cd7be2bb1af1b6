"""A toy model with planted phone detectors: labels, lag and AUROC, from hearing the corpus to the atlas on disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from wspy.atlas import PhonePlan, auroc_table, ensure_atlas, label_units
from wspy.audio import FRAME_S, SAMPLE_RATE, log_mel, n_frames
from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.model import Model, capture, encode
from wspy.testing import tiny_whisper

HZ = {"AA": 400.0, "IY": 1000.0, "S": 3000.0, "SIL": None}
N_CLIPS, N_SEGMENTS, SEGMENT_FRAMES = 32, 12, 8
LAYER = 1
SITE = f"encoder.blocks.{LAYER}.mlp.1"
PLANTED = {3: "AA", 70: "IY", 200: "S"}
"""Which neuron is made to answer to which phone."""


def sound(clip: int, phones: list[str]) -> np.ndarray:
    """A tone for every phone, of another loudness each time, over noise."""
    rng = np.random.default_rng(clip)
    length = round(SEGMENT_FRAMES * FRAME_S * SAMPLE_RATE)
    samples = rng.normal(scale=0.003, size=length * len(phones))
    for at, phone in enumerate(phones):
        if hz := HZ[phone]:
            t = np.arange(length) / SAMPLE_RATE
            samples[at * length : (at + 1) * length] += rng.uniform(0.05, 0.4) * np.sin(2 * np.pi * hz * t)
    return samples.astype(np.float32)


def tones(lag: int) -> Corpus:
    """Clips whose alignment says each phone `lag` frames before its tone sounds, so that all that hears is late."""
    rng = np.random.default_rng(2)
    entries = []
    for clip in range(N_CLIPS):
        phones = [str(phone) for phone in rng.choice(list(HZ), size=N_SEGMENTS)]
        cuts = (np.arange(N_SEGMENTS + 1) * SEGMENT_FRAMES - lag) * FRAME_S
        cuts = np.clip(cuts, 0, N_SEGMENTS * SEGMENT_FRAMES * FRAME_S).round(3)
        spans = tuple(
            Interval(float(start), float(end), phone)
            for start, end, phone in zip(cuts[:-1], cuts[1:], phones, strict=True)
            if end > start
        )
        alignment = Alignment(words=(), phones=spans, phone_set="ARPABET", source="planted")
        entries.append((sound(clip, phones), Clip(f"clip-{clip}", speaker=f"speaker-{clip % 8}"), alignment))
    return Corpus.in_memory(f"tones-{lag}", entries)


def heard(model: Model, site: str, corpus: Corpus) -> list[np.ndarray]:
    """A site's activations over each clip, by a plain capture."""
    found = []
    for clip in corpus.clips:
        samples = corpus.audio(clip)
        with torch.inference_mode(), capture(model, site) as cache:
            encode(model, torch.from_numpy(log_mel(samples))[None], stop_after=site)
        found.append(cache[site][0, : n_frames(len(samples))].numpy())
    return found


@pytest.fixture(scope="module")
def model() -> Model:
    """Each planted neuron reads off, as well as a line can, whether its tone sounds; fitted on clips without a lag."""
    model, corpus = tiny_whisper(seed=11), tones(0)
    plan = PhonePlan(corpus)
    seen = np.concatenate(heard(model, f"encoder.blocks.{LAYER}.mlp_ln", corpus)).astype(np.float64)
    n = N_SEGMENTS * SEGMENT_FRAMES
    ids = np.concatenate([plan.track(clip, n).ids for clip in corpus.clips])
    inputs = np.concatenate([seen, np.ones((len(seen), 1))], axis=1)
    mlp = model.whisper.encoder.blocks[LAYER].mlp[0]
    for neuron, phone in PLANTED.items():
        target = np.where(ids == plan.phones.index(phone), 1.0, -1.0)
        solution = np.linalg.solve(inputs.T @ inputs + 1e-3 * np.eye(inputs.shape[1]), inputs.T @ target)
        mlp.weight.data[neuron] = torch.from_numpy(solution[:-1]).float()
        mlp.bias.data[neuron] = float(solution[-1])
    return replace(model, reference=replace(model.reference, sha256="planted" + model.sha256[7:]))


@pytest.fixture(scope="module")
def activations(model) -> list[np.ndarray]:
    """Of every clip; the sounds are those of any lag."""
    return heard(model, SITE, tones(0))


@pytest.mark.parametrize("lag", [-1, 0, 3])
def test_planted_detectors_get_their_label_lag_and_auroc(model, activations, lag):
    corpus = tones(lag)
    units = ensure_atlas(SITE, model.reference, corpus, model=lambda: model).phones()
    assert units.lag == lag
    labels, stored = label_units(units, np.random.default_rng(0)), auroc_table(units)
    plan = PhonePlan(corpus)
    values, phones, halves = [], [], []
    for clip, found in zip(corpus.clips, activations, strict=True):
        track = plan.track(clip, len(found))
        at = np.flatnonzero(track.ids >= 0) + lag
        at = at[(at >= 0) & (at < len(found))]
        values.append(found[at])
        phones.append(track.ids[at - lag])
        halves.append(np.full(len(at), track.group % 2))
    all_values, ids, half = np.concatenate(values), np.concatenate(phones), np.concatenate(halves)
    for neuron, phone in PLANTED.items():
        assert labels[neuron].phone == phone and labels[neuron].lag == lag
        assert labels[neuron].auroc > 0.95 and labels[neuron].auroc_low < labels[neuron].auroc
    for neuron in [*PLANTED, 0, 1, 2]:  # and some that were not planted
        for which in range(2):
            for at, phone in enumerate(plan.phones):
                mask = half == which
                exact = roc_auc_score(ids[mask] == at, all_values[mask, neuron])
                assert stored[neuron, which, at] == pytest.approx(exact, abs=0.01), (neuron, which, phone)
