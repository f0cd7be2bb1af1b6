"""Labels of whole sites: planted detectors get theirs, a model that knows nothing gets none."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

import wspy
from wspy.audio import SAMPLE_RATE
from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.errors import InputError, OutOfRange
from wspy.figures import mel_band
from wspy.model import Model
from wspy.testing import tiny_whisper

PHONES = {"SIL": None, "AA": 300.0, "IY": 1000.0, "S": 3000.0}
SEGMENT_S, N_SEGMENTS, N_CLIPS = 0.2, 10, 40


def tones(seed: int, phones: list[str]) -> np.ndarray:
    """One tone per phone, at a level that differs from one to the next, over quiet noise."""
    rng = np.random.default_rng(seed)
    length = int(SEGMENT_S * SAMPLE_RATE)
    samples = rng.normal(scale=0.002, size=length * len(phones))
    for at, phone in enumerate(phones):
        if hz := PHONES[phone]:
            t = np.arange(length) / SAMPLE_RATE
            samples[at * length : (at + 1) * length] += rng.uniform(0.1, 0.5) * np.sin(2 * np.pi * hz * t)
    return samples.astype(np.float32)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Eight speakers; every clip has the four sounds in an order of its own."""
    rng = np.random.default_rng(1)
    entries = []
    for n in range(N_CLIPS):
        phones = [str(phone) for phone in rng.choice(list(PHONES), size=N_SEGMENTS)]
        spans = tuple(
            Interval(round(at * SEGMENT_S, 3), round((at + 1) * SEGMENT_S, 3), phone) for at, phone in enumerate(phones)
        )
        alignment = Alignment(words=(), phones=spans, phone_set="ARPABET", source="planted")
        entries.append((tones(n, phones), Clip(f"clip-{n}", text="", speaker=f"speaker-{n % 8}"), alignment))
    return Corpus.in_memory("tones", entries)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_whisper(seed=5)


def test_the_band_of_each_tone_is_labelled_with_it(model, corpus):
    result = wspy.analyze("phones", site="mel", random_weights=False, model=model, corpus=corpus)
    with result.file(result.labels).open() as lines:
        rows = {int(row["unit"]): row for row in csv.DictReader(lines)}
    assert len(rows) == 80 and result.groups == "speakers"
    for phone, hz in PHONES.items():
        if hz:
            row = rows[round(mel_band(hz, 80))]
            assert row["phone"] == phone == row["label"] and float(row["auroc"]) > 0.97
            assert row["evidence"] and row["peak_phone"] == phone and float(row["peak_share"]) > 0.9
            assert row["purity_phone"] == phone and float(row["purity"]) > 0.9
            assert float(row["low"]) <= float(row["auroc"]) <= float(row["high"])
            assert abs(float(row["own_lag_s"])) <= 0.02 and float(row["lag_s"]) == 0
            assert int(row["count"]) > 100 and float(row["base_rate"]) == pytest.approx(0.25, abs=0.08)
    site = result.sites[0]
    assert site.n_labelled == sum(row["label"] != "" for row in rows.values())
    assert sum(site.phones.values()) == site.n_labelled
    assert site.n_heard == sum(row["label"] != "" and row["label"] == row["purity_phone"] for row in rows.values()) > 2
    shuffled = next(control for control in site.controls if control.name == "shuffled labels")
    assert shuffled.median_auroc == pytest.approx(0.5, abs=0.05)
    markdown = result.file(result.table).read_text()
    assert markdown.count("\n") == site.n_labelled + 2
    cells = next(line for line in markdown.splitlines() if f"| mel | {round(mel_band(3000.0, 80))} |" in line)
    assert "| S | fricatives |" in cells and cells.count("|") == markdown.splitlines()[0].count("|")
    # The bands against themselves: none is surer of its tone than the band that tells it best.
    for phone in ("AA", "IY", "S"):
        mine = [row for row in rows.values() if row["phone"] == phone]
        assert {row["band_auroc"] for row in mine} <= {row["auroc"] for row in mine}
    assert site.n_above_bands == 0 and site.highest_auroc > 0.99


def test_units_that_are_almost_always_zero_are_labelled_by_their_strongest_clips(model, corpus, monkeypatch):
    """Most units fire in a tenth of the frames with S and nowhere else, the others anywhere as rarely."""
    from wspy.atlas import build
    from wspy.atlas.hearing import Heard

    n_planted = 60

    def ear(batch):
        for at in batch:
            rng = np.random.default_rng(at)
            spans = corpus.alignment(corpus.clips[at]).phones
            frames = np.repeat([span.label == "S" for span in spans], round(SEGMENT_S * 50))
            fires = rng.random((len(frames), 80)) < 0.1
            fires[:, :n_planted] &= frames[:, None]
            yield Heard(at, [np.where(fires, rng.random(fires.shape), 0).astype(np.float32)], [])

    monkeypatch.setattr(build, "make_ear", lambda *given: ear)
    result = wspy.analyze("phones", site="mel", random_weights=False, model=model, corpus=corpus)
    with result.file(result.labels).open() as lines:
        rows = list(csv.DictReader(lines))
    planted, others = rows[:n_planted], rows[n_planted:]
    assert {row["label"] for row in planted} == {"S"}
    # They fire for one sound only; the others for all four alike, which takes two bits.
    assert all(row["takes_over"] == "" and set(row["leading"].split(";")) == {"fricatives"} for row in planted)
    assert all(float(bits) == 0 for row in planted for bits in row["entropy_bits"].split(";")[:9])
    assert all(float(bits) > 1.5 for row in others for bits in row["entropy_bits"].split(";"))
    assert all(float(row["peak_share"]) == 1 and float(row["auroc"]) < 0.6 for row in planted)
    assert sum(row["label"] != "" for row in others) <= 0.1 * len(others)


def test_a_model_that_knows_nothing_gets_no_more_labels_than_the_false_discovery_rate(model, corpus):
    result = wspy.analyze("phones", model=model, corpus=corpus)
    assert [site.site for site in result.sites] == ["encoder.blocks.0.mlp.1", "encoder.blocks.1.mlp.1"]
    for site in result.sites:
        weights = next(control for control in site.controls if control.name == "shuffled weights")
        assert weights.n_units == site.n_units == 256
        assert site.n_labelled <= 0.05 * site.n_units


def test_the_page_shows_counts_controls_and_figures(model, corpus):
    result = wspy.analyze("phones", site="mel", random_weights=False, model=model, corpus=corpus)
    from wspy_phones import Phones

    blocks = Phones().view(result)
    kinds = [block.kind for block in blocks]
    assert kinds.count("table") == 3 and kinds.count("figure") == 3
    counts, mixed, best = (block for block in blocks if block.kind == "table")
    assert [row[1] for row in mixed.rows] == ["units", "mel bands"]
    assert [row[1] for row in counts.rows] == ["units", "shuffled labels", "mel bands"]
    named = [column.name for column in best.columns]
    assert {"lag", "frames", "AP", "purity", "p labels", "p weights", "p bands", "best band"} <= set(named)


def test_bad_input_is_said_in_one_line(model, corpus):
    with pytest.raises(OutOfRange, match=r"Layer 2 .* choose 0 to 1"):
        wspy.analyze("phones", layer=2, model=model, corpus=corpus)
    with pytest.raises(InputError, match="give one of them"):
        wspy.analyze("phones", layer=0, site="mel", model=model, corpus=corpus)
    bare = Corpus.in_memory("bare", [(corpus.audio(clip), replace(clip), None) for clip in corpus.clips[:2]])
    with pytest.raises(InputError, match="wspy corpus align bare"):
        wspy.analyze("phones", site="mel", model=model, corpus=bare)
    short = Corpus.in_memory("short", [(corpus.audio(c), c, corpus.alignment(c)) for c in corpus.clips[:2]])
    with pytest.raises(InputError, match="too small"):
        wspy.analyze("phones", site="mel", random_weights=False, model=model, corpus=short)
