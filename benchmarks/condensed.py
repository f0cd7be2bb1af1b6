"""Prints the tables of docs/condensed.md: how fast condensed passes are, and how well they agree with the whole window.

    python benchmarks/condensed.py ../shared/data --models tiny.en base --lengths 1 2 5 10 20 --clips 24

Speed is that of the encoder alone: both passes take turns over the same batch in this process, and the best time of
each counts. Times are the processor's (of the one thread that is used), which other programs on the machine disturb
less than they disturb the clock; `--clock` takes the clock and all threads instead. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

import wspy
from wspy.audio import SAMPLE_RATE, load_audio, n_frames
from wspy.model import Agreement, FramePlan, Model, encode, match_sites, measure_agreement, mel_batch, plan_frames

SITES = "encoder.blocks.*.mlp.1"
BATCH_CLIPS = 8
SETS = ("aligned/ljspeech", "aligned/timit_sample", "speech/kerstin", "speech/asterisk")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with aligned/manifest.csv and speech/manifest.csv")
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--lengths", nargs="+", type=float, default=[1, 2, 5, 10, 20], help="seconds")
    parser.add_argument("--clips", type=int, default=24, help="clips of each length")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--clock", action="store_true", help="time by the clock, on all threads")
    options = parser.parse_args()
    if not options.clock:
        torch.set_num_threads(1)
    clock = time.perf_counter if options.clock else time.thread_time
    for name in options.models:
        model = wspy.load_model(name, "cpu")
        layers = " | ".join(f"layer {layer}" for layer in range(model.dims.n_audio_layer))
        print(f"\n**{name}**\n\n| clip | frames computed | encoder faster | {layers} |")
        print("| ---: | ---: | ---: |" + " ---: |" * model.dims.n_audio_layer, flush=True)
        for length_s in options.lengths:
            clips = list(cuts(options.data, length_s, options.clips))
            print(row(model, length_s, clips, options.repeats, clock), flush=True)


def row(model: Model, length_s: float, clips: list[np.ndarray], repeats: int, clock: Callable[[], float]) -> str:
    plan = plan_frames(model, n_frames(round(length_s * SAMPLE_RATE)))
    if plan is None:
        return f"| {length_s:g} s | all | exact is used |" + " |" * model.dims.n_audio_layer
    faster = speedup(model, clips[:BATCH_CLIPS], plan, repeats, clock)
    found = measure_agreement(model, SITES, clips)
    return f"| {length_s:g} s | {len(plan.frames)} | {faster:.1f} x | {' | '.join(map(spread, found))} |"


def spread(agreement: Agreement) -> str:
    return f"{agreement.quantile(0.5):.5f} / {agreement.quantile(0.05):.4f}"


def speedup(model: Model, clips: list[np.ndarray], plan: FramePlan, repeats: int, clock: Callable[[], float]) -> float:
    """How many times as fast the condensed pass over a batch is."""
    mels = mel_batch(model, clips)
    last = match_sites(SITES, model.dims)[-1].name  # as far as an atlas pass goes
    whole: list[float] = []
    condensed: list[float] = []
    with torch.inference_mode():
        for _ in range(repeats):
            for which, times in ((None, whole), (plan, condensed)):
                start = clock()
                encode(model, mels, stop_after=last, plan=which)
                times.append(clock() - start)
    return min(whole) / min(condensed)


def cuts(data: Path, length_s: float, count: int) -> Iterator[np.ndarray]:
    """Stretches of speech, no two the same: the sets take turns, within a set its speakers do.

    Where one recording is too short, the speaker's next one follows it at once.
    """
    sources = [source(data, prefix, round(length_s * SAMPLE_RATE)) for prefix in SETS]
    while count and sources:
        for candidate in list(sources):
            clip = next(candidate, None)
            if clip is None:
                sources.remove(candidate)
            elif count:
                count -= 1
                yield clip


def source(data: Path, prefix: str, n_samples: int) -> Iterator[np.ndarray]:
    folder, _, start = prefix.partition("/")
    files: dict[str, list[Path]] = defaultdict(list)
    with (data / folder / "manifest.csv").open(encoding="utf-8", newline="") as manifest:
        for entry in csv.DictReader(manifest):
            if entry["path"].startswith(start):
                files[entry["speaker"]].append(data / folder / entry["path"])
    speakers = [stretches(recordings, n_samples) for recordings in files.values()]
    while speakers:
        for speaker in list(speakers):
            clip = next(speaker, None)
            if clip is None:
                speakers.remove(speaker)
            else:
                yield clip


def stretches(recordings: list[Path], n_samples: int) -> Iterator[np.ndarray]:
    held = np.zeros(0, np.float32)
    for recording in recordings:
        held = np.concatenate([held, load_audio(recording)])
        if len(held) >= n_samples:
            yield held[:n_samples]
            held = np.zeros(0, np.float32)


if __name__ == "__main__":
    main()
