"""The commands generated from `Inputs`, run as a user runs them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest


def run_toy(run_cli, toy, *words, **settings):
    return run_cli("analyze", "toy", *map(str, words), path=(toy,), **settings)


def test_the_last_line_is_the_run_folder_and_stdout_holds_the_blocks(run_cli, toy, recording, wspy_home):
    done = run_toy(run_cli, toy, recording, "--layer", "2")
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    folder = Path(lines[-1])
    assert folder.parent == wspy_home / "runs"
    assert {"result.json", "report.html", "media"} <= {path.name for path in folder.iterdir()}
    assert "1234567.125" in done.stdout
    assert "| second [x]" in done.stdout
    assert "value (Hz)" in done.stdout
    assert "[not a tag] <b>html</b>" in done.stdout
    assert "A curve (in the report)" in done.stdout
    assert str(folder / "media/sound.wav") in done.stdout
    assert "\x1b" not in done.stdout
    assert "a library that prints" not in done.stdout
    assert "Toying: 3/3 clips" in done.stderr


def test_quiet_shows_no_progress(run_cli, toy, recording):
    assert "Toying" not in run_toy(run_cli, toy, recording, "--layer", "2", "--quiet").stderr


def test_json_is_the_whole_of_stdout(run_cli, toy, recording):
    done = run_toy(run_cli, toy, recording, "--layer", "2", "--json", "--seed", "7")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads(done.stdout, parse_constant=refuse)
    assert set(document) == {"analysis", "inputs", "result", "provenance", "run"}
    assert document["analysis"] == "toy"
    assert document["inputs"]["layer"] == 2
    assert document["provenance"]["seed"] == 7
    assert document["provenance"]["plugin"] == "dist-toy 1.0"
    assert json.loads((Path(document["run"]) / "result.json").read_bytes())["result"] == document["result"]


def test_every_kind_of_input_arrives(run_cli, toy, recording, tmp_path):
    other = tmp_path / "other.wav"
    other.write_bytes(b"")
    words = ["--layer", "1", "--top-n", "3", "--start-s", "1.25", "--no-loud", "--side", "right", "--bins", "4,5"]
    words += [
        "--bins",
        "6",
        "--gains",
        "-1.5",
        "--words",
        "a,b",
        "--words",
        "--c",
        "--prompt",
        " said",
        other,
    ]
    inputs = json.loads(run_toy(run_cli, toy, recording, *words, "--json").stdout)["inputs"]
    assert inputs == {
        "clip": str(recording),
        "layer": 1,
        "top_n": 3,
        "start_s": 1.25,
        "loud": False,
        "side": "right",
        "bins": [4, 5, 6],
        "gains": [-1.5],
        "words": ["a,b", "--c"],
        "prompt": " said",
        "other": str(other),
    }


def test_defaults_are_those_of_inputs(run_cli, toy, recording):
    inputs = json.loads(run_toy(run_cli, toy, recording, "--layer", "1", "--json").stdout)["inputs"]
    assert (inputs["top_n"], inputs["loud"], inputs["bins"], inputs["gains"]) == (5, True, [1, 2], None)


def test_the_command_in_the_provenance_gives_the_same_inputs(run_cli, toy, recording, tmp_path):
    words = [
        "--layer",
        "1",
        "--no-loud",
        "--bins",
        "",
        "--words",
        "it's",
        "--gains",
        "0.5,2",
        "--prompt",
        "",
        "--seed",
        "3",
    ]
    first = json.loads(run_toy(run_cli, toy, recording.name, *words, "--json").stdout)
    command = shlex.split(first["provenance"]["command"])
    assert command[:3] == ["wspy", "analyze", "toy"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = json.loads(run_cli(*command[1:], "--json", path=(toy,), cwd=elsewhere).stdout)
    assert again["inputs"] == first["inputs"]
    assert again["inputs"]["bins"] == []
    assert again["provenance"]["seed"] == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing option '--layer'"),
        (["--layer", "two"], "layer: must be a whole number"),
        (["--layer", "-1"], "layer: must be at least 0, not '-1'"),
        (["--layer", "1", "--top-n", "10"], "top_n: must be at most 9"),
        (["--layer", "1", "--side", "up"], "side: must be 'left' or 'right', not 'up'"),
        (["--layer", "1", "--bins", "1,x"], "bins.1: must be a whole number"),
        (["--layer", "1", "--top", "3"], "--top"),
        (["--layer", "1", "missing.wav"], "missing.wav"),
        (["--layer", "1", "--seed", "-1"], "--seed"),
        (["--layer", "1", "--prompt", "refuse"], "that cannot be used"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run_cli, toy, recording, wspy_home, words, said):
    done = run_toy(run_cli, toy, recording, *words, "--quiet")
    assert done.code == 2
    assert done.stdout == ""
    assert said in done.stderr.splitlines()[-1]
    assert [line for line in done.stderr.splitlines() if line.startswith("wspy: ")] == done.stderr.splitlines()[-1:]
    assert not list(wspy_home.glob("runs/*"))
    assert not list(wspy_home.glob("runs/.*"))


def test_a_missing_recording_is_named(run_cli, toy):
    done = run_toy(run_cli, toy, "nowhere.wav", "--layer", "1")
    assert done.code == 2
    assert "nowhere.wav" in done.stderr


def test_a_mistyped_analysis_gets_the_nearest_name(run_cli, toy):
    done = run_cli("analyze", "tyo", path=(toy,))
    assert done.code == 2
    assert "no analysis named 'tyo'. Did you mean 'toy'?" in done.stderr


def test_any_other_error_is_one_line_that_names_debug(run_cli, toy, recording, wspy_home):
    done = run_toy(run_cli, toy, recording, "--layer", "1", "--prompt", "raise", "--quiet")
    assert done.code == 1
    assert done.stderr.splitlines()[-1].startswith("wspy: RuntimeError: two lines (")
    assert "--debug" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(wspy_home.glob("runs/*"))


@pytest.mark.parametrize("before", [True, False])
def test_debug_shows_the_traceback(run_cli, toy, recording, before):
    words = ["analyze", "toy", str(recording), "--layer", "1", "--prompt", "raise"]
    done = run_cli(*(["--debug", *words] if before else [*words, "--debug"]), path=(toy,))
    assert done.code == 1
    assert "Traceback" in done.stderr


def test_ctrl_c_is_one_line_and_130(run_cli, toy, recording, wspy_home):
    done = run_toy(run_cli, toy, recording, "--layer", "1", "--prompt", "stop", "--quiet")
    assert done.code == 130
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("wspy: stopped")
    assert not list(wspy_home.glob("runs/*"))


def test_warnings_of_libraries_are_for_debug(run_cli, toy, recording):
    words = ["--layer", "1", "--prompt", "warn"]
    assert "library's" not in run_toy(run_cli, toy, recording, *words).stderr
    told = run_toy(run_cli, toy, recording, *words, "--debug").stderr
    assert "a library's warning" in told
    assert "a library's log" in told


def test_out_takes_a_new_folder_and_refuses_a_used_one(run_cli, toy, recording, tmp_path):
    words = [recording, "--layer", "1", "--out", "kept/here", "--quiet"]
    done = run_toy(run_cli, toy, *words)
    assert done.stdout.splitlines()[-1] == str(tmp_path / "kept" / "here")
    again = run_toy(run_cli, toy, *words)
    assert again.code == 2
    assert "already holds files" in again.stderr
    assert run_cli("runs", "show", "kept/here", path=(toy,)).code == 0


def test_help_shows_the_inputs_with_units_ranges_and_defaults(run_cli, toy):
    text = " ".join(run_cli("analyze", "toy", "--help", path=(toy,), env={"COLUMNS": "200"}).stdout.split())
    assert "Gives back what it was given [as it is]." in text
    for part in ("CLIP", "--layer N", "[0 or more]", "[1 to 9; default: 5]", "--loud / --no-loud", "[default: --loud]"):
        assert part in text
    assert "--side left|right" in text
    assert "[may be given several times; default: 1,2]" in text
    for common in ("--model", "--corpus", "--device", "--seed", "--json", "--out", "--quiet", "--debug"):
        assert common in text


def test_a_plugin_adds_commands_but_takes_none_of_wspys(run_cli, toy):
    done = run_cli("--help", path=(toy,))
    assert "toy-extra" in done.stdout
    assert "with brackets" in done.stdout
    assert "Takes a name" not in done.stdout
    assert "command 'models' of toy is left out" in done.stderr
    assert run_cli("toy-extra", path=(toy,)).stdout == "extra ran\n"
