"""Training a sparse dictionary beside SAELens, on the same activations; part of `make bench`.

Both trainers get the same frames of natural speech, at `encoder.blocks.2` of tiny.en, and make the same number of
updates of the same batch with the same learning rate, warm-up and decay; all else is each one's own. Times are wall
times of the whole training, each one's estimate of the scale included. FVU is measured on clips that neither has heard,
at an L0 of exactly k for both: the k * batch highest pre-activations of the whole held-out batch.
"""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atlas import Row

if TYPE_CHECKING:
    import torch

    from wspy.corpus import Clip, Corpus
    from wspy.model import Model
    from wspy_sae.settings import TrainSettings

SITE, WIDTH, K, BATCH, STEPS = "encoder.blocks.2", 3072, 32, 2048, 150
SPEECH = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = ("timit_sample", "ps_en", "ljspeech", "asterisk_en", "librivox_ps")
HELD_OUT = 0.1


@dataclass(frozen=True, eq=False)
class Trained:
    """What one trainer reached."""

    frames_per_second: float
    fvu: float
    l0: float


def dictionary_rows() -> list[Row]:
    """Throughput and FVU of both trainers, or one line that says what is missing."""
    import wspy
    from wspy_sae.settings import TrainSettings
    from wspy_sae.train import split_clips

    title = f"dictionary of {WIDTH} features, k = {K}, {STEPS} updates of {BATCH} frames"
    if not (SPEECH / "aligned" / "manifest.csv").is_file():
        return [Row(title, "not measured", f"needs natural speech in {SPEECH}")]
    try:
        import sae_lens  # noqa: F401
    except ImportError:
        return [Row(title, "not measured", "needs sae-lens: the extra `exchange`")]
    model, corpus = wspy.load_model("tiny.en", "cpu"), natural_speech()
    heard, held_out = (read_activations(model, corpus, clips) for clips in split_clips(corpus, HELD_OUT, seed=0))
    settings = TrainSettings(site=SITE, d_sae=WIDTH, k=K, steps=STEPS, batch=BATCH)
    ours, theirs = train_ours(settings, heard, held_out), train_saelens(settings, heard, held_out)
    return [
        Row(f"{title}: frames a second", f"{ours.frames_per_second:,.0f}"),
        Row("the same by SAELens' BatchTopK", f"{theirs.frames_per_second:,.0f}"),
        Row("throughput, ours / SAELens", f"{ours.frames_per_second / theirs.frames_per_second:.1f} x", "at least 1 x"),
        Row(f"FVU of clips not heard, ours, L0 {ours.l0:.1f}", f"{ours.fvu:.4f}"),
        Row(f"FVU of clips not heard, SAELens, L0 {theirs.l0:.1f}", f"{theirs.fvu:.4f}"),
        Row("FVU, ours / SAELens", f"{ours.fvu / theirs.fvu:.2f} x", "at most 1 x"),
    ]


def natural_speech() -> Corpus:
    """English speech of many speakers, with its texts."""
    from wspy.audio import load_audio
    from wspy.corpus import Clip, Corpus

    with (SPEECH / "aligned" / "manifest.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["path"].split("/")[0] in SETS]
    return Corpus.in_memory(
        "natural",
        (
            (
                load_audio(SPEECH / "aligned" / row["path"]),
                Clip(row["path"], text=row["text"], speaker=row["speaker"], language="en"),
                None,
            )
            for row in rows
        ),
    )


def read_activations(model: Model, corpus: Corpus, clips: list[Clip]) -> torch.Tensor:
    """All frames of some clips."""
    from wspy.progress import Silent
    from wspy_sae.stream import ModelSource

    return ModelSource(model, corpus, clips, SITE, model.dims.d_model).read(range(len(clips)), Silent())


def train_ours(settings: TrainSettings, heard: torch.Tensor, held_out: torch.Tensor) -> Trained:
    """wspy's trainer, in one process, from the first batch to the calibrated threshold."""
    import torch

    from wspy_sae.engine import Plain
    from wspy_sae.stream import TensorSource
    from wspy_sae.train import fit, make_stream

    stream = make_stream(settings, TensorSource(heard), Plain())
    start = time.perf_counter()
    fitted = fit(settings, stream)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        judged = fitted.learner(held_out * fitted.scale)
    return Trained(settings.steps * settings.batch / seconds, float(judged.fvu), float(judged.l0))


def train_saelens(settings: TrainSettings, heard: torch.Tensor, held_out: torch.Tensor) -> Trained:
    """SAELens' BatchTopK trainer with its defaults, save what both share."""
    import torch
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    from wspy_sae.engine import Plain
    from wspy_sae.losses import fvu
    from wspy_sae.stream import TensorSource
    from wspy_sae.train import DECAY_SHARE, WARM_UP_SHARE, make_stream

    torch.manual_seed(settings.seed)
    sae = BatchTopKTrainingSAE(
        BatchTopKTrainingSAEConfig(
            d_in=heard.shape[1],
            d_sae=settings.d_sae,
            k=settings.k,
            normalize_activations="expected_average_only_in",
        )
    )
    config = SAETrainerConfig(
        n_checkpoints=0,
        checkpoint_path=None,
        save_final_checkpoint=False,
        total_training_samples=settings.steps * settings.batch,
        device="cpu",
        autocast=False,
        lr=settings.peak_lr,
        lr_end=settings.peak_lr / 10,
        lr_scheduler_name="constant",
        lr_warm_up_steps=round(WARM_UP_SHARE * settings.steps),
        lr_decay_steps=round(DECAY_SHARE * settings.steps),
        adam_beta1=0.9,
        adam_beta2=0.999,
        n_restart_cycles=1,
        n_batches_for_norm_estimate=16,  # its 1,000 would count as time
        train_batch_size_samples=settings.batch,
        dead_feature_window=1000,
        feature_sampling_window=2000,
        logger=LoggingConfig(log_to_wandb=False),
    )
    batches = make_stream(settings, TensorSource(heard), Plain()).batches()
    trainer = SAETrainer(cfg=config, sae=sae, data_provider=batches)
    start = time.perf_counter()
    trained = trainer.fit()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        features = trained.encode(held_out)
        judged = fvu(held_out, trained.decode(features))
    l0 = float((features > 0).sum()) / len(held_out)
    return Trained(settings.steps * settings.batch / seconds, float(judged), l0)


def main() -> None:
    """These rows alone."""
    rows = dictionary_rows()
    width = max(len(row.what) for row in rows)
    for row in rows:
        print(f"{row.what:<{width}}  {row.measured:>16}  {row.goal}")


if __name__ == "__main__":
    main()
