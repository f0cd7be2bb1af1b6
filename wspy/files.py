"""Where wspy keeps things, and how it writes them: whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wspy.errors import Busy, NotWritable

LOCK_WAIT_S = 600.0


def home() -> Path:
    """The folder for corpora, atlases, runs and converted models.

    `WSPY_HOME` if set, else the platform's folder for user data (`~/.local/share/wspy` on Linux).
    """
    chosen = os.environ.get("WSPY_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("wspy", appauthor=False))


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name, synced to disk, when the block ends without error.

    Raises:
        NotWritable: the folder cannot be made or written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise NotWritable(str(path.parent), error.strerror or str(error)) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise NotWritable(str(path), error.strerror or str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a whole file, or leave what was there."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its name when the block ends without error.

    A folder that is already there is replaced; on error, Ctrl-C included, nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise NotWritable(str(path.parent), error.strerror or str(error)) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        replace_folder(temporary, path)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(new: Path, path: Path) -> None:
    """Give a finished folder the name `path` on the same disk; what was there before goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        new.replace(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    path.replace(old / path.name)
    new.replace(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.old.*"):  # with what a process killed here left before
        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path, what: str, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold the lock file of `path` (`.NAME.lock` beside it); a second process says so and waits.

    Raises:
        Busy: the other process has not finished within `wait_s` seconds.
        NotWritable: the folder cannot be made or written.
    """
    import filelock

    lock_path = path.parent / f".{path.name}.lock"
    lock = filelock.FileLock(lock_path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if not wait_s:
                raise
            print(f"Another process is working on {what}; waiting for it.", file=sys.stderr)
            lock.acquire(timeout=wait_s)
    except filelock.Timeout:
        raise Busy(what, str(lock_path)) from None
    except OSError as error:
        raise NotWritable(str(path.parent), error.strerror or str(error)) from error
    try:
        yield
    finally:
        lock.release()
