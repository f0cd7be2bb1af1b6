"""Prints the numbers of the web app: its start, a cached page, twenty questions at once, memory over many questions.

    python benchmarks/web.py

Everything is asked over HTTP, as a browser does, of `wspy demo` in a process of its own. It needs a corpus `demo` and
an atlas of `encoder.blocks.2.mlp.1` over it, and makes them in WSPY_HOME where they are missing. Nothing is asserted.
"""

from __future__ import annotations

import contextlib
import json
import re
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import wspy

LAYER = 2
AT_ONCE, FEW, MANY = 20, 20, 200
PAGES = 10


def main() -> None:
    wspy.analyze("neuron", layer=LAYER, idx=0)  # makes the corpus and the atlas
    began = time.perf_counter()
    words = [sys.executable, "-m", "wspy.cli", "demo"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            first = address_in(process, "starting at")
            with contextlib.suppress(urllib.error.HTTPError):  # 503: it is not the app yet
                urllib.request.urlopen(first)
            line = f"{time.perf_counter() - began:10.2f} s    goal: under 3 s"
            print(f"{'start to the first page':<44}{line}", flush=True)
            address = address_in(process, "open")
            with urllib.request.urlopen(address) as answer:
                answer.read()
            print(f"{'start to the app':<44}{time.perf_counter() - began:10.2f} s", flush=True)
            measure(address, process.pid)
        finally:
            process.terminate()


def address_in(process: subprocess.Popen[str], after: str) -> str:
    """The address that the app says after these words."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(rf"{after} (http://\S+?)/?$", line.strip()):
            return found[1]
    raise SystemExit("the app did not start")


def measure(address: str, pid: int) -> None:
    """Print what was measured, line by line."""
    times = [timed_neuron(address, idx) for idx in range(PAGES + 1)]
    print(f"{'neuron page from the atlas, first':<44}{times[0]:10.2f} s    goal: under 1 s")
    print(f"{'the same, median of the next ' + str(PAGES):<44}{statistics.median(times[1:]):10.2f} s")
    with ThreadPoolExecutor(AT_ONCE) as visitors:
        answers = list(visitors.map(lambda n: bigram(address, f" word {n}"), range(AT_ONCE)))
    print(f"{'questions for the model at once, answered':<44}{sum(answers):7} of {AT_ONCE}    goal: all", flush=True)
    after = {}
    for n in range(1, MANY + 1):
        assert bigram(address, f" {n}") if n % 4 == 0 else neuron(address, n)
        if n in (FEW, MANY):
            after[n] = resident_mb(pid)
            print(f"{f'memory after {n} questions':<44}{after[n]:9.0f} MB", flush=True)
    print(f"{'the one over the other':<44}{after[MANY] / after[FEW]:10.2f}      goal: at most 1.10")


def timed_neuron(address: str, idx: int) -> float:
    began = time.perf_counter()
    assert neuron(address, idx)
    return time.perf_counter() - began


def neuron(address: str, idx: int) -> bool:
    """Ask for a neuron's page and fetch it; whether it came."""
    return asked(address, "neuron", [LAYER, idx, "encoder", 5, "positive", "tiny.en", "demo", 0])


def bigram(address: str, prompt: str) -> bool:
    """Ask for what follows a prompt, which takes the model."""
    values: list[str | int | float | bool] = [prompt, 5, True, False, "", "transcribe", 0, "greedy", 1.0]
    return asked(address, "bigrams", [*values, "tiny.en", "demo", 0])


def asked(address: str, name: str, values: list[str | int | float | bool]) -> bool:
    """Ask, wait for the answer and fetch the report; whether it came."""
    body = json.dumps({"data": values}).encode()
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/gradio_api/call/{name}", body, kind)
    with urllib.request.urlopen(request) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{address}/gradio_api/call/{name}/{event}") as answer:
        said = answer.read().decode()
    report = re.search(r"run/[\w.-]+/report\.html", said)
    if report is None:
        return False
    with urllib.request.urlopen(f"{address}/{report[0]}") as answer:
        return b"</html>" in answer.read()


def resident_mb(pid: int) -> float:
    """Memory that a process holds (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1000


if __name__ == "__main__":
    main()
