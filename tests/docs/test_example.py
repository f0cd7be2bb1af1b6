"""The plugin of the tutorial is a real one: it is accepted, runs, and can be seen."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import wspy
from wspy.analysis import check_analysis_class
from wspy.corpus import Clip, Corpus
from wspy.runs import run_analysis

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "wspy-hello" / "wspy_hello.py"


@pytest.fixture
def hello() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("wspy_hello", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["wspy_hello"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["wspy_hello"]


def test_it_registers_one_analysis_that_the_front_ends_can_show(hello: ModuleType) -> None:
    registered: list[type[wspy.Analysis]] = []
    hello.register_analyses(registered.append)
    assert [analysis.name for analysis in registered] == ["level"]
    check_analysis_class(registered[0])


def test_it_finds_the_loudest_clips(hello: ModuleType, tmp_path: Path) -> None:
    second = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)
    levels = {"soft": 0.01, "loud": 0.5, "silent": 0.0, "middling": 0.1}
    corpus = Corpus.in_memory("tones", ((level * second, Clip(name), None) for name, level in levels.items()))
    run = run_analysis(hello.Level(), hello.Level.Inputs(top=2), corpus=corpus, out=tmp_path / "run")
    assert isinstance(run.result, hello.Level.Result)
    assert run.result.clips == ("loud", "middling")
    # A sine of amplitude a has a root mean square of a / sqrt(2): 0.5 is -9.03 dB, 0.1 is -23.01 dB.
    assert run.result.levels_dbfs == pytest.approx((-9.03, -23.01), abs=0.01)
    assert run.result.file(run.result.loudest).stat().st_size > 32_000
    assert [block.kind for block in run.blocks()] == ["table", "audio"]
