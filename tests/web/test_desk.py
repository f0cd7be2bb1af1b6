"""The desk, the store and the rules for visitors, without a browser."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field

import wspy
from wspy.audio import write_wav
from wspy.errors import NotAudio, NotOffered, TooManyWaiting, UploadTooLong, WritesNotAllowed
from wspy.fields import AudioInput
from wspy.runs import run_analysis
from wspy.testing import tiny_whisper
from wspy.web import jobs
from wspy.web.jobs import Desk, Job
from wspy.web.store import KeptRun
from wspy.web.studio import Settings, Studio, toast
from wspy.web.uploads import received
from wspy.web.visit import Board, SharedModels, Stopped, _view

gate = threading.Event()


class Probe(wspy.Analysis["Probe.Inputs", "Probe.Result"]):
    """Does what its input says."""

    api = 1
    name = "probe"
    summary = "A probe."

    class Inputs(wspy.Inputs):
        do: str = Field("nothing", description="What to do.")
        audio: AudioInput | None = Field(None, description="A sound.")

    class Result(wspy.Result):
        said: str
        count: int = 1

    def run(self, inputs: Probe.Inputs, context: wspy.Context) -> Probe.Result:
        if inputs.do == "model":
            return Probe.Result(said=context.model.name)
        if inputs.do == "wait":
            _ = context.model
            context.progress.note("holding")
            assert gate.wait(30)
        if inputs.do == "loop":
            _ = context.model
            for _ in context.progress.track(range(100_000), "Looping"):
                time.sleep(0.002)
        if inputs.do == "atlas":
            context.atlas("encoder.blocks.0.mlp.1")
        if inputs.do == "exit":
            raise SystemExit(3)
        context.save("sub/extra.html", b"<script>alert(1)</script>")
        return Probe.Result(said=str(inputs.audio) if inputs.audio else "<script>alert(1)</script>")

    def view(self, result: Probe.Result) -> list[wspy.Block]:
        columns = (wspy.Column(name="said"), wspy.Column(name="n", unit="s"))
        return [wspy.Table(title="What/was ../said", columns=columns, rows=((result.said, 1), ("=1+1", 2)))]


class Models(SharedModels):
    """Gives a small random model instead of loading one."""

    def _loaded(self, name: str, board: Board) -> wspy.Model:
        return tiny_whisper()


@pytest.fixture
def studio(wspy_home: Path) -> Iterator[Studio]:
    gate.clear()
    made = Studio(Settings(keep_runs=3, max_audio_s=2))
    made.desk.models = Models(None)
    yield made
    gate.set()


def answered(job: Job) -> KeptRun:
    assert job.done.wait(30)
    if job.error:
        raise job.error
    assert job.answer is not None
    return job.answer


def asked(studio: Studio, do: str) -> Job:
    return studio.desk.ask(studio.question(Probe(), {"do": do}))


# --- the desk ---------------------------------------------------------------------------------------------


def test_quick_questions_pass_those_that_wait_for_a_model(studio: Studio) -> None:
    slow = [asked(studio, "wait") for _ in range(jobs.WORKERS + 2)]
    quick = answered(asked(studio, "nothing"))
    assert quick.analysis == "probe" and not any(job.done.is_set() for job in slow)
    gate.set()
    assert all(answered(job) for job in slow)


def test_twenty_questions_at_once_lose_none(studio: Studio) -> None:
    waiting = [asked(studio, "model") for _ in range(20)]
    assert len({answered(job).name for job in waiting}) == 20


def test_a_full_queue_says_so(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MOST_WAITING", 3)
    slow = [asked(studio, "wait") for _ in range(3)]
    with pytest.raises(TooManyWaiting, match="3 questions are waiting"):
        asked(studio, "nothing")
    gate.set()
    assert all(answered(job) for job in slow)
    assert answered(asked(studio, "nothing"))


def test_a_loop_stops_when_its_visitor_does(studio: Studio) -> None:
    job = asked(studio, "loop")
    while job.board.state.message != "Looping":
        time.sleep(0.01)
    job.cancel()
    assert job.done.wait(30) and job.answer is None and job.error is None
    assert not list((studio.store.folder / "runs").iterdir())  # nothing half-made is left


def test_a_forward_pass_stops_when_its_visitor_does() -> None:
    import torch

    board = Board()
    model = tiny_whisper()
    mine = _view(model, board)
    mel = torch.zeros(1, 80, 3000)
    assert torch.equal(mine.whisper.encoder(mel), model.whisper.encoder(mel))
    shared = dict(model.whisper.named_parameters())
    assert all(tensor is shared[name] for name, tensor in mine.whisper.named_parameters())
    board.stop.set()
    with pytest.raises(Stopped):
        mine.whisper.encoder(mel)
    model.whisper.encoder(mel)  # others go on


def test_whatever_happens_becomes_one_line(studio: Studio) -> None:
    job = asked(studio, "exit")
    assert job.done.wait(30)
    assert toast(job.error or Exception()).message == "SystemExit: 3"
    assert toast(ValueError("a\n<b>")).message == "ValueError: a &lt;b&gt;"


# --- what visitors may do ---------------------------------------------------------------------------------


def test_only_what_is_offered_can_be_asked_for(studio: Studio) -> None:
    for values in ({"model": "/etc/passwd"}, {"model": "../tiny.en"}, {"corpus": "/root"}, {"corpus": "other"}):
        with pytest.raises(NotOffered):
            studio.question(Probe(), {}, **values)
    with pytest.raises(wspy.InputError, match="no such input"):
        studio.question(Probe(), {"path": "/etc/passwd"})


@pytest.mark.parametrize("path", ["/etc", "~", "~root", "..", "./x", "a/b", "a\\b", ".ssh"])
def test_text_is_never_a_path(path: str, studio: Studio) -> None:
    with pytest.raises(wspy.InputError, match="these pages take no paths"):
        studio.question(Probe(), {"do": path})
    assert studio.question(Probe(), {"do": "it's a name: naïve, no. 5"})


def test_nothing_is_built_for_a_visitor_unless_that_is_allowed(studio: Studio, wspy_home: Path) -> None:
    job = asked(studio, "atlas")
    assert job.done.wait(30)
    assert isinstance(job.error, WritesNotAllowed) and "wspy corpus make demo" in str(job.error)
    assert not (wspy_home / "corpora").exists() and not (wspy_home / "atlases").exists()


def test_a_recording_is_checked_and_copied_and_its_place_unsaid(studio: Studio, tmp_path: Path) -> None:
    sound = np.sin(np.arange(16_000) * 0.1).astype(np.float32) / 2
    write_wav(tmp_path / "my voice;rm.wav", sound)

    async def ask() -> list[object]:
        values = {"audio": str(tmp_path / "my voice;rm.wav")}
        return [news async for news in studio.answer("me", Probe(), values, audio_field="audio")]

    with ThreadPoolExecutor(1) as apart:  # the browser of other tests has a loop of its own in this thread
        run = apart.submit(lambda: asyncio.run(ask())).result()[-1]
    assert isinstance(run, KeptRun)
    record = json.loads((run.path / "result.json").read_text())
    assert record["inputs"]["audio"] == "my-voice-rm.wav" and record["result"]["said"] == "my-voice-rm.wav"
    for path in run.path.rglob("*.html"):
        assert "/tmp" not in path.read_text()
    write_wav(tmp_path / "long.wav", np.tile(sound, 5))
    with pytest.raises(UploadTooLong, match=r"long\.wav lasts more than 2 s"), received(tmp_path / "long.wav", 2):
        pass
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(NotAudio) as error, received(tmp_path / "text.wav", 2):
        pass
    assert str(tmp_path) not in str(error.value)


# --- the store --------------------------------------------------------------------------------------------

TRICKS = [
    "../result.json",
    "..%2fresult.json",
    "%2e%2e/result.json",
    "./result.json",
    "sub/../result.json",
    "//etc/passwd",
    "/etc/passwd",
    "sub",
    "",
    "result.json/",
    "result.json\0",
    "RESULT.JSON",
    "link.json",
]


def test_only_files_that_the_run_names_are_there(studio: Studio, tmp_path: Path) -> None:
    run = answered(asked(studio, "nothing"))
    store = studio.store
    assert {"report.html", "result.json", "sub/extra.html", "assets/plotly.min.js"} <= set(run.files)
    assert store.file(run.name, "result.json") == run.path / "result.json"
    (run.path / "link.json").symlink_to("/etc/passwd")
    (tmp_path / "secret").write_text("x")
    for trick in TRICKS:
        assert store.file(run.name, trick) is None, trick
    for name in ("", ".", "..", f"../runs/{run.name}", run.name[:-1], run.name.upper(), "probe." + "A" * 22):
        assert store.file(name, "result.json") is None, name


def test_links_in_a_run_folder_are_not_taken_in(tmp_path: Path, studio: Studio) -> None:
    run = run_analysis(Probe(), Probe.Inputs(), out=tmp_path / "run")
    (run.path / "link.json").symlink_to("/etc/passwd")
    files = studio.store.take(run).files
    assert "result.json" in files and "link.json" not in files


def test_old_runs_are_dropped_with_their_folders(studio: Studio) -> None:
    runs = [answered(asked(studio, "nothing")) for _ in range(5)]
    assert [studio.store.find(run.name) is not None for run in runs] == [False, False, True, True, True]
    assert [run.path.exists() for run in runs] == [False, False, True, True, True]


def test_a_run_can_be_taken_home(studio: Studio) -> None:
    run = answered(asked(studio, "nothing"))
    (table,) = run.tables
    assert table == "tables/1-what-was-said.csv"
    text = (run.path / table).read_text()
    assert text.splitlines() == ["said,n (s)", "<script>alert(1)</script>,1", "'=1+1,2"]
    archive = studio.store.file(run.name, "run.zip")
    assert archive is not None
    with zipfile.ZipFile(archive) as packed:
        assert {f"wspy-probe/{path}" for path in run.files} == set(packed.namelist())
    assert "<script>alert" not in (run.path / "report.html").read_text()


def test_each_name_is_hard_to_guess(studio: Studio) -> None:
    desk: Desk = studio.desk
    names = {desk.store.new_folder(Probe()).name for _ in range(50)}
    assert len(names) == 50 and all(len(name.partition(".")[2]) == 22 for name in names)
