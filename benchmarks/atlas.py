"""What a pass of the atlas costs, beside the bare encoder, at both speeds and as corpora grow; part of `make bench`.

    python benchmarks/atlas.py            # this part alone, in an empty WSPY_HOME; or only some of it:
    python benchmarks/atlas.py pass agreement growth

All passes hear the same clips in the same process and take turns, and each one's best time counts. Ratios are those of
the clock, and next to them of processor time, which other programs on the machine disturb less.
"""

from __future__ import annotations

import heapq
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from process import used

if TYPE_CHECKING:
    import numpy as np
    import torch

    from wspy.atlas import Speed
    from wspy.corpus import Corpus
    from wspy.model import Model

PARTS = ("pass", "agreement", "growth")
PASS_CLIPS = 256
REPEATS = 2
POST_SITE = "encoder.blocks.2.mlp.1"
POST_CLIPS = 50  # its own batch
POST_TOP = 10
GROWTH = (1_000, 10_000)
GROWTH_SITE = "encoder.blocks.0.mlp.1"
GROWTH_WINDOW_S, GROWTH_STEP_S = 0.5, 0.045  # so many windows are cut from the demo corpus, overlapping, all distinct
GROWTH_SCRIPT = f"""
import sys
import wspy
from wspy.atlas import ensure_atlases, kept_atlas
corpus, model = wspy.open_corpus(sys.argv[1]), wspy.load_model("tiny.en", "cpu")
atlas, = ensure_atlases(["{GROWTH_SITE}"], model.reference, corpus, model=lambda: model, speed="condensed")
assert atlas.has_phones
print(kept_atlas(atlas).size_bytes)
"""
TINY_UNITS, LARGE_UNITS = 4 * 1536, 32 * 5120  # encoder neurons of tiny and large-v3
LARGE_DIRECTION_BYTES = 2 * (
    1280 - 384
)  # what a direction in the residual stream of large-v3 takes more than in tiny's


@dataclass(frozen=True)
class Row:
    """One number and what it should be."""

    what: str
    measured: str
    goal: str = ""


def main() -> None:
    import wspy

    with tempfile.TemporaryDirectory() as home:
        os.environ["WSPY_HOME"] = home
        wspy.make_corpus("demo", "demo")
        rows = atlas_rows(Path(home), sys.argv[1:] or PARTS)
    width = max(len(row.what) for row in rows)
    for row in rows:
        print(f"{row.what:<{width}}  {row.measured:>16}  {row.goal}")


def atlas_rows(home: Path, parts: Sequence[str] = PARTS) -> list[Row]:
    """Everything about atlases, over clips of the demo corpus in this `WSPY_HOME`."""
    import wspy
    from wspy.corpus import Corpus

    model, demo = wspy.load_model("tiny.en", "cpu"), wspy.open_corpus("demo")
    two_seconds = [clip for clip in demo.clips if clip.duration_s <= 2.5][:PASS_CLIPS]
    corpus = Corpus.in_memory("bench", ((demo.audio(clip), clip, demo.alignment(clip)) for clip in two_seconds))
    measures: dict[str, Callable[[], list[Row]]] = {
        "pass": lambda: pass_rows(model, corpus),
        "agreement": lambda: agreement_rows(model, corpus),
        "growth": lambda: growth_rows(home, demo),
    }
    return [row for part in parts for row in measures[part]()]


def pass_rows(model: Model, corpus: Corpus) -> list[Row]:
    """The pass reads sounds, makes spectrograms, runs the encoder and gathers all statistics of all its neurons, phones
    included; the bare encoder gets finished spectrograms."""
    import numpy as np
    from whisper.model import disable_sdpa

    from wspy.atlas import find_probes
    from wspy.model import mel_batch

    sites = [probe.name for probe in find_probes(["encoder.blocks.*.mlp.1"], model.reference)]
    mels = mel_batch(model, [corpus.audio(clip) for clip in corpus.clips])
    times = taking_turns(
        {
            "bare": lambda: hear_bare(model, mels),
            "exact": lambda: build_atlas(model, corpus, sites, "exact"),
            "condensed": lambda: build_atlas(model, corpus, sites, "condensed"),
        }
    )
    n_units = len(sites) * model.dims.d_mlp
    n = len(corpus.clips)
    mean_s = sum(clip.duration_s for clip in corpus.clips) / n
    some = mels[:POST_CLIPS]
    with disable_sdpa():
        loop = spent(lambda: hear_as_the_post(model, some))
    fused_loop = spent(lambda: hear_as_the_post(model, some))
    silent_loop = spent(lambda: hear_as_the_post(model, some, transcribe=False))
    post, fused, silent = (model.dims.d_mlp * POST_CLIPS / np.array(one) for one in (loop, fused_loop, silent_loop))
    exact, condensed = (n_units * n / np.array(times[speed]) for speed in ("exact", "condensed"))
    bare = np.array(times["bare"])
    return [
        Row(f"bare encoder, {n} clips of {mean_s:.1f} s", f"{bare[0]:.1f} s"),
        *ratio_rows("atlas pass, all encoder neurons / bare encoder", times["exact"] / bare, "at most 1.15 x"),
        *ratio_rows("exact pass / condensed pass", condensed / exact, "at least 3.5 x"),
        Row("neuron-clips a second, loop in the post's manner", f"{post[0]:,.0f}"),
        Row("the same with fused attention", f"{fused[0]:,.0f}"),
        Row("the same without transcripts, too", f"{silent[0]:,.0f}"),
        Row("neuron-clips a second, exact", f"{exact[0]:,.0f}"),
        Row("neuron-clips a second, condensed", f"{condensed[0]:,.0f}"),
        *ratio_rows("exact / loop in the post's manner", exact / post),
        *ratio_rows("condensed / loop in the post's manner", condensed / post, "at least 50 x"),
        *ratio_rows("condensed / the loop with fused attention", condensed / fused),
        *ratio_rows("condensed / that loop without transcripts", condensed / silent),
    ]


def ratio_rows(what: str, ratio: np.ndarray, goal: str = "") -> list[Row]:
    """By the clock, and in processor time."""
    return [Row(what, f"{ratio[0]:.2f} x", goal), Row("  in processor time", f"{ratio[1]:.2f} x")]


Spent = tuple[float, float]
"""Seconds of the clock and of all processors."""


def spent(work: Callable[[], None]) -> Spent:
    """What some work takes."""
    clock, processor = time.monotonic(), time.process_time()
    work()
    return time.monotonic() - clock, time.process_time() - processor


def taking_turns(measures: dict[str, Callable[[], None]]) -> dict[str, Spent]:
    """The best of several times of each."""
    times: dict[str, list[Spent]] = {name: [] for name in measures}
    for _ in range(REPEATS):
        for name, work in measures.items():
            times[name].append(spent(work))
    return {name: (min(one[0] for one in found), min(one[1] for one in found)) for name, found in times.items()}


def bare_seconds(model: Model, mels: torch.Tensor) -> float:
    """How long the encoder alone takes, by the clock."""
    return spent(lambda: hear_bare(model, mels))[0]


def hear_bare(model: Model, mels: torch.Tensor) -> None:
    """The encoder alone."""
    import torch

    from wspy.model import encode, windows_at_once

    with torch.inference_mode():
        n = windows_at_once(model)
        for first in range(0, len(mels), n):
            encode(model, mels[first : first + n])


def build_atlas(model: Model, corpus: Corpus, sites: Sequence[str], speed: Speed) -> None:
    """Build the atlases of some sites from nothing, on disk at the end, and drop them."""
    from wspy.atlas import ensure_atlases

    for atlas in ensure_atlases(sites, model.reference, corpus, model=lambda: model, speed=speed):
        shutil.rmtree(atlas.folder)


def hear_as_the_post(model: Model, mels: torch.Tensor, *, transcribe: bool = True) -> None:
    """The way of the post's repository (er537/whisper_interpretability, `max_activating_segments.py`): one layer, a
    hook, whisper's own decoding of the batch, the neurons as a dictionary of unit vectors, and then, clip by clip and
    neuron by neuron in Python, maximum, mean, transcript and a heap with what belongs to its entries.

    When that was written, in 2023, openai-whisper computed attention step by step, as it still does under its
    `disable_sdpa`; it has had the fused kernel since September 2024.

    Args:
        transcribe: Without, the encoder alone runs, and no transcript is kept.
    """
    import torch
    import whisper

    kept: list[torch.Tensor] = []
    heaps: list[list[float]] = [[] for _ in range(model.dims.d_mlp)]
    known: list[dict[float, tuple[int, str]]] = [{} for _ in heaps]
    means = [0.0] * len(heaps)
    tokenizer, options = model.tokenizer(), whisper.DecodingOptions(language="en", fp16=False)
    hook = model.whisper.get_submodule(POST_SITE).register_forward_hook(lambda *parts: kept.append(parts[2]))
    with torch.inference_mode():
        tokens: list[list[int]] = [[]] * len(mels)
        if transcribe:
            tokens = [one.tokens for one in whisper.decode(model.whisper, mels, options)]
        else:
            model.whisper.encoder(mels)
        activations = torch.relu(kept.pop() @ torch.eye(model.dims.d_mlp))
        for at in range(len(mels)):
            for neuron, heap in enumerate(heaps):
                values = activations[at, :, neuron]
                peak = values.max().item()
                means[neuron] += (values.mean().item() - means[neuron]) / (at + 1)
                known[neuron][peak] = at, tokenizer.decode(tokens[at]) if transcribe else ""
                if len(heap) < POST_TOP:
                    heapq.heappush(heap, peak)
                else:
                    known[neuron].pop(heapq.heappushpop(heap, peak), None)
    hook.remove()


def agreement_rows(model: Model, corpus: Corpus) -> list[Row]:
    """How well the condensed pass agrees with the exact one, on the same clips."""
    from wspy.model import measure_agreement

    found = measure_agreement(model, "encoder.blocks.*.mlp.1", (corpus.audio(clip) for clip in corpus.clips))
    return [
        Row(
            f"condensed against exact, {one.site}, median r (5th percentile)",
            f"{one.quantile(0.5):.5f} ({one.quantile(0.05):.3f})",
            "median at least 0.998",
        )
        for one in found
    ]


def growth_rows(home: Path, demo: Corpus) -> list[Row]:
    """Peak memory of a pass, phones included, over a corpus and over one ten times as large, each in a process of its
    own; and what the larger atlas takes on disk."""
    peaks, sizes = [], []
    for n_clips in GROWTH:
        name = f"growth-{n_clips}"
        make_windows(home, demo, name, n_clips)
        done = used([sys.executable, "-c", GROWTH_SCRIPT, name])
        peaks.append(done.peak_mb)
        sizes.append(int(done.printed))
    small, large = (f"{n:,}" for n in GROWTH)
    per_unit = sizes[-1] / (TINY_UNITS / 4)
    large_v3 = LARGE_UNITS * (per_unit + LARGE_DIRECTION_BYTES)
    return [
        Row(f"peak memory of a pass, {small} clips", f"{peaks[0]:.0f} MB"),
        Row(f"peak memory, {large} clips / {small} clips", f"{peaks[1] / peaks[0]:.2f} x", "at most 1.1 x"),
        Row(f"atlas of one layer over {large} clips, a unit", f"{per_unit / 1e3:.1f} kB"),
        Row("that for all encoder neurons of tiny", f"{TINY_UNITS * per_unit / 1e6:.0f} MB", "at most 150 MB"),
        Row("that for all encoder neurons of large-v3", f"{large_v3 / 1e9:.1f} GB", "at most 4 GB"),
    ]


def make_windows(home: Path, demo: Corpus, name: str, n_clips: int) -> None:
    """A corpus of short windows of the demo corpus' sounds, with their phones."""
    import soundfile

    import wspy
    from wspy.audio import SAMPLE_RATE

    folder = home / name
    folder.mkdir()
    rows, phones = ["path,start_s,end_s,text"], ["path,start_s,end_s,label"]
    for clip in demo.clips:
        path = folder / f"{clip.id.replace('/', '_')}.wav"
        n_windows = int((clip.duration_s - GROWTH_WINDOW_S) / GROWTH_STEP_S)
        starts = [at * GROWTH_STEP_S for at in range(min(n_windows, n_clips + 1 - len(rows)))]
        if starts:
            soundfile.write(path, demo.audio(clip), SAMPLE_RATE, subtype="PCM_16")
            rows += [f"{path},{start:.3f},{start + GROWTH_WINDOW_S:.3f}," for start in starts]
            alignment = demo.alignment(clip)
            phones += [f"{path},{i.start_s},{i.end_s},{i.label}" for i in (alignment.phones if alignment else ())]
    assert len(rows) == n_clips + 1, "the demo corpus is too short for so many windows"
    manifest, table = folder / "manifest.csv", folder / "phones.csv"
    manifest.write_text("\n".join(rows), encoding="utf-8")
    table.write_text("\n".join(phones), encoding="utf-8")
    wspy.make_corpus(name, str(manifest), phones=table)


if __name__ == "__main__":
    main()
