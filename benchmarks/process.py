"""What a whole process takes, as a user waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas import peak_mb

WSPY = (str(Path(sys.executable).with_name("wspy")),)


@dataclass(frozen=True)
class Usage:
    """What a process took."""

    seconds: float
    peak_mb: float
    processor_s: float
    """Time of all its cores together, which hardly depends on what else the machine does."""


def used(command: Sequence[str], environment: dict[str, str]) -> Usage:
    """Run a command to its end and say what it took; what it prints on stdout is dropped.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    start = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return Usage(seconds, peak_mb(usage), usage.ru_utime + usage.ru_stime)
