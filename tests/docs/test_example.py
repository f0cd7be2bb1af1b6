"""The plugin of the manual is a real one, and so is what `wspy new-plugin` makes of it."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import wspy
from wspy.cli.new_plugin import template_folder, write_plugin
from wspy.errors import BadPluginName, OutOfRange, PluginExists
from wspy.runs import run_analysis
from wspy.testing import check_analysis, tone_clip

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "wspy-hello"


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hello(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield load(EXAMPLE / "wspy_hello.py", "wspy_hello")
    del sys.modules["wspy_hello"]


def test_it_registers_one_analysis_that_keeps_the_rules(hello: ModuleType, tmp_path: Path) -> None:
    registered: list[type[wspy.AnyAnalysis]] = []
    hello.register_analyses(registered.append)
    assert [analysis.name for analysis in registered] == ["hello"]
    run = check_analysis(registered[0], {"layer": 1, "clips": 2}, folder=tmp_path)
    assert {block.kind for block in run.blocks()} == {"text", "table", "figure", "audio"}


def test_its_own_tests_pass(hello: ModuleType, tmp_path: Path, tiny_whisper: wspy.Model) -> None:
    # CI runs them in an environment of their own; here they are known to be about this code.
    tests = load(EXAMPLE / "tests" / "test_hello.py", "test_hello")
    tests.test_it_agrees_with_an_ordinary_hook(tiny_whisper)
    tests.test_a_layer_that_the_model_lacks_is_refused(
        tiny_whisper, wspy.Corpus.in_memory("one", [tone_clip("a", ["two"])]), tmp_path
    )
    assert OutOfRange is tests.OutOfRange


def files(folder: Path) -> dict[str, str]:
    kept = [path for path in folder.rglob("*") if path.is_file() and "cache" not in str(path.relative_to(folder))]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in kept}


def test_the_template_is_the_example(tmp_path: Path, wspy_home: Path) -> None:
    assert files(template_folder()) == files(EXAMPLE)
    assert files(write_plugin("hello", tmp_path)) == files(EXAMPLE)


@pytest.mark.parametrize("given", ["pitch-track", "wspy-pitch-track"])
def test_a_new_plugin_has_its_name_everywhere(given: str, tmp_path: Path) -> None:
    folder = write_plugin(given, tmp_path)
    assert folder == tmp_path / "wspy-pitch-track"
    written = files(folder)
    assert set(written) == {
        *(".gitignore", "LICENSE", "README.md", "pyproject.toml"),
        *("tests/test_pitch_track.py", "wspy_pitch_track.py"),
    }
    assert not any("hello" in text.lower() for text in written.values())
    project = tomllib.loads(written["pyproject.toml"])["project"]
    assert project["name"] == "wspy-pitch-track"
    assert project["entry-points"]["wspy"] == {"pitch-track": "wspy_pitch_track"}
    code = written["wspy_pitch_track.py"]
    assert 'name = "pitch-track"' in code and "class PitchTrack(" in code and "register(PitchTrack)" in code
    compile(code, "wspy_pitch_track.py", "exec")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Pitch", "small letters"),
        ("pitch track", "small letters"),
        ("pitch_track", "small letters"),
        ("../up", "small letters"),
        ("2nd", "small letters"),
        ("", "small letters"),
        ("wspy-", "small letters"),
        ("a" * 41, "more than 40"),
        ("neuron", "has it"),
        ("sae", "has it"),
        ("sae-eval", "has it"),
    ],
)
def test_a_name_that_would_not_do_is_refused_in_one_line(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(BadPluginName, match=why) as error:
        write_plugin(name, tmp_path / "into")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "into").exists()


def test_what_is_there_is_not_touched(tmp_path: Path, run_cli) -> None:
    (tmp_path / "wspy-mine").mkdir()
    (tmp_path / "wspy-mine" / "notes").write_text("keep me")
    with pytest.raises(PluginExists, match="--into"):
        write_plugin("mine", tmp_path)
    done = run_cli("new-plugin", "mine")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr == f"wspy: {PluginExists(str(tmp_path / 'wspy-mine'))}\n"
    assert [path.name for path in (tmp_path / "wspy-mine").iterdir()] == ["notes"]
    made = run_cli("new-plugin", "other", "--into", str(tmp_path / "deep" / "er"))
    assert made.stdout.splitlines()[-1] == str(tmp_path / "deep" / "er" / "wspy-other")
    assert (tmp_path / "deep" / "er" / "wspy-other" / "wspy_other.py").is_file()


def test_it_finds_what_was_planted(hello: ModuleType, tmp_path: Path, tiny_whisper: wspy.Model) -> None:
    """Against numpy: the frame with the largest change of the residual stream."""
    import torch

    from wspy.audio import log_mel

    corpus = wspy.Corpus.in_memory("two", [tone_clip("a", ["two"]), tone_clip("b", ["more", "see"])])
    out = tmp_path / "run"
    run = run_analysis(hello.Hello(), hello.Hello.Inputs(), model=tiny_whisper, corpus=corpus, out=out)
    for peak in run.result.peaks:
        samples = corpus.audio(corpus.clip(peak.clip))
        with wspy.capture(tiny_whisper, "encoder.blocks.0") as cache:
            tiny_whisper.whisper.encoder(torch.from_numpy(log_mel(samples))[None])
        frames = cache["encoder.blocks.0"][0, : len(samples) // 320].numpy()
        change = np.sqrt((np.diff(frames, axis=0) ** 2).mean(-1))[hello.EDGE_FRAMES - 1 :]
        frame = hello.EDGE_FRAMES + int(change.argmax())
        assert (peak.change, peak.at_s) == (pytest.approx(float(change.max()), rel=1e-5), pytest.approx(0.02 * frame))
