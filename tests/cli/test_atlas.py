"""`wspy atlas`, as a process of its own over a small corpus and a small checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from wspy.atlas import SiteAtlas, list_atlases
from wspy.testing import tiny_whisper

SITES = ("encoder.blocks.0.mlp.1", "encoder.blocks.1.mlp.1")


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    whisper = tiny_whisper().whisper
    path = tmp_path / "small.pt"
    torch.save({"dims": vars(whisper.dims), "model_state_dict": whisper.state_dict()}, path)
    return str(path)


@pytest.fixture
def corpus(tmp_path: Path, run_cli) -> str:
    """Nine clips of noise with phones from a table."""
    rng, rows = np.random.default_rng(0), ["path,start_s,end_s,label"]
    folder = tmp_path / "sounds"
    folder.mkdir()
    for n in range(9):
        soundfile.write(folder / f"{n}.wav", rng.normal(scale=0.1, size=16_000), 16_000)
        rows += [f"{n}.wav,{at / 4},{(at + 1) / 4},{phone}" for at, phone in enumerate(("S", "AA", "T", "AA"))]
    (tmp_path / "phones.csv").write_text("\n".join(rows) + "\n")
    made = run_cli("corpus", "make", "hiss", "--from", str(folder), "--phones", "phones.csv", "--quiet")
    assert made.code == 0, made.stderr
    return "hiss"


def test_an_atlas_is_built_listed_shown_and_removed(run_cli, checkpoint, corpus):
    assert run_cli("atlas", "list").stdout == "No atlases yet. To make one: wspy atlas build\n"
    given = ("--model", checkpoint, "--corpus", corpus)
    built = run_cli("atlas", "build", *given, "--top", "5", "--quiet")
    assert (built.code, built.stderr) == (0, "")
    assert all(site in built.stdout for site in SITES)

    listed = json.loads(run_cli("atlas", "list", "--json").stdout)
    assert [one["about"]["site"] for one in listed] == list(SITES)
    assert {(one["about"]["top"], one["n_clips"], one["n_positions"]) for one in listed} == {(5, 9, 450)}
    table = run_cli("atlas", "list").stdout.splitlines()
    assert [cell.strip() for cell in table[3].split("|")][1:7] == ["small", "hiss", SITES[0], "256", "9", "exact"]

    shown = run_cli("atlas", "show", SITES[1])
    atlas = SiteAtlas(Path(shown.stdout.splitlines()[-1]))
    assert atlas.about.site == SITES[1]
    assert "9 clips, 450 frames" in shown.stdout and f"{20 * atlas.lag_frames} ms after the phone" in shown.stdout
    (one,) = json.loads(run_cli("atlas", "show", SITES[1], "--json").stdout)
    density = [atlas.unit(idx).density for idx in range(256)]
    assert one["summary"]["n_alive"] == sum(share > 0 for share in density)
    assert one["summary"]["density"] == pytest.approx(np.percentile(density, (5, 50, 95)).tolist())
    assert one["summary"]["phones"] == {"AA": 9 * 24, "S": 9 * 13, "T": 9 * 13}

    assert run_cli("atlas", "remove", SITES[0], "--corpus", "hiss").code == 0
    assert [kept.about.site for kept in list_atlases()] == [SITES[1]]
    assert run_cli("atlas", "remove", "*").code == 0
    gone = run_cli("atlas", "remove", SITES[0])
    assert gone.code == 2 and "No atlas of" in gone.stderr and len(gone.stderr.splitlines()) == 1


def test_parts_are_built_apart_and_merged(run_cli, checkpoint, corpus, tmp_path):
    given = ("--model", checkpoint, "--corpus", corpus)
    site = ("--sites", SITES[0], "--sites", "mel")
    for n in (1, 2):
        done = run_cli("atlas", "build", *given, *site, "--part", f"{n}/2", "--out", f"part-{n}", "--quiet")
        assert (done.code, done.stdout) == (0, f"{tmp_path / f'part-{n}'}\n")
    assert list_atlases() == []
    assert "no folder part-3" in run_cli("atlas", "merge", "part-3", *given).stderr
    alone = run_cli("atlas", "merge", "part-2", *given)
    assert alone.code == 2 and "2/2" in alone.stderr
    merged = run_cli("atlas", "merge", "part-2", "part-1", *given)
    assert merged.code == 0, merged.stderr
    parts = {kept.about.site: (kept.folder / "phones.safetensors").read_bytes() for kept in list_atlases()}
    assert list(parts) == ["mel", SITES[0]]
    assert run_cli("atlas", "remove", "*").code == 0
    assert run_cli("atlas", "build", *given, *site, "--quiet").code == 0
    assert {k.about.site: (k.folder / "phones.safetensors").read_bytes() for k in list_atlases()} == parts


def test_condensed_is_checked_against_exact(run_cli, checkpoint, corpus):
    given = ("--model", checkpoint, "--corpus", corpus, "--sites", SITES[1])
    done = run_cli("atlas", "build", *given, "--speed", "condensed", "--check", "4", "--json", "--quiet")
    assert done.code == 0, done.stderr
    said = json.loads(done.stdout)
    assert [one["about"]["speed"] for one in said["atlases"]] == ["condensed"]
    (checked,) = said["agreement"]
    assert checked["site"] == SITES[1] and checked["n_clips"] == 4 and -1 <= checked["median_r"] <= 1
    assert "| condensed |" in run_cli("atlas", "list").stdout


def test_damaged_atlases_are_named_and_can_be_removed(run_cli, checkpoint, corpus):
    run_cli("atlas", "build", "--model", checkpoint, "--corpus", corpus, "--quiet")
    first, second = list_atlases()
    (first.folder / "statistics.safetensors").write_bytes(b"half a file")
    (second.folder / "phones.safetensors").write_bytes(b"half a file")
    listed = run_cli("atlas", "list")
    assert listed.code == 0
    assert all(f"The atlas in {one.folder} cannot be read" in listed.stdout for one in (first, second))
    assert [set(one) for one in json.loads(run_cli("atlas", "list", "--json").stdout)] == [{"folder", "damaged"}] * 2
    assert run_cli("atlas", "remove", "encoder.*", "--model", "small").code == 0
    assert run_cli("atlas", "list").stdout.startswith("No atlases yet")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "--part", "3/2", "--out", "x"], "--part 3/2"),
        (["build", "--part", "1/2"], "no folder"),
        (["build", "--out", "x"], "no part is named"),
        (["build", "--sites", "encoder.conv1", "--model", "tiny.en"], "wspy sites"),
        (["build", "--sites", "nowhere", "--model", "tiny.en"], "nowhere"),
        (["build", "--speed", "fast"], "--speed"),
        (["build", "--top", "0"], "--top"),
        (["show", "nothing"], "No atlas of 'nothing'"),
        (["merge", "part-1"], "There is no corpus 'demo'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run_cli, words, said):
    done = run_cli("atlas", *words)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_listing_and_showing_need_no_torch(run_cli, checkpoint, corpus):
    run_cli("atlas", "build", "--model", checkpoint, "--corpus", corpus, "--quiet")
    import subprocess
    import sys

    script = (
        "import sys; from wspy.cli import main; main(['atlas', 'list']); main(['atlas', 'show', '*', '--json']); "
        "from wspy.atlas import label_units, list_atlases; import numpy as np; "
        "[label_units(__import__('wspy').atlas.SiteAtlas(one.folder).phones(), np.random.default_rng(0)) "
        "for one in list_atlases()]; print(sorted({'torch', 'whisper'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
