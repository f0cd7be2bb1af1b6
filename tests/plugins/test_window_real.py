"""The window plugin on real weights and real speech, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.real


def test_a_wide_window_keeps_the_words_and_a_narrow_one_loses_them(shared_data: Path, run_cli) -> None:
    recording = shared_data / "aligned" / "timit_sample" / "audio" / "dr2-faem0_sa1.flac"
    ran = run_cli("analyze", "window", str(recording), "--k", "1499,100,10", "--json")
    assert ran.code == 0, ran.stderr
    record = json.loads(ran.stdout)
    (clip,) = record["result"]["clips"]
    assert "dark suit" in clip["unmasked"]["text"] and clip["frames"] == 169
    assert clip["masked"][0]["text"] == clip["unmasked"]["text"]  # nothing is farther away than 1499 frames
    whole, wide, narrow = (window["wer"] for window in record["result"]["windows"])
    print(f"WER at k = 1499, 100, 10: {whole:.2f}, {wide:.2f}, {narrow:.2f}")
    assert whole == 0 and wide <= 0.4 and narrow > wide
    assert "no longer than 1499 frames" in record["result"]["notes"][0]
    assert "Struck through" in (Path(record["run"]) / "report.html").read_text()
