"""What wspy lends to the commands of plugins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import wspy.terminal
from wspy.errors import UnknownAnalysis
from wspy.terminal import analyze_and_print, print_json, print_rows, shown_progress

COMMAND = '''
import typer
import wspy
from wspy.terminal import AsJson, CorpusOption, Quiet, print_json, print_rows, shown_progress

@wspy.hookimpl
def register_commands(app):
    @app.command("tally")
    def tally(corpus: CorpusOption = "demo", quiet: Quiet = False, as_json: AsJson = False) -> None:
        """Count to three."""
        with shown_progress(quiet) as progress:
            counted = list(progress.track(range(3), "Counting", unit="numbers"))
        if as_json:
            print_json({"corpus": corpus, "counted": counted})
        else:
            print_rows("Numbers", ["number"], [(n,) for n in counted], "none")
'''


def test_a_plugins_command_behaves_like_wspys_own(make_plugin, run_cli):
    path: Path = make_plugin("tallies", COMMAND)
    done = run_cli("tally", "--corpus", "mine", "--json", path=(path,))
    assert (done.code, json.loads(done.stdout)) == (0, {"corpus": "mine", "counted": [0, 1, 2]})
    assert "Counting" in done.stderr
    quiet = run_cli("tally", "--quiet", path=(path,))
    assert quiet.stderr == "" and "| number |" in quiet.stdout.replace("  ", " ")
    assert run_cli("tally", "--jsn", path=(path,)).code == 2


def test_tables_and_json(capsys):
    print_rows("Things", ["name"], [], "nothing there")
    print_json({"a": float("nan")})
    with shown_progress(quiet=True) as progress:
        assert list(progress.track([1, 2], "Nothing is shown")) == [1, 2]
    said = capsys.readouterr()
    assert said.out.startswith("nothing there\n") and json.loads(said.out.partition("\n")[2]) == {"a": "NaN"}
    assert said.err == ""


def test_an_analysis_that_nobody_registered():
    with pytest.raises(UnknownAnalysis, match="'nonsense'"):
        analyze_and_print("nonsense", {}, model="tiny.en", corpus="demo")


def test_every_name_is_there():
    assert all(hasattr(wspy.terminal, name) for name in wspy.terminal.__all__)
