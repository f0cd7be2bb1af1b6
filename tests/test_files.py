"""Writing whole or not at all, and locks between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wspy.errors import Busy, NotWritable
from wspy.files import atomic_folder, atomic_path, home, locked, write_atomic


def test_home_is_wspy_home_or_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("WSPY_HOME", str(tmp_path / "x"))
    assert home() == tmp_path / "x"
    monkeypatch.setenv("WSPY_HOME", "~/y")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == tmp_path / "y"
    monkeypatch.delenv("WSPY_HOME")
    assert home().name == "wspy"


def test_write_atomic_replaces_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_atomic(path, "one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "b.txt"
    write_atomic(path, "old")

    def write() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.glob(".b*")] == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_folder_leaves_nothing(tmp_path, error):
    def write() -> None:
        with atomic_folder(tmp_path / "sub" / "run") as temporary:
            (temporary / "x").write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert list((tmp_path / "sub").iterdir()) == []


def test_a_folder_replaces_a_folder(tmp_path):
    (tmp_path / ".run.old.killed").mkdir()  # as a process leaves that is killed while it replaces one
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "run") as temporary:
            (temporary / content).write_text(content)
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["two"]
    assert [entry.name for entry in tmp_path.iterdir() if "run" in entry.name] == ["run"]


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="file"):
        write_atomic(tmp_path / "file" / "below", "x")
    with pytest.raises(NotWritable, match="file"), atomic_folder(tmp_path / "file" / "below"):
        pytest.fail("it was let in")


HOLD = """
import sys, time
from pathlib import Path
from wspy.files import locked
with locked(Path(sys.argv[1]), "the thing"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_says_that_it_waits_and_gives_up_in_one_line(tmp_path: Path, capsys):
    words = [sys.executable, "-c", HOLD, str(tmp_path / "thing")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="the thing"), locked(tmp_path / "thing", "the thing", wait_s=0.1):
            pytest.fail("two hold one lock")
        assert "Another process is working on the thing" in capsys.readouterr().err
        holder.communicate("\n")
    with locked(tmp_path / "thing", "the thing", wait_s=5):
        pass
    assert capsys.readouterr().err == ""


def test_a_lock_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable), locked(tmp_path / "file" / "corpora" / "mine", "corpus 'mine'"):
        pass
