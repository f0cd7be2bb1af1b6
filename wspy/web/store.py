"""The runs of visitors: kept in a temporary folder, the newest only, and found by names that nobody can guess.

What is served of a run is a list of names made when the run ended. A path that is not literally in that list does not
exist, so no way of writing a path leads out of it.
"""

from __future__ import annotations

import atexit
import collections
import csv
import io
import re
import secrets
import shutil
import tempfile
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from wspy.analysis import AnyAnalysis
from wspy.blocks import Audio, Block, Table
from wspy.files import write_atomic
from wspy.html import plotly_js
from wspy.report import PLOTLY, REPORT, write_report
from wspy.runs import RECORD, Record, Run

NAME = re.compile(r"[a-z0-9-]+\.[A-Za-z0-9_-]{22}")
"""The analysis, and 128 random bits: who has the name may see the run."""
ZIP = "run.zip"
TABLES = "tables"


@dataclass(frozen=True)
class KeptRun:
    """A finished run that a visitor may look at."""

    name: str
    analysis: str
    path: Path
    asked: dict[str, JsonValue]
    """The inputs that differ from their defaults."""
    files: tuple[str, ...]
    """Paths in the run folder, with forward slashes."""
    sounds: tuple[str, ...]
    """Those of `files` that are heard on the page."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Those of `files` that are tables."""
        return tuple(path for path in self.files if path.startswith(f"{TABLES}/"))


class RunStore:
    """Keeps the newest `keep` runs until the process ends."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._runs: collections.OrderedDict[str, KeptRun] = collections.OrderedDict()
        self.folder = Path(tempfile.mkdtemp(prefix="wspy-web-"))
        atexit.register(self.close)

    def close(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_folder(self, analysis: AnyAnalysis) -> Path:
        """Where the next run goes: a folder that does not exist yet."""
        return self.folder / "runs" / f"{analysis.name}.{secrets.token_urlsafe(16)}"

    def take(self, run: Run, upload: Path | None = None) -> KeptRun:
        """Write the report and the tables of a run into its folder, and keep it.

        Args:
            upload: A visitor's recording, whose place on the server is replaced by its name wherever the run says it.
        """
        if upload is not None:
            run = _without_path(run, upload)
        self._place_plotly(run.path / PLOTLY)
        write_report(run)
        blocks = run.blocks()
        _write_tables(run.path / TABLES, blocks)
        files = sorted(
            path.relative_to(run.path).as_posix()
            for path in run.path.rglob("*")
            if path.is_file() and not path.is_symlink()
        )
        sounds = [block.path for block in blocks if isinstance(block, Audio)]
        inputs = run.analysis.Inputs.model_validate(run.record.inputs)
        asked = inputs.model_dump(mode="json", exclude_defaults=True)
        kept = KeptRun(run.name, run.analysis.name, run.path, asked, tuple(files), tuple(dict.fromkeys(sounds)))
        with self._lock:
            self._runs[kept.name] = kept
            dropped = [self._runs.popitem(last=False)[0] for _ in range(len(self._runs) - self._keep)]
        for name in dropped:
            shutil.rmtree(self.folder / "runs" / name, ignore_errors=True)
        return kept

    def find(self, name: str) -> KeptRun | None:
        """The run of that name, if it is still kept."""
        with self._lock:
            return self._runs.get(name) if NAME.fullmatch(name) else None

    def file(self, name: str, path: str) -> Path | None:
        """A file of a run; None for whatever is not in the list of a kept run's files."""
        run = self.find(name)
        if run is None:
            return None
        if path == ZIP:
            return self._zip(run)
        return self.folder / "runs" / name / path if path in run.files else None

    def _zip(self, run: KeptRun) -> Path:
        """The whole run as one file, made when it is first asked for, beside the files that it holds."""
        folder = self.folder / "runs" / run.name
        target = folder / ZIP
        if not target.is_file():
            content = io.BytesIO()
            with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in run.files:
                    archive.write(folder / path, f"wspy-{run.analysis}/{path}")
            write_atomic(target, content.getvalue())
        return target

    def _place_plotly(self, target: Path) -> None:
        """A second name of one copy for all runs, instead of some megabytes in each."""
        with self._lock:
            shared = self.folder / "plotly.min.js"
            if not shared.is_file():
                shutil.copyfile(plotly_js(), shared)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(shared)
        except OSError:  # a file system without hard links
            shutil.copyfile(shared, target)


def _without_path(run: Run, upload: Path) -> Run:
    """The run with a recording's name in place of its path, in memory and in its folder."""
    said = run.record.model_dump_json().replace(str(upload), upload.name)
    record = Record.model_validate_json(said)
    write_atomic(run.path / RECORD, record.model_dump_json(indent=1) + "\n")
    result = run.analysis.Result.model_validate(record.result)
    result.attach(run.path, lambda: run.analysis.view(result))
    return Run(run.path, record, run.analysis, result)


def _write_tables(folder: Path, blocks: list[Block]) -> None:
    tables = [block for block in blocks if isinstance(block, Table) and block.rows]
    for number, table in enumerate(tables, 1):
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([f"{column.name} ({column.unit})" if column.unit else column.name for column in table.columns])
        writer.writerows(["" if cell is None else _plain(cell) for cell in row] for row in table.rows)
        words = re.sub(r"[^a-z0-9]+", "-", table.title.lower())[:40].strip("-") or "table"
        write_atomic(folder / f"{number}-{words}.csv", text.getvalue())


def _plain(cell: str | float | bool) -> str | float | bool:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


__all__ = ["NAME", "REPORT", "ZIP", "KeptRun", "RunStore"]
