"""Prints the numbers that wspy must meet, next to their goals: `make bench`.

Times are wall time of whole processes, as a user waits for them, and depend on the machine; ratios do not. Everything
is made in an empty WSPY_HOME. Nothing here fails when a goal is missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from atlas import Row, atlas_rows
from attention import attention_rows
from dictionaries import dictionary_rows
from process import WSPY, Usage, used

HEAVY = ("torch", "whisper", "gradio", "plotly", "librosa", "numpy", "onnxruntime", "pocketsphinx", "jaxtyping")
NEURON = ("analyze", "neuron", "--layer", "2", "--idx")
REPEATS = 5


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "WSPY_HOME": home, "NO_COLOR": "1"}
        rows = [*help_rows(environment), *neuron_rows(environment, Path(home))]
        os.environ["WSPY_HOME"] = home
        rows += atlas_rows(Path(home))
        rows += attention_rows(Path(home))
        rows += dictionary_rows()
    width = max(len(row.what) for row in rows)
    for row in rows:
        print(f"{row.what:<{width}}  {row.measured:>16}  {row.goal}")


def help_rows(environment: dict[str, str]) -> list[Row]:
    """How long `wspy --help` takes, and what it imports."""
    best = min(used([*WSPY, "--help"], environment).seconds for _ in range(REPEATS))
    names = imported(["--help"], environment)
    heavy = sorted(names & set(HEAVY))
    return [
        Row(f"wspy --help, best of {REPEATS}", f"{best:.2f} s", "under 0.4 s"),
        Row("wspy --help, top-level modules", f"{len(names)}"),
        Row("wspy --help, heavy libraries", ", ".join(heavy) or "none", "none"),
    ]


def imported(arguments: Sequence[str], environment: dict[str, str]) -> set[str]:
    """Top-level modules that `wspy` imports to do something."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "wspy.cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines[1:]}


def neuron_rows(environment: dict[str, str], home: Path) -> list[Row]:
    """How long the first question takes, and the ones after it."""
    corpus = used([*WSPY, "corpus", "make", "demo", "--from", "demo"], environment)
    first = used([*WSPY, *NEURON, "3"], environment)
    again = best_of([*WSPY, *NEURON, "3"], environment)
    other = best_of([*WSPY, *NEURON, "4"], environment)
    names = imported([*NEURON, "5"], environment)
    runs = [sum(file.stat().st_size for file in run.rglob("*")) for run in (home / "runs").iterdir()]
    atlases = sum(file.stat().st_size for file in (home / "atlases").rglob("*") if file.is_file())
    return [
        Row("demo corpus, made and aligned", f"{corpus.seconds:.1f} s", "under 60 s"),
        Row("first question about a layer", f"{first.seconds:.1f} s"),
        Row("first question, peak memory", f"{first.peak_mb:.0f} MB"),
        Row(f"the same question again, best of {REPEATS}", f"{again.seconds:.2f} s", "under 2 s"),
        Row(f"another neuron of the layer, best of {REPEATS}", f"{other.seconds:.2f} s", "under 1.5 s"),
        Row("another neuron, imports torch", "yes" if "torch" in names else "no", "no"),
        Row("another neuron, peak memory", f"{other.peak_mb:.0f} MB"),
        Row("atlas of the layer, on disk", f"{atlases / 1e6:.1f} MB"),
        Row("run folder, largest", f"{max(runs) / 1e6:.1f} MB"),
    ]


def best_of(command: Sequence[str], environment: dict[str, str]) -> Usage:
    """The quickest of several runs: what the machine can do when nothing else is in its way."""
    return min((used(command, environment) for _ in range(REPEATS)), key=lambda usage: usage.seconds)


if __name__ == "__main__":
    main()
