"""Install wspy into the virtual environment of the Python that runs this, saying what is done and how much is left.

    .venv/bin/python .ci/install.py offline dev

pip is silent while it unpacks, which is most of the time; so this watches the packages arrive and counts them.
The words are the extras of pyproject.toml; versions come from constraints.txt.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parent.parent
LARGE = re.compile(r"\((\d{2,}(?:\.\d+)? MB|\d+(?:\.\d+)? GB)\)")
EVERY_S = 5.0
Say = Callable[[str], None]


def main(extras: list[str]) -> int:
    start = time.monotonic()

    def say(message: str) -> None:
        print(f"  {time.monotonic() - start:4.0f} s  {message}", flush=True)

    print(f"Installing wspy[{','.join(extras)}] into {sys.prefix}. The first time takes 1 to 3 minutes.", flush=True)
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["-c", "constraints.txt", "-e", f".[{','.join(extras)}]"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        pip = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert pip.stdout is not None
        follow(pip.stdout, say)
        if pip.wait() != 0:
            errors.seek(0)
            print(errors.read(), file=sys.stderr)
            print("The installation failed; what pip said is above.", file=sys.stderr)
            return 1
    say("installed")
    return 0


def follow(lines: IO[str], say: Say) -> None:
    """Turn pip's lines into a few: each large download, then how many packages are unpacked."""
    name = ""
    done = threading.Event()
    for line in lines:
        if collecting := re.match(r"(?:Collecting|Processing) (?:\S*/)?([\w.-]+)", line):
            name = collecting[1]
        elif line.startswith("  Downloading") and (size := LARGE.search(line)):
            say(f"downloading {name}, {size[1]}")
        elif line.startswith("Installing collected packages:"):
            names = [word.strip() for word in line.partition(":")[2].split(",")]
            say(f"unpacking {len(names)} packages")
            threading.Thread(target=count, args=(len(names), say, done), daemon=True).start()
    done.set()


def count(total: int, say: Say, done: threading.Event) -> None:
    """Say every few seconds how many packages have arrived, until pip has ended."""
    site = Path(sysconfig.get_path("purelib"))
    before = len(list(site.glob("*.dist-info")))
    while not done.wait(EVERY_S):
        arrived = min(max(len(list(site.glob("*.dist-info"))) - before, 0), total)
        say(f"unpacked {arrived} of {total} packages")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
