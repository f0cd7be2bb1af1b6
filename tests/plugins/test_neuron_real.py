"""The neuron plugin on real weights and real, hand-aligned speech, through the command line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from wspy.atlas import ensure_atlas
from wspy.audio import FRAME_S, SAMPLE_RATE, load_audio
from wspy.corpus import Corpus
from wspy.model import find_model

pytestmark = [pytest.mark.real, pytest.mark.session_home]

N_CLIPS = 24
LAYER = 2


@pytest.fixture
def corpus(timit) -> Corpus:
    """Three clips each of eight speakers, with words and phones that people marked."""
    return timit("timit-24", _three_of_each)


def _three_of_each(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        seen[row["speaker"]] += 1
        if seen[row["speaker"]] <= N_CLIPS // 8:
            kept.append(row)
    return kept


def test_a_neuron_can_be_listened_to_and_the_next_one_comes_from_disk(corpus, run_cli):
    words = ("analyze", "neuron", "--layer", str(LAYER), "--corpus", corpus.name, "--json", "--idx")
    first = run_cli(*words, "3")
    assert first.code == 0, first.stderr
    record = json.loads(first.stdout)
    folder = Path(record["run"])
    examples = record["result"]["signs"][0]["examples"]
    assert len(examples) == 10 and record["result"]["n_clips"] == N_CLIPS
    activations = [example["activation"] for example in examples]
    assert activations == sorted(activations, reverse=True) and activations[0] > 1
    for example in examples:
        heard = load_audio(folder / example["audio"]["path"])
        assert len(heard) == round(example["duration_s"] * SAMPLE_RATE) and 0.5 < np.abs(heard).max() < 1
        assert len(load_audio(folder / example["excerpt"]["path"])) == SAMPLE_RATE // 2
        assert example["phone"] and 0 <= example["peak_s"] <= example["duration_s"]
    assert "peak" in (folder / "report.html").read_text()
    assert record["provenance"]["device"] is not None  # the model was loaded

    second = json.loads(run_cli(*words, "4").stdout)
    assert second["provenance"]["device"] is None  # and now it was not
    assert second["result"]["idx"] == 4 and second["result"]["n_clips"] == N_CLIPS


def test_peaks_of_real_neurons_agree_on_a_phone_more_than_random_moments_do(corpus):
    """The post's first claim, as a number: the most common phone at a neuron's ten highest peaks, against chance."""
    from wspy.model import load_model

    atlas = ensure_atlas(f"encoder.blocks.{LAYER}.mlp.1", find_model(), corpus, model=load_model)
    rng = np.random.default_rng(0)
    real, random = [], []
    for idx in range(0, atlas.about.n_units, 16):
        top = atlas.unit(idx).top[1][:10]
        clips = [corpus.clips[at] for at in top.clip]
        real.append(_most_common(corpus, clips, top.frame * FRAME_S))
        random.append(_most_common(corpus, clips, rng.uniform(0.2, 0.8, 10) * [clip.duration_s for clip in clips]))
    print(f"most common phone at the 10 highest peaks: median {np.median(real):.2f}, at random {np.median(random):.2f}")
    assert np.median(real) >= 1.5 * np.median(random)


def _most_common(corpus, clips, times) -> float:
    """The share of clips that have the most frequent phone at the given times."""
    phones = [corpus.alignment(clip).phone_at(t_s) for clip, t_s in zip(clips, times, strict=True)]
    return Counter(phones).most_common(1)[0][1] / len(phones)
