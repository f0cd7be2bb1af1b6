"""The ablate plugin on real weights and real, hand-aligned speech, through the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from wspy.corpus import Corpus, make_corpus

pytestmark = [pytest.mark.real, pytest.mark.session_home]


@pytest.fixture(scope="module")
def corpus(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """One clip of each of eight speakers, with words and phones that people marked."""
    aligned = shared_data / "aligned"
    with (aligned / "manifest.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["path"].endswith("_sa1.flac")]
    manifest = tmp_path_factory.mktemp("timit") / "manifest.csv"
    with manifest.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "path": aligned / row["path"]} for row in rows)
    return make_corpus(
        "timit-sa1", str(manifest), words=aligned / "words.csv", phones=aligned / "phones.csv", phone_set="TIMIT"
    )


def test_a_neuron_is_switched_off_and_the_report_says_what_follows(corpus, run_cli):
    words = ("--layer", "3", "--idx", "3", "--phone", "s", "--controls", "1", "--transcripts", "3", "--json")
    done = run_cli("analyze", "ablate", "--corpus", corpus.name, *words)
    assert done.code == 0, done.stderr
    record = json.loads(done.stdout)
    result = record["result"]
    # "She had your dark suit in greasy wash water all year.": an s in suit and greasy, which one of them says with z.
    n = len(corpus)
    assert n == 8 and result["n_clips"] == n
    assert (result["n_words_with"], result["n_words_without"]) == (2 * n - 1, 9 * n + 1)
    assert 0 < result["loss"] < 1 and result["wer"] < 0.3 and result["n_transcribed"] == 3
    unit, control = result["effects"]
    assert (unit["idx"], unit["role"], control["role"]) == (3, "unit", "control")
    for effect in (unit, control):
        # One neuron of 1,536 moves the loss, and not by much.
        assert 0 < abs(effect["overall"]["value"]) < 0.5 and 0 < effect["removed"] < 0.5
        assert effect["difference"]["low"] <= effect["difference"]["value"] <= effect["difference"]["high"]
    assert "random neuron" in (Path(record["run"]) / "report.html").read_text()


def test_a_phone_that_the_corpus_lacks_is_one_line(corpus, run_cli):
    done = run_cli("analyze", "ablate", "--layer", "3", "--idx", "3", "--phone", "ZZ", "--corpus", corpus.name)
    assert done.code == 2 and done.stdout == ""
    assert "'ZZ'" in done.stderr and "sh" in done.stderr and "Traceback" not in done.stderr
