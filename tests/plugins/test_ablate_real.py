"""The ablate plugin on real weights and real, hand-aligned speech, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wspy.corpus import Corpus

pytestmark = [pytest.mark.real, pytest.mark.session_home]


@pytest.fixture
def corpus(timit) -> Corpus:
    """One clip of each of eight speakers, with words and phones that people marked."""
    return timit("timit-sa1", lambda rows: [row for row in rows if row["path"].endswith("_sa1.flac")])


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
