"""`wspy.testing.check_analysis` passes a good analysis, and names what is wrong with each bad one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wspy
from wspy.testing import check_analysis

GOOD = '''
"""Peaks of a layer."""

from __future__ import annotations

from pydantic import Field

import wspy
from wspy.fields import Layer


class Peaks(wspy.Analysis["Peaks.Inputs", "Peaks.Result"]):
    api = 1
    name = "peaks"
    summary = "Peaks."

    class Inputs(wspy.Inputs):
        layer: Layer = Field(0, description="Block, counted from 0.")

    class Result(wspy.Result):
        peak: float = Field(description="The highest activation.")
        sound: wspy.Media = Field(description="The clip.")

    def run(self, inputs, context):
        import torch

        from wspy.audio import log_mel
        from wspy.model import encode

        site = f"encoder.blocks.{inputs.layer}"
        samples = context.audio(context.corpus.clips[int(context.rng.integers(2))])
        with wspy.capture(context.model, site) as cache:
            encode(context.model, torch.from_numpy(log_mel(samples))[None], stop_after=site)
        return self.Result(peak=float(cache[site].max()), sound=context.save("clip.wav", samples))

    def view(self, result):
        row = (result.peak,)
        return [
            wspy.Table(title="Peak", columns=(wspy.Column(name="peak"),), rows=(row,)),
            wspy.Audio(title="The clip", path=result.sound.path),
            wspy.Figure(title="Nothing", spec={"data": [], "layout": {}}),
        ]
'''

RUN = "        site = f"
VIEW = "        row = (result.peak,)\n"
BAD: dict[str, tuple[str, str, str]] = {
    # what is replaced, by what, and what is said of it
    "heavy import": ("import wspy\n", "import numpy\nimport plotly\nimport wspy\n", "imports numpy, plotly"),
    "print at import": ("import wspy\n", "import wspy\nprint('hello')\n", "prints 'hello': stdout belongs to results"),
    "undescribed input": ('description="Block, counted from 0."', "", "field 'layer' has no description"),
    "undescribed result": ('description="The highest activation."', "", "Result.peak has no description"),
    "no summary": ('summary = "Peaks."', 'summary = ""', "has no summary"),
    "type outside the vocabulary": ("layer: Layer =", "layer: complex =", "not in the vocabulary"),
    "inputs that change in JSON": (
        'counted from 0.")\n',
        'counted from 0.")\n        x: float = Field(float("inf"), description="X.")\n',
        "do not come back from JSON",
    ),
    "result that JSON loses": (
        'Field(description="The highest activation.")',
        'Field(exclude=True, description="The highest activation.")',
        "its result does not come back from JSON",
    ),
    "result that changes in JSON": (
        'Field(description="The highest activation.")',
        'Field(description="The highest activation.")\n'
        '        _ = __import__("pydantic").field_serializer("peak")(lambda self, value: value + 1)',
        r"changes on the way through JSON: Result\.peak is",
    ),
    "error in run": (RUN, "        raise KeyError('oops')\n" + RUN, r"raised KeyError: 'oops'"),
    "printing": (RUN, "        print('working')\n" + RUN, "prints 'working': say it in a block"),
    "hook left": (
        RUN,
        "        context.model.whisper.encoder.conv1.register_forward_hook(lambda *_: None)\n" + RUN,
        "leaves a hook on encoder.conv1",
    ),
    "weights changed": (
        RUN,
        "        context.model.whisper.encoder.conv1.bias.data.add_(1)\n" + RUN,
        r"changes the weights encoder\.conv1\.bias",
    ),
    "training mode": (RUN, "        context.model.whisper.train()\n" + RUN, "training mode"),
    "gradients off": (RUN, "        import torch; torch.set_grad_enabled(False)\n" + RUN, "changes torch's gradients"),
    "file in the current folder": (
        RUN,
        "        open('left.txt', 'w').close()\n" + RUN,
        r"leaves 'left\.txt' in the current",
    ),
    "file in the temporary folder": (
        RUN,
        "        import tempfile; tempfile.mkdtemp(prefix='mine')\n" + RUN,
        r"leaves 'mine\w+' in the temporary folder",
    ),
    "file at home": (
        RUN,
        "        from wspy.files import home; (home() / 'cache').mkdir()\n" + RUN,
        "leaves 'cache' in WSPY_HOME|raised FileExistsError",
    ),
    "file that nothing names": (
        RUN,
        "        context.save('a.txt', b'')\n" + RUN,
        r"a\.txt is in the run folder, and no",
    ),
    "media that is not there": (
        'context.save("clip.wav", samples)',
        'wspy.Media(path="clip.wav")',
        r"names clip\.wav, which is not in the run folder",
    ),
    "global chance": (
        "peak=float(cache[site].max())",
        "peak=__import__('random').random()",
        r"the same seed gives another result: Result\.peak",
    ),
    "a clock": (
        "peak=float(cache[site].max())",
        "peak=__import__('time').perf_counter()",
        r"the same seed gives another result: Result\.peak",
    ),
    "global chance in a file": (
        'context.save("clip.wav", samples)',
        'context.save("clip.wav", __import__("numpy").random.rand(16000).astype("f4"))',
        r"the same seed gives another clip\.wav",
    ),
    "another class as result": ("return self.Result(", "return Other(", "run returned Other"),
    "no block": (VIEW, "        return []\n" + VIEW, r"view gave \[\]"),
    "something that is no block": (VIEW, "        return ['words']\n" + VIEW, "no block"),
    "error in view": (VIEW, "        raise KeyError('oops')\n" + VIEW, "view raised KeyError"),
    "memory between views": (
        VIEW,
        "        global seen; seen = globals().get('seen', 0) + 1\n"
        "        return [wspy.Text(markdown=f'seen {seen}')]\n" + VIEW,
        "once the run is read from disk",
    ),
    "short row": ("row = (result.peak,)", "row = ()", "0 cells for 1 columns"),
    "sound that is not there": ("path=result.sound.path", 'path="other.wav"', r"plays 'other\.wav', which is not"),
    "NaN in a figure": (
        '{"data": [], "layout": {}}',
        '{"data": [{"y": [float("nan")]}], "layout": {}}',
        "holds NaN or infinity",
    ),
    "half a figure": ('{"data": [], "layout": {}}', '{"data": []}', "lacks data or layout"),
    "a layout that fails": (
        "    def view(",
        "    def layout(self, place):\n        place('laier')\n\n    def view(",
        "its form cannot be built: KeyError: 'laier'",
    ),
}
OTHER = "\n\nclass Other(wspy.Result):\n    peak: float\n    sound: wspy.Media\n"

Write = Callable[[str], type[wspy.AnyAnalysis]]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """The class `Peaks` of a module with this text, importable as authors' own are."""
    (tmp_path / "code").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "code"))

    def made(source: str) -> type[wspy.AnyAnalysis]:
        (tmp_path / "code" / "peaks_plugin.py").write_text(source + OTHER)
        found: type[wspy.AnyAnalysis] = importlib.import_module("peaks_plugin").Peaks
        return found

    yield made
    sys.modules.pop("peaks_plugin", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "check"
    made.mkdir()
    return made


def test_a_good_analysis_passes_and_its_run_is_given(write: Write, folder: Path) -> None:
    before = Path.cwd()
    run = check_analysis(write(GOOD), {"layer": 1}, folder=folder)
    assert run.record.inputs == {"layer": 1}
    assert run.record.provenance.corpus == "tones"
    assert run.result.peak > 0  # type: ignore[attr-defined]
    assert (run.path / "report.html").is_file()
    assert Path.cwd() == before


@pytest.mark.parametrize("rule", BAD)
def test_each_broken_rule_is_named(rule: str, write: Write, folder: Path) -> None:
    old, new, said = BAD[rule]
    assert old in GOOD
    import torch

    before = Path.cwd()
    try:
        with pytest.raises(AssertionError, match=said):
            check_analysis(write(GOOD.replace(old, new, 1)), folder=folder)
    finally:
        torch.set_grad_enabled(True)
    assert Path.cwd() == before


def test_values_that_do_not_fit_are_the_authors_to_mend(write: Write, folder: Path) -> None:
    with pytest.raises(AssertionError, match=r"layer: must be at least 0.*Give check_analysis values that fit"):
        check_analysis(write(GOOD), {"layer": -1}, folder=folder)


def test_a_class_that_no_module_has_cannot_be_checked(write: Write, folder: Path) -> None:
    found = write(GOOD)
    found.__module__ = "nowhere_at_all"
    with pytest.raises(AssertionError, match=r"'nowhere_at_all' cannot be imported by itself"):
        check_analysis(found, folder=folder)


def test_a_recording_that_is_needed_is_provided(write: Write, folder: Path) -> None:
    asks = GOOD.replace("fields import Layer", "fields import AudioInput, Layer").replace(
        "        layer: Layer", '        sound: AudioInput = Field(description="A sound.")\n        layer: Layer'
    )
    run = check_analysis(write(asks), folder=folder)
    assert str(run.record.inputs["sound"]).endswith("recording.wav")
