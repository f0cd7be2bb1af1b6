"""The neuron plugin: a planted detector is found, and a real neuron can be heard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import wspy
from wspy.audio import FRAME_SAMPLES, FRAMES_PER_SECOND, SAMPLE_RATE, load_audio, log_mel
from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.errors import OutOfRange
from wspy.model import Model, capture, encode
from wspy.testing import tiny_whisper
from wspy.units.listen import wilson
from wspy_neuron import Neuron

TONE_HZ, OTHER_HZ = 1000.0, (300.0, 3000.0)
LAYER, IDX = 1, 7
BURST_FRAMES = 3


def burst(hz: float, centre_frame: int, seed: int, n_frames: int = 100) -> np.ndarray:
    """Two seconds of quiet noise with one short tone, loudest where `centre_frame` is centred."""
    samples = np.random.default_rng(seed).normal(scale=0.003, size=n_frames * FRAME_SAMPLES)
    length = BURST_FRAMES * FRAME_SAMPLES
    start = centre_frame * FRAME_SAMPLES - length // 2
    tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(length) / SAMPLE_RATE) * np.hanning(length)
    samples[start : start + length] += tone
    return samples.astype(np.float32)


def plant_detector(model: Model) -> None:
    """Make one neuron answer to the tone: a linear read-out of what the layer sees, fitted on bursts of its own."""
    rng = np.random.default_rng(0)
    seen, wanted = [], []
    for seed in range(24):
        hz = TONE_HZ if seed % 3 == 0 else OTHER_HZ[seed % 3 - 1]
        centre = int(rng.integers(5, 95))
        mel = torch.from_numpy(log_mel(burst(hz, centre, 1000 + seed)))[None]
        with capture(model, f"encoder.blocks.{LAYER}.mlp_ln") as cache:
            encode(model, mel, stop_after=f"encoder.blocks.{LAYER}.mlp_ln")
        seen.append(cache[f"encoder.blocks.{LAYER}.mlp_ln"][0, :100].double().numpy())
        target = np.full(100, -2.0)
        if hz == TONE_HZ:
            target[centre] = 6.0
        wanted.append(target)
    inputs = np.concatenate([np.concatenate(seen), np.ones((2400, 1))], axis=1)
    target = np.concatenate(wanted)
    weight = np.where(target > 0, 30.0, 1.0)[:, None]
    solution = np.linalg.solve(
        inputs.T @ (weight * inputs) + 1e-3 * np.eye(inputs.shape[1]), inputs.T @ (weight[:, 0] * target)
    )
    mlp = model.whisper.encoder.blocks[LAYER].mlp[0]
    mlp.weight.data[IDX] = torch.from_numpy(solution[:-1]).float()
    mlp.bias.data[IDX] = float(solution[-1])


@pytest.fixture(scope="module")
def planted() -> Model:
    model = tiny_whisper(seed=3)
    plant_detector(model)
    return replace(model, reference=replace(model.reference, sha256="planted" + model.sha256[7:]))


@pytest.fixture(scope="module")
def bursts() -> tuple[Corpus, dict[str, int]]:
    """Twelve clips; five hold the tone, at known frames."""
    rng = np.random.default_rng(9)
    entries, centres = [], {}
    for n in range(12):
        hz = TONE_HZ if n in (1, 4, 6, 9, 11) else OTHER_HZ[n % 2]
        centre = int(rng.integers(8, 92))
        name = f"{'tone' if hz == TONE_HZ else 'other'}-{n}"
        if hz == TONE_HZ:
            centres[name] = centre
        middle = centre / FRAMES_PER_SECOND
        around = (
            Interval(0.0, middle - 0.03, "SIL"),
            Interval(middle - 0.03, middle + 0.03, "TONE" if hz == TONE_HZ else "LOW"),
        )
        alignment = Alignment(
            words=around[1:], phones=(*around, Interval(middle + 0.03, 2.0, "SIL")), phone_set="toy", source="planted"
        )
        entries.append((burst(hz, centre, n), Clip(name), alignment))
    return Corpus.in_memory("bursts", entries), centres


def test_the_planted_detector_ranks_its_tone_first_and_peaks_on_it(planted, bursts):
    corpus, centres = bursts
    result = wspy.analyze("neuron", layer=LAYER, idx=IDX, top=8, model=planted, corpus=corpus)
    assert isinstance(result, Neuron.Result)
    examples = result.signs[0].examples
    assert {example.clip for example in examples[:5]} == set(centres)
    for example in examples[:5]:
        middle = centres[example.clip] / FRAMES_PER_SECOND
        assert abs(example.peak_s - middle) <= 1 / FRAMES_PER_SECOND + 1e-6
        assert example.phone == "TONE" and example.word == "TONE"
    assert examples[4].activation > 2 * examples[5].activation
    best = result.signs[0].phones[0]
    assert (best.phone, best.count) == ("TONE", 5) and best.low < best.share < best.high
    assert best.base == pytest.approx(5 * 0.06 / 24, rel=0.05)


def test_the_amplified_clip_and_the_excerpt_can_be_heard(planted, bursts):
    corpus, centres = bursts
    result = wspy.analyze("neuron", layer=LAYER, idx=IDX, model=planted, corpus=corpus)
    example = result.signs[0].examples[0]
    clip, excerpt = load_audio(result.file(example.audio)), load_audio(result.file(example.excerpt))
    assert len(clip) == 2 * SAMPLE_RATE and len(excerpt) == SAMPLE_RATE // 2
    assert np.abs(clip).max() < 1 and np.abs(excerpt).max() < 1
    centre = int(example.peak_s * SAMPLE_RATE)
    original = burst(TONE_HZ, centres[example.clip], int(example.clip.split("-")[1]))
    near, far = slice(max(centre - 800, 0), centre + 800), np.r_[0 : max(centre - 12000, 0), centre + 12000 : len(clip)]
    gain_near = np.sqrt((clip[near] ** 2).mean() / (original[near] ** 2).mean())
    gain_far = np.sqrt((clip[far] ** 2).mean() / (original[far] ** 2).mean())
    assert gain_near > 2 * gain_far > 0


def test_another_neuron_of_the_layer_is_answered_from_disk(planted, bursts, monkeypatch):
    corpus, _ = bursts
    wspy.analyze("neuron", layer=LAYER, idx=IDX, model=planted, corpus=corpus)
    monkeypatch.setattr(type(planted.whisper.encoder), "forward", lambda *_: pytest.fail("the model was run again"))
    again = wspy.analyze("neuron", layer=LAYER, idx=IDX + 1, model=planted, corpus=corpus)
    assert again.idx == IDX + 1 and len(again.signs[0].examples) == 10


def test_both_signs_and_their_ranges(planted, bursts):
    corpus, _ = bursts
    result = wspy.analyze("neuron", layer=LAYER, idx=IDX, sign="both", model=planted, corpus=corpus)
    positive, negative = result.signs
    assert [found.sign for found in result.signs] == ["positive", "negative"]
    assert positive.examples[0].activation == pytest.approx(result.maximum)
    assert negative.examples[0].activation == pytest.approx(result.minimum)
    values = [example.activation for example in negative.examples]
    assert values == sorted(values)
    for found in result.signs:
        assert len(found.ranges) == 10 and sum(found.bin_counts) == 12
        for shown in found.ranges:
            low, high = sorted((shown.low, shown.high))
            assert all(low - 1e-6 <= example.activation <= high + 1e-6 for example in shown.examples)


def test_layers_and_neurons_out_of_range_name_the_range(planted, bursts):
    corpus, _ = bursts
    with pytest.raises(OutOfRange, match=r"Layer 2 .* choose 0 to 1"):
        wspy.analyze("neuron", layer=2, idx=0, model=planted, corpus=corpus)
    with pytest.raises(OutOfRange, match=r"Neuron 256 .* choose 0 to 255"):
        wspy.analyze("neuron", layer=0, idx=256, model=planted, corpus=corpus)


def test_wilson_interval_equals_published_values():
    """Newcombe 1998, Statistics in Medicine 17, 857-872, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for count, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(count, n) == pytest.approx((low, high), abs=5e-5)
