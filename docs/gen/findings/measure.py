"""Runs the command lines of the plan whose results are not there yet, and keeps them below wspy's home.

    python docs/gen/findings/measure.py ../shared/data
    python docs/gen/findings/measure.py ../shared/data --only 'window-*'

An interrupted run goes on where it stopped: what is there is not measured again.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import plan

import wspy
from wspy.cli import main
from wspy.corpus import list_corpora
from wspy.files import home

DRAWN = ("embeddings-tiny.en", "phones-*", "neuron-english-*")
"""Steps whose own figures are on the page: they are kept as they were drawn at the time."""
FIGURES = "figures.json"


def runs() -> Path:
    """Where the runs of the page are kept."""
    return home() / "findings"


def steps(data: Path) -> Iterator[plan.Step]:
    """All steps in order; which neurons are listened to is known once their layer has been labelled."""
    yield from plan.corpora(data, runs() / "manifests")
    for step in plan.measurements(data):
        yield step
        if step.key == f"phones-{plan.HEARD_MODEL}" and done(step):
            yield from plan.listening(plan.HEARD_MODEL, runs() / step.key)
        if step.key.startswith("features-") and done(step):
            yield from plan.features(runs() / step.key)


def done(step: plan.Step) -> bool:
    """Whether a step needs nothing more; commands that keep their own results are given again and find them."""
    if step.keep:
        return (runs() / step.key / "result.json").is_file()
    if step.words[:2] == ("corpus", "make"):
        return step.words[2] in {corpus.name for corpus in list_corpora()}
    return (runs() / f"{step.key}.done").is_file()


def run(step: plan.Step) -> None:
    """Give the command; the time that it took is printed.

    Raises:
        SystemExit: it failed.
    """
    started = time.monotonic()
    out = ["--out", str(runs() / step.key)] if step.keep else []
    with contextlib.redirect_stdout(io.StringIO()):  # the page is made from the run folders
        code = main([*step.words, "--quiet", *out])
    if code:
        raise SystemExit(f"wspy {' '.join(step.words)} ended with {code}")
    if any(fnmatch.fnmatch(step.key, pattern) for pattern in DRAWN):
        blocks = wspy.open_run(runs() / step.key).blocks()
        figures = [block.model_dump(mode="json") for block in blocks if block.kind == "figure"]
        (runs() / step.key / FIGURES).write_text(json.dumps(figures), encoding="utf-8")
    if not step.keep:
        (runs() / f"{step.key}.done").write_text(json.dumps(step.words), encoding="utf-8")
    print(f"{step.key}: {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of recordings")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="only steps whose key fits")
    arguments = parser.parse_args()
    data = arguments.data.resolve()
    plan.write_manifests(data, runs() / "manifests")
    for step in steps(data):
        if fnmatch.fnmatch(step.key, arguments.only) and not done(step):
            run(step)
