"""The rollout plugin on real weights and real speech, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.real


def test_words_come_from_their_own_moment_and_the_padding_looks_back(run_cli, shared_data: Path):
    """The post's corner, and more than it could see: each word's frames, against chance."""
    clip = next(iter(sorted((shared_data / "aligned" / "ljspeech").rglob("LJ001-0002.flac"))))
    done = run_cli("analyze", "rollout", str(clip), "--target", "words", "--json")
    assert done.code == 0, done.stderr
    record = json.loads(done.stdout)
    result = record["result"]
    assert result["text"] and not result["doubtful"]
    explained = result["explained"]
    assert len(explained) == len(result["words"]) >= 3
    inside = np.mean([found["inside"] for found in explained])
    others = np.mean([found["others"] for found in explained])
    print(f"inside the word {inside:.2f}, other words there {others:.2f}")
    assert inside > 1.5 * others
    for reach in result["reach"]:
        assert reach["relevance"] > 1.5 * reach["uniform"]
    assert (Path(record["run"]) / "report.html").stat().st_size < 8_000_000
