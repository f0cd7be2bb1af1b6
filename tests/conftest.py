"""What every test may lean on: a home folder of its own, the shared recordings, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real: real weights and real speech; slower than the fast tier")
    config.addinivalue_line(
        "markers", "session_home: use one WSPY_HOME for all tests so marked, to share what is built"
    )


@pytest.fixture(scope="session", autouse=True)
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The WSPY_HOME that fixtures of a wider scope see, so that none reaches the real home."""
    home = tmp_path_factory.mktemp("session_home")
    before = os.environ.get("WSPY_HOME")
    os.environ["WSPY_HOME"] = str(home)
    yield home
    if before is None:
        del os.environ["WSPY_HOME"]
    else:
        os.environ["WSPY_HOME"] = before


@pytest.fixture(autouse=True)
def wspy_home(
    request: pytest.FixtureRequest, session_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A fresh WSPY_HOME for this test alone, or the session's where the test is marked `session_home`."""
    home = session_home if request.node.get_closest_marker("session_home") else tmp_path / "wspy_home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("WSPY_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings that lies beside the repository."""
    for folder in (REPOSITORY.parent / "shared" / "data", REPOSITORY / "shared" / "data"):
        if (folder / "README.md").is_file():
            return folder
    pytest.skip("the shared recordings (shared/data beside the repository) are not on this machine")


@dataclass(frozen=True)
class Outcome:
    """What a finished `wspy` process said."""

    code: int
    stdout: str
    stderr: str


RunCli = Callable[..., Outcome]


@pytest.fixture
def run_cli(tmp_path: Path) -> RunCli:
    """Run `wspy WORDS...` as a process of its own, as a user does; `path=` folders go on its sys.path."""

    def run(
        *words: str, path: tuple[Path, ...] = (), env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> Outcome:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", **(env or {})}
        if path:
            kept = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
            environment["PYTHONPATH"] = os.pathsep.join([*map(str, path), *kept])
        done = subprocess.run(
            [sys.executable, "-m", "wspy.cli", *words],
            capture_output=True,
            text=True,
            env=environment,
            cwd=cwd or tmp_path,
            timeout=300,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


MakePlugin = Callable[[str, str], Path]


@pytest.fixture
def make_plugin(tmp_path: Path) -> MakePlugin:
    """Install a plugin of one module as a real distribution `DIST-NAME 1.0`, in a folder to be put on sys.path."""

    def make(name: str, source: str) -> Path:
        folder = tmp_path / "plugins"
        info = folder / f"dist_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[wspy]\n{name} = {name}\n")
        return folder

    return make
