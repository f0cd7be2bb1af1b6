"""What the analyses of attention cost: windows beside plain passes of the encoder, and rollout; part of `make bench`.

By itself, `python benchmarks/attention.py` makes the demo corpus where WSPY_HOME has none, and hears as many clips
through windows as its argument says, 100 without.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from atlas import Row, bare_seconds
from process import WSPY, Usage, used

if TYPE_CHECKING:
    import torch

    from wspy.corpus import Corpus
    from wspy.model import Model, Transcription

SWEEP_CLIPS = 100
PLAIN_CLIPS = 32  # heard before the sweep and after it
ROLLOUT_S = 30.0


def attention_rows(home: Path, n_clips: int = SWEEP_CLIPS) -> list[Row]:
    """Everything about attention, over clips of the demo corpus in this `WSPY_HOME`."""
    import wspy

    model, demo = wspy.load_model("tiny.en", "cpu"), wspy.open_corpus("demo")
    return [*rollout_rows(home, demo), *sweep_rows(model, demo, n_clips)]


@dataclass
class Spent:
    """Seconds on the wall, and of all cores together: the latter hardly depend on what else the machine does."""

    wall: float = 0.0
    processor: float = 0.0

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Add what passes inside the `with`."""
        wall, processor = time.monotonic(), time.process_time()
        yield
        self.wall += time.monotonic() - wall
        self.processor += time.process_time() - processor


def sweep_rows(model: Model, demo: Corpus, n_clips: int) -> list[Row]:
    """`wspy analyze window` as a user runs it, less the time in which the decoder writes: that depends on what it
    writes, and a narrow window makes it repeat itself. Left are spectrograms, masked passes and word errors."""
    import wspy
    from wspy.corpus import Corpus
    from wspy.model import mel_batch, transcribe_mixed
    from wspy_window import SWEEP

    decoding, whole, plain = Spent(), Spent(), Spent()

    def transcribe(model: Model, features: torch.Tensor, languages: list[str | None]) -> list[Transcription]:
        with decoding.counting():
            return transcribe_mixed(model, features, languages)

    corpus = Corpus.in_memory("bench", ((demo.audio(clip), clip, None) for clip in demo.clips[:n_clips]))
    n_plain = min(PLAIN_CLIPS, n_clips)
    mels = mel_batch(model, [corpus.audio(clip) for clip in corpus.clips[:n_plain]])
    with plain.counting():
        bare_seconds(model, mels)
    with mock.patch("wspy_window.sweep.transcribe_mixed", transcribe), whole.counting():
        wspy.analyze("window", corpus=corpus, model=model, limit=n_clips)
    with plain.counting():
        bare_seconds(model, mels)
    n_windows = len(SWEEP) + 1  # and the full one
    passes = n_windows * n_clips / (2 * n_plain)
    wall = (whole.wall - decoding.wall) / (plain.wall * passes)
    processor = (whole.processor - decoding.processor) / (plain.processor * passes)
    return [
        Row(f"{n_windows} plain passes of the encoder, {n_clips} clips", f"{plain.wall * passes:.0f} s"),
        Row(f"window, {n_windows} windows over {n_clips} clips", f"{whole.wall:.0f} s"),
        Row("  of these, decoding", f"{decoding.wall:.0f} s"),
        Row("  the rest / the plain passes", f"{wall:.2f} x", "at most 1.3 x"),
        Row("  the same in processor time", f"{processor:.2f} x", "at most 1.3 x"),
    ]


def rollout_rows(home: Path, demo: Corpus) -> list[Row]:
    """`wspy analyze rollout` as a whole process, for the encoder over a full window, and for every token."""
    import numpy as np

    from wspy.audio import SAMPLE_RATE, write_wav

    full, sentence = home / "rollout-30s.wav", home / "rollout-sentence.wav"
    samples = np.concatenate([demo.audio(clip) for clip in demo.clips[:40]])[: round(ROLLOUT_S * SAMPLE_RATE)]
    assert len(samples) == round(ROLLOUT_S * SAMPLE_RATE), "the demo corpus is too short"
    write_wav(full, samples)
    clip = demo.clips[0]
    write_wav(sentence, demo.audio(clip))
    whole, words = rollout(full), rollout(sentence, "--target", "words")
    return [
        Row(f"rollout, {ROLLOUT_S:.0f} s of speech", f"{whole.seconds:.1f} s", "under 15 s"),
        Row("rollout, processor time of all cores", f"{whole.processor_s:.1f} s"),
        Row("rollout, peak memory", f"{whole.peak_mb:.0f} MB", "under 4,096 MB"),
        Row(f"rollout of every token, a sentence of {len((clip.text or '').split())} words", f"{words.seconds:.1f} s"),
    ]


def rollout(path: Path, *arguments: str) -> Usage:
    """Run it, with what its report takes to write."""
    return used([*WSPY, "analyze", "rollout", str(path), *arguments, "--quiet"], dict(os.environ))


def main() -> None:
    import tempfile

    import wspy

    if "demo" not in {corpus.name for corpus in wspy.list_corpora()}:
        wspy.make_corpus("demo", "demo")
    with tempfile.TemporaryDirectory() as folder:
        print_rows(attention_rows(Path(folder), int(sys.argv[1]) if sys.argv[1:] else SWEEP_CLIPS))


def print_rows(rows: Sequence[Row]) -> None:
    width = max(len(row.what) for row in rows)
    for row in rows:
        print(f"{row.what:<{width}}  {row.measured:>16}  {row.goal}")


if __name__ == "__main__":
    main()
