"""What a whole process takes, as a user waits for it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

WSPY = (str(Path(sys.executable).with_name("wspy")),)
LAUNCHER = """
import json, os, subprocess, sys, time
start = time.monotonic()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
found = time.monotonic() - start, usage.ru_maxrss, usage.ru_utime + usage.ru_stime, os.waitstatus_to_exitcode(status)
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
"""
"""Linux counts the memory of a process that starts another as the other's peak, too: so a small one starts it."""


@dataclass(frozen=True)
class Usage:
    """What a process took."""

    seconds: float
    peak_mb: float
    processor_s: float
    """Time of all its cores together, which hardly depends on what else the machine does."""
    printed: str


def used(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end and say what it took.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "usage.json")
        launch = [sys.executable, "-c", LAUNCHER, str(report), *command]
        done = subprocess.run(launch, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        seconds, peak, processor_s, code = json.loads(report.read_text(encoding="utf-8"))
    if code:
        raise subprocess.CalledProcessError(code, list(command))
    # The kernel counts kilobytes on Linux, bytes on macOS.
    return Usage(seconds, peak / (1e6 if sys.platform == "darwin" else 1e3), processor_s, done.stdout)
