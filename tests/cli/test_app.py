"""The command line as a whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "whisper", "gradio", "plotly", "librosa", "numpy", "scipy", "soundfile", "pandas", "onnxruntime")
LOOK = """
import sys
from wspy.cli import main
code = main(sys.argv[1:])
print("HEAVY", sorted(set(sys.modules) & set({heavy!r}.split(","))), code)
"""


@pytest.mark.parametrize(
    "words", [["--help"], ["analyze", "--help"], ["analyze", "neuron", "--help"], ["corpus", "--help"]]
)
def test_help_imports_no_heavy_library(words):
    script = LOOK.format(heavy=",".join(HEAVY))
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY [] 0", done.stdout


def test_the_overview_imports_no_pydantic_unless_a_plugin_adds_commands():
    script = LOOK.format(heavy="wspy.analysis,wspy.blocks,wspy_neuron")
    done = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY [] 0"


def test_without_words_help_is_shown(run_cli):
    assert run_cli().stdout == run_cli("--help").stdout


def test_version(run_cli):
    import wspy

    assert run_cli("--version").stdout == f"wspy {wspy.__version__}\n"


def test_a_mistyped_command_gets_the_nearest_name(run_cli):
    done = run_cli("corpsu")
    assert (done.code, done.stdout) == (2, "")
    assert "No such command 'corpsu'" in done.stderr
    assert "corpus" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [["runs", "shwo"], ["corpus", "mak"], ["models", "--jsno"], ["corpus", "show"]])
def test_usage_errors_are_one_line_and_exit_code_2(run_cli, words):
    done = run_cli(*words)
    assert (done.code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"See: wspy {words[0]}" in done.stderr


@pytest.mark.parametrize(
    "words", [["analyses"], ["plugins"], ["models"], ["sites"], ["runs", "list"], ["corpus", "list"]]
)
def test_lists_have_json(run_cli, words):
    assert isinstance(json.loads(run_cli(*words, "--json").stdout), list)
    assert run_cli(*words).code == 0


def test_analyses_json_has_the_schemas(run_cli):
    neuron = {row["name"]: row for row in json.loads(run_cli("analyses", "--json").stdout)}["neuron"]
    assert set(neuron) == {"name", "summary", "plugin", "inputs", "result"}
    assert neuron["inputs"]["properties"]["layer"]["description"]
    assert neuron["result"]["type"] == "object"


def test_sites_of_a_pattern(run_cli):
    rows = json.loads(run_cli("sites", "encoder.blocks.*.mlp.1", "--json").stdout)
    assert [row["name"] for row in rows] == [f"encoder.blocks.{layer}.mlp.1" for layer in range(4)]
    assert {row["n_units"] for row in rows} == {1536}
    done = run_cli("sites", "encoder.nothing")
    assert (done.code, done.stdout) == (2, "")


@pytest.mark.parametrize("words", [["runs", "show", "none"], ["runs", "remove", "none"], ["report", "none"]])
def test_an_unknown_run(run_cli, words):
    done = run_cli(*words)
    assert done.code == 2
    assert "There is no run 'none'" in done.stderr


@pytest.mark.parametrize("words", [["show", "none"], ["align", "none"], ["remove", "none"]])
def test_an_unknown_corpus(run_cli, words):
    done = run_cli("corpus", *words)
    assert done.code == 2
    assert "none" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_corpus_from_a_missing_folder(run_cli, wspy_home):
    done = run_cli("corpus", "make", "mine", "--from", "nowhere")
    assert (done.code, done.stdout) == (2, "")
    assert "nowhere" in done.stderr
    assert not (wspy_home / "corpora" / "mine").exists()


def test_runs_list_show_report_and_remove(run_cli, toy, recording):
    folder = run_cli("analyze", "toy", str(recording), "--layer", "1", path=(toy,)).stdout.splitlines()[-1]
    name = Path(folder).name
    assert [row["name"] for row in json.loads(run_cli("runs", "list", "--json").stdout)] == [name]
    assert "layer=1" in run_cli("runs", "list").stdout
    shown = run_cli("runs", "show", name, path=(toy,)).stdout
    assert "1234567.125" in shown
    assert "wspy analyze toy" in shown
    assert shown.splitlines()[-1] == folder
    assert json.loads(run_cli("runs", "show", name, "--json", path=(toy,)).stdout)["run"] == folder
    report = Path(folder) / "report.html"
    report.unlink()
    assert run_cli("report", name, path=(toy,)).stdout == f"{report}\n"
    assert report.is_file()
    missing = run_cli("runs", "show", name)
    assert missing.code == 2
    assert "no analysis named 'toy'" in missing.stderr
    assert run_cli("runs", "remove", name).code == 0
    assert json.loads(run_cli("runs", "list", "--json").stdout) == []


def test_a_reader_that_leaves_is_no_error():
    script = f"{sys.executable} -m wspy.cli sites | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


def test_a_terminal_without_unicode(run_cli, toy, recording, wspy_home):
    done = run_cli("models", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.code == 0
    assert done.stdout.isascii()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo terminals")
@pytest.mark.parametrize("no_color", [True, False])
def test_colours_and_bars_on_a_terminal_alone(toy, recording, no_color):
    env = {**os.environ, "PYTHONPATH": str(toy), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    env.pop("NO_COLOR", None)
    if no_color:
        env["NO_COLOR"] = "1"
    controller, terminal = os.openpty()
    words = [sys.executable, "-m", "wspy.cli", "analyze", "toy", str(recording), "--layer", "1"]
    process = subprocess.Popen(words, stdout=terminal, stderr=terminal, env=env)
    os.close(terminal)
    said = b""
    try:
        while piece := os.read(controller, 65536):
            said += piece
    except OSError:
        pass  # the terminal closes with its last user
    assert process.wait() == 0
    text = said.decode()
    assert "\x1b[" in text
    assert "3/3 clips" in text
    assert (re.search("\x1b\\[[0-9;]*3[0-9]m", text) is None) == no_color
    assert "\ufffd[31m" in text, "an escape sequence inside a result is not obeyed"
    assert "<b>html</b>" in text


def test_completion_offers_the_inputs_of_an_analysis(run_cli, toy):
    env = {"_WSPY_COMPLETE": "complete_bash", "COMP_WORDS": "wspy analyze toy --si", "COMP_CWORD": "3"}
    assert "--side" in run_cli(path=(toy,), env=env).stdout
    env = {"_WSPY_COMPLETE": "complete_bash", "COMP_WORDS": "wspy analyze toy --side ", "COMP_CWORD": "4"}
    assert run_cli(path=(toy,), env=env).stdout.split() == ["left", "right"]


def test_a_damaged_corpus_is_listed_with_what_to_do(run_cli, wspy_home):
    (wspy_home / "corpora" / "broken").mkdir(parents=True)
    (wspy_home / "corpora" / "broken" / "corpus.json").write_text("{")
    done = run_cli("corpus", "list")
    assert done.code == 0 and "wspy corpus remove broken" in done.stdout
    (listed,) = json.loads(run_cli("corpus", "list", "--json").stdout)
    assert listed["name"] == "broken" and "cannot be read" in listed["damaged"]


def test_a_full_disk_says_what_to_do(wspy_home, monkeypatch, capsys):
    from wspy.cli import main

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wspy.corpus.list_corpora", full)
    assert main(["corpus", "list"]) == 1
    assert capsys.readouterr().err == (
        f"wspy: Cannot write to {wspy_home} (No space left on device): free some space, "
        "or set WSPY_HOME to another folder.\n"
    )


def test_an_error_cannot_steer_the_terminal(run_cli, tmp_path):
    (tmp_path / "\x1b[2Ja.wav").touch()
    done = run_cli("corpus", "make", "mine", "--from", str(tmp_path / "\x1b[2Ja.wav"), "--quiet")
    assert done.code == 2 and "a.wav is empty" in done.stderr and "\x1b" not in done.stderr
