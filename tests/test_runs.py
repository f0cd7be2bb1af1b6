"""Run folders: whole or not at all, and enough said to get them again."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path

import pytest
from pydantic import Field

import wspy
from wspy.errors import BadInput, NotARun, OutputExists, UnknownAnalysis, UnknownDevice, UnknownRun
from wspy.files import locked
from wspy.plugins import Plugin, Plugins
from wspy.progress import Silent
from wspy.runs import RECORD, list_runs, open_run, remove_run, run_analysis, runs_folder, validated


class Part(wspy.Inputs):
    value: float


class Toy(wspy.Analysis):
    api = 1
    name = "toy"
    summary = "A toy."

    class Inputs(wspy.Inputs):
        n: int = Field(1, ge=0, le=9, description="A number.")
        fail: str = Field("", description="How to fail.")

    class Result(wspy.Result):
        doubled: int
        parts: list[Part]
        media: wspy.Media

    def run(self, inputs, context):
        media = context.save("media/a.txt", b"kept")
        if inputs.fail == "error":
            raise ValueError("failed")
        if inputs.fail == "stop":
            raise KeyboardInterrupt
        return self.Result(doubled=2 * inputs.n, parts=[Part(value=math.nan), Part(value=-math.inf)], media=media)

    def view(self, result):
        return [wspy.Text(markdown=f"doubled: {result.doubled}, {self_file(result)}")]


def self_file(result) -> str:
    return result.file(result.media).read_text()


class Uses(Toy):
    name = "uses"

    def run(self, inputs, context):
        assert context.reference.name
        return super().run(inputs, context)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    plugin = Plugin("toys", "dist-toys", "3.1", "loaded")
    plugins = Plugins(
        [plugin], {"toy": Toy, "uses": Uses}, {}, owners={"analysis 'toy'": plugin, "analysis 'uses'": plugin}
    )
    monkeypatch.setattr("wspy.runs.load_plugins", lambda: plugins)
    return plugins


def run(n: int = 2, fail: str = "", **settings) -> wspy.Run:
    return run_analysis(Toy(), Toy.Inputs(n=n, fail=fail), **settings)


def everything_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*")) if folder.exists() else []


def test_a_run_folder_holds_the_record_and_the_media(wspy_home):
    made = run()
    assert made.path.parent == wspy_home / "runs"
    assert sorted(path.name for path in made.path.iterdir()) == ["media", RECORD]
    assert made.result.file(made.result.media).read_bytes() == b"kept"
    assert made.blocks()[0].markdown == "doubled: 4, kept"
    assert [path.name for path in (wspy_home / "runs").iterdir()] == [made.name]


@pytest.mark.parametrize(("fail", "error"), [("error", ValueError), ("stop", KeyboardInterrupt)])
def test_nothing_is_left_of_a_run_that_fails(wspy_home, tmp_path, fail, error):
    for out in (None, tmp_path / "out"):
        with pytest.raises(error):
            run(fail=fail, out=out)
    assert everything_below(wspy_home / "runs") == []
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_provenance_is_complete(monkeypatch):
    provenance = run(n=3, seed=5).record.provenance
    assert provenance.wspy == wspy.__version__
    assert provenance.plugin == "dist-toys 3.1"
    assert provenance.seed == 5
    assert provenance.started.endswith("+00:00")
    assert provenance.duration_s >= 0
    assert provenance.platform.startswith("Python 3")
    assert set(provenance.packages) >= {"openai-whisper", "torch", "numpy"}
    assert "not installed" not in provenance.packages.values()
    assert (provenance.model, provenance.corpus, provenance.device) == (None, None, None)
    assert shlex.split(provenance.command) == ["wspy", "analyze", "toy", "--n", "3", "--seed", "5"]


def test_provenance_names_a_model_that_was_used():
    from wspy.testing import tiny_whisper

    model = tiny_whisper()
    provenance = run_analysis(Uses(), Uses.Inputs(), model=model).record.provenance
    assert provenance.model == model.reference.name
    assert provenance.model_sha256 == model.reference.sha256
    assert shlex.split(provenance.command)[-2:] == ["--model", model.reference.name]


def test_an_analysis_that_is_not_installed_says_so(installed):
    class Local(Toy):
        name = "local"

    assert "(not installed)" in run_analysis(Local(), Local.Inputs()).record.provenance.plugin


def test_a_result_comes_back_as_it_was():
    made = run()
    again = open_run(made.name)
    assert repr(again.result) == repr(made.result)
    assert math.isnan(again.result.parts[0].value)
    assert again.result.parts[1].value == -math.inf
    assert again.record.model_dump_json() == made.record.model_dump_json()
    assert again.blocks() == made.blocks()
    json.loads((made.path / RECORD).read_text(), parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))


def test_a_run_opens_by_path_too(tmp_path, monkeypatch):
    made = run(out=tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    for name in (made.path, str(made.path), "elsewhere"):
        assert open_run(name).path == made.path


def test_out_may_be_new_or_empty(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(out=empty).path == empty
    assert run(out=tmp_path / "new" / "deep").path.is_dir()


def test_out_that_holds_something_is_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out in ("full", "file"):
        with pytest.raises(OutputExists):
            run(out=tmp_path / out)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../secret", "runs/../../secret", "a/b", "x" * 5000, "\0", "a\n", "-x"]
)
def test_a_name_is_no_way_out_of_the_runs(wspy_home, name):
    secret = wspy_home / "secret"
    secret.mkdir()
    (secret / RECORD).write_text("{}")
    (wspy_home / RECORD).write_text("{}")
    with pytest.raises(UnknownRun):
        remove_run(name)
    assert (secret / RECORD).exists()
    with pytest.raises(UnknownRun):
        open_run(name)


def test_remove(wspy_home):
    first, second = run(), run()
    remove_run(first.name)
    assert not first.path.exists()
    assert [summary.name for summary in list_runs()] == [second.name]
    with pytest.raises(UnknownRun, match=second.name):
        remove_run(first.name)


def test_removing_a_link_spares_what_it_points_to(tmp_path, wspy_home):
    made = run(out=tmp_path / "mine")
    (wspy_home / "runs").mkdir()
    (wspy_home / "runs" / "link").symlink_to(made.path)
    remove_run("link")
    assert (made.path / RECORD).is_file()
    assert list_runs() == []


def test_the_list_has_the_newest_first_and_leaves_out_what_is_no_run(wspy_home):
    made = [run(n=n) for n in range(3)]
    runs = wspy_home / "runs"
    for name, content in (("broken", "{"), (".being-written", (made[0].path / RECORD).read_text()), ("list", "[]")):
        (runs / name).mkdir()
        (runs / name / RECORD).write_text(content)
    (runs / "a file").write_text("")
    found = list_runs()
    assert {summary.name for summary in found} == {one.name for one in made}
    assert [summary.started for summary in found] == sorted((summary.started for summary in found), reverse=True)
    assert found[0].analysis == "toy"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record.pop("provenance"), "provenance"),
        (lambda record: record["result"].pop("doubled"), "another version"),
        (lambda record: record["result"].update(media={"path": "../../../etc/passwd"}), "another version"),
    ],
)
def test_a_damaged_record_is_refused_in_one_line(change, said):
    made = run()
    record = json.loads((made.path / RECORD).read_text())
    change(record)
    (made.path / RECORD).write_text(json.dumps(record))
    with pytest.raises(NotARun, match=said) as caught:
        open_run(made.name)
    assert "\n" not in str(caught.value)


def test_a_record_that_is_not_json():
    made = run()
    (made.path / RECORD).write_bytes(b"\xff\xfe")
    with pytest.raises(NotARun):
        open_run(made.name)


def test_a_run_of_a_plugin_that_is_gone_says_so(installed):
    made = run()
    del installed.analyses["toy"]
    with pytest.raises(UnknownAnalysis, match="toy"):
        open_run(made.name)


def test_validated_takes_words_and_refuses_in_one_line():
    assert validated(Toy(), {"n": "3"}) == Toy.Inputs(n=3)
    with pytest.raises(BadInput, match=r"toy: n: .*at most 9, not 10\. See: wspy analyze toy --help"):
        validated(Toy(), {"n": 10})
    with pytest.raises(BadInput, match="toy: m: there is no such input"):
        validated(Toy(), {"m": 1})


def test_analyze_gives_the_typed_result():
    result = wspy.analyze("toy", n=4, progress=Silent())
    assert isinstance(result, Toy.Result)
    assert result.doubled == 8
    assert "doubled: 8" in result._repr_html_()
    with pytest.raises(UnknownAnalysis, match="Did you mean 'toy'"):
        wspy.analyze("tyo")


def test_an_unknown_corpus_is_named_and_the_demo_is_made_when_it_is_missed(monkeypatch):
    class Hears(Toy):
        def run(self, inputs, context):
            assert context.corpus
            return super().run(inputs, context)

    with pytest.raises(wspy.InputError, match="'nothing'"):
        run_analysis(Hears(), Hears.Inputs(), corpus="nothing")
    asked = []
    monkeypatch.setattr("wspy.corpus.ensure_demo", lambda progress: asked.append(progress) or pytest.skip.Exception)
    with pytest.raises(AttributeError):  # what stands for the corpus here has no hash
        run_analysis(Hears(), Hears.Inputs())
    assert len(asked) == 1


def test_a_device_that_cannot_be_is_refused_even_where_no_model_is_needed(wspy_home):
    with pytest.raises(UnknownDevice, match="'tpu'"):
        run_analysis(Toy(), Toy.Inputs(), device="tpu")
    assert not (wspy_home / "runs").exists()


def test_what_a_killed_run_left_is_removed_and_what_is_at_work_stays() -> None:
    runs = runs_folder()
    killed, at_work, own = (
        runs / ".20200101-000000-toy-abcd.abcdefgh",
        runs / ".20200101-000000-toy-ef01.abcdefgh",
        runs / ".mine.abcdefgh",
    )
    for folder in (killed, at_work, own):
        (folder / "media").mkdir(parents=True)
    with locked(runs / "20200101-000000-toy-ef01", "a run"):
        run_analysis(Toy(), Toy.Inputs())
        assert not killed.exists() and at_work.exists() and own.exists()
    run = run_analysis(Toy(), Toy.Inputs())
    assert not at_work.exists()
    assert sorted(path.name for path in runs.iterdir() if path.suffix == ".lock") == []
    assert run.path.is_dir()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"n": 10}, "n: must be at most 9, not 10"),
        ({"n": "-1"}, "n: must be at least 0, not '-1'"),
        ({"n": "x"}, "n: must be a whole number, not 'x'"),
        ({"n": 1.5}, "n: must be a whole number, not 1.5"),
        ({"m": 1}, "m: there is no such input"),
    ],
)
def test_a_refused_value_is_said_in_plain_words(values: dict[str, object], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        validated(Toy(), values)
