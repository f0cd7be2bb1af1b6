"""Training a sparse dictionary beside SAELens, on the same activations; part of `make bench`.

Both trainers get the same frames of natural speech, at `encoder.blocks.2` of tiny.en, through the same stream: the same
batches in the same order, but that SAELens first draws 16 to estimate its scale, and so is 16 batches further on. Both
make the same number of updates of the same batch in single precision, in one process with the same threads.

SAELens trains twice: with the learning rate, warm-up and decay of ours and its scaling of activations (the fair
comparison, and its better result), and with all of its own defaults (3e-4, constant, activations as they are). All else
is each one's own: ours is FVU as loss, unit rows, b_dec from the mean; SAELens' is MSE, rows of 0.1, b_dec from 0.

Times are wall times of the whole training, the estimate of the scale and of the threshold included. FVU is measured on
clips that neither has heard, at an L0 of exactly k for both: the k * batch highest pre-activations of the whole
held-out batch.
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
SAELENS_LR = 3e-4


@dataclass(frozen=True, eq=False)
class Trained:
    """What one trainer reached."""

    frames_per_second: float
    fvu: float
    l0: float


def dictionary_rows() -> list[Row]:
    """Throughput and FVU of both trainers, or one line that says what is missing."""
    import torch

    import wspy
    from wspy_sae.settings import TrainSettings
    from wspy_sae.train import split_clips

    threads = f"{torch.get_num_threads()} threads" if torch.get_num_threads() > 1 else "1 thread"
    title = f"dictionary of {WIDTH} features, k = {K}, {STEPS} updates of {BATCH} frames, {threads}"
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
    defaults = train_saelens(settings, heard, held_out, tuned=False)
    return [
        Row(f"{title}: frames a second", f"{ours.frames_per_second:,.0f}"),
        Row("the same by SAELens' BatchTopK", f"{theirs.frames_per_second:,.0f}"),
        Row("the same by SAELens' BatchTopK, its own defaults", f"{defaults.frames_per_second:,.0f}"),
        Row("throughput, ours / SAELens", f"{ours.frames_per_second / theirs.frames_per_second:.1f} x", "at least 1 x"),
        Row(f"FVU of clips not heard, ours, L0 {ours.l0:.1f}", f"{ours.fvu:.4f}"),
        Row(f"FVU of clips not heard, SAELens, L0 {theirs.l0:.1f}", f"{theirs.fvu:.4f}"),
        Row(f"FVU of clips not heard, SAELens' defaults, L0 {defaults.l0:.1f}", f"{defaults.fvu:.4f}"),
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


def train_saelens(
    settings: TrainSettings, heard: torch.Tensor, held_out: torch.Tensor, *, tuned: bool = True
) -> Trained:
    """SAELens' BatchTopK trainer.

    Args:
        tuned: with our learning rate and scaled activations, instead of its defaults.
    """
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
            normalize_activations="expected_average_only_in" if tuned else "none",
        )
    )
    rate = settings.peak_lr if tuned else SAELENS_LR
    config = SAETrainerConfig(
        n_checkpoints=0,
        checkpoint_path=None,
        save_final_checkpoint=False,
        total_training_samples=settings.steps * settings.batch,
        device="cpu",
        autocast=False,
        lr=rate,
        lr_end=rate / 10,
        lr_scheduler_name="constant",
        lr_warm_up_steps=round(WARM_UP_SHARE * settings.steps) if tuned else 0,
        lr_decay_steps=round(DECAY_SHARE * settings.steps) if tuned else 0,
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
