"""Prints the table of dictionaries in docs/dictionaries.md: architectures and k, in the manner of ViT-Prisma's, with
WER.

    python benchmarks/dictionary_table.py --steps 400

Every dictionary is trained on the same clips of natural English speech, and judged on clips that none of them has
heard: reconstruction over all their frames, cross-entropy and WER over all their texts. Behind CE and WER stand 95 %
intervals, by clips drawn anew: there are few, and one on which the model repeats itself moves the WER by points.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dictionaries import BATCH, HELD_OUT, SITE, WIDTH, natural_speech, read_activations

if TYPE_CHECKING:
    from wspy_sae.dictionary import Dictionary
    from wspy_sae.downstream import Cost, Replacement
    from wspy_sae.evaluate import Reconstruction
    from wspy_sae.settings import Trainable

KS = (16, 32, 64)
ARCHITECTURES: tuple[Trainable, ...] = ("batchtopk", "topk", "jumprelu", "matryoshka")
COLUMNS = (
    "dictionary",
    "features",
    "k",
    "L0",
    "FVU",
    "cosine",
    "CE clean",
    "CE",
    "95 %",
    "CE zero",
    "CE recovered",
    "WER clean",
    "WER",
    "95 %",
    "WER zero",
    "dead",
    "training",
)


class Bench:
    """The speech, its activations, and what the model writes without and with ablations."""

    def __init__(self) -> None:
        import torch

        import wspy
        from wspy_sae.train import split_clips

        self.model, self.corpus = wspy.load_model("tiny.en", "cpu"), natural_speech()
        heard, self.clips = split_clips(self.corpus, HELD_OUT, seed=0)
        self.heard = read_activations(self.model, self.corpus, heard)
        self.held_out = read_activations(self.model, self.corpus, self.clips)
        base = self.costs({"clean": None, "zero": torch.zeros_like})
        self.clean, self.zero = base["clean"], base["zero"]

    def costs(self, replacements: Mapping[str, Replacement | None]) -> dict[str, Cost]:
        from wspy.progress import Silent
        from wspy_sae.downstream import measure_costs

        return measure_costs(self.model, self.corpus, self.clips, SITE, replacements, Silent())[0]

    def row(self, name: str, dictionary: Dictionary, seconds: float | None) -> str:
        """One line of the table."""
        from wspy_sae.evaluate import reconstruct

        found, _ = reconstruct(dictionary, [self.held_out])
        cost = self.costs({name: dictionary})[name]
        return self.line(name, dictionary, found, cost, seconds)

    def line(self, name: str, dictionary: Dictionary, found: Reconstruction, cost: Cost, seconds: float | None) -> str:
        import numpy as np

        from wspy.model import pooled_wer, ratio_interval, wer_interval
        from wspy_sae.downstream import recovered

        clean, zero = self.clean.cross_entropy, self.zero.cross_entropy
        saved = recovered(clean, cost.cross_entropy, zero)
        wer_clean, wer, wer_zero = (pooled_wer(one.errors) for one in (self.clean, cost, self.zero))
        ce_range = ratio_interval(cost.losses, cost.n_tokens, np.random.default_rng(0))
        wer_range = wer_interval(cost.errors, np.random.default_rng(0))
        cells = (
            name,
            f"{dictionary.config.d_sae:,}",
            str(dictionary.config.k or ""),
            f"{found.l0:.1f}",
            f"{found.fvu:.3f}",
            f"{found.cosine:.3f}",
            f"{clean:.3f}",
            f"{cost.cross_entropy:.3f}",
            "" if ce_range is None else f"{ce_range[0]:.2f} to {ce_range[1]:.2f}",
            f"{zero:.2f}",
            "" if saved is None else f"{saved:.1%}",
            "" if wer_clean is None else f"{wer_clean:.1%}",
            "" if wer is None else f"{wer:.1%}",
            "" if wer_range is None else f"{wer_range[0]:.0%} to {wer_range[1]:.0%}",
            "" if wer_zero is None else f"{wer_zero:.1%}",
            f"{found.dead:.1%}",
            "" if seconds is None else f"{seconds:.0f} s",
        )
        return f"| {' | '.join(cells)} |"

    def train(self, architecture: Trainable, k: int, d_sae: int, steps: int) -> tuple[Dictionary, float]:
        """One dictionary, and how long its training took."""
        from wspy_sae.engine import Plain
        from wspy_sae.settings import TrainSettings
        from wspy_sae.stream import TensorSource
        from wspy_sae.train import fit, make_stream
        from wspy_sae.trained import to_dictionary

        settings = TrainSettings(site=SITE, architecture=architecture, d_sae=d_sae, k=k, steps=steps, batch=BATCH)
        start = time.perf_counter()
        fitted = fit(settings, make_stream(settings, TensorSource(self.heard), Plain()))
        seconds = time.perf_counter() - start
        return to_dictionary(fitted, settings, self.model.reference, self.corpus), seconds


def main() -> None:
    from wspy_sae.controls import random_like
    from wspy_sae.settings import POST_WIDTH

    parser = argparse.ArgumentParser(description="Print the table of dictionaries.")
    parser.add_argument("--steps", type=int, default=400, help="Updates of each dictionary.")
    steps = parser.parse_args().steps
    bench = Bench()
    frames = f"{len(bench.heard):,} frames to train on, {len(bench.held_out):,} of {len(bench.clips)} clips to judge by"
    print(f"{SITE} of {bench.model.name}, {steps} updates of {BATCH} frames, {frames}\n")
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"| --- {'| ---: ' * (len(COLUMNS) - 1)}|", flush=True)
    for k in KS:
        for architecture in ARCHITECTURES:
            dictionary, seconds = bench.train(architecture, k, WIDTH, steps)
            print(bench.row(architecture, dictionary, seconds), flush=True)
            if architecture == "batchtopk":
                control: Dictionary = random_like(dictionary, bench.heard[:: max(len(bench.heard) // 20_000, 1)])
                print(bench.row("random directions", control, None), flush=True)
    dictionary, seconds = bench.train("relu", 32, POST_WIDTH, steps)
    print(bench.row("relu, the post's form", dictionary, seconds), flush=True)


if __name__ == "__main__":
    main()
