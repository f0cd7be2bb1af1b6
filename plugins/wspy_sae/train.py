"""Training a sparse dictionary: from a site and a corpus to a `Dictionary`.

The loop is the usual one (see `fit`): a batch of activations, the loss, the gradient without what would only change
the length of the decoder's rows, one step of Adam, and the rows brought back to the length 1. The learning rate rises
over the first twentieth of the steps (at most 1,000) and falls to zero over the last fifth. `relu` follows the post's
repository instead: RAdam, a cosine, activations as they are.

A checkpoint is written every half minute. Since the order of batches follows from the seed, training that was killed
goes on to the very same weights.
"""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from wspy.model import match_sites
from wspy.progress import Progress, Silent
from wspy_sae.checkpoint import CHECKPOINT, Standing, load_checkpoint, restore, save_checkpoint
from wspy_sae.engine import Engine, Plain
from wspy_sae.learner import Learner
from wspy_sae.settings import TrainSettings
from wspy_sae.sparse import top_of_batch
from wspy_sae.stream import BYTES, ActivationStream, ModelSource, Source, clip_frames, keep
from wspy_sae.train_errors import BadTraining, Diverged, NotAnEncoderSite, OtherSettings, TooFewFrames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from wspy.corpus import Clip, Corpus
    from wspy.model import Model, ModelReference, Site

CHECKPOINT_S = 30.0
REPORTS = 20
"""How often training says how it stands."""
WARM_UP_SHARE, WARM_UP_MOST = 0.05, 1000
DECAY_SHARE = 0.2
GRADIENT_NORM = 1.0
CALIBRATION_BATCHES = 16


@dataclass(frozen=True, eq=False)
class Fitted:
    """What training gave."""

    learner: Learner
    scale: float
    """What the activations were multiplied by."""
    threshold: float | None
    """For batchtopk and matryoshka: above which a pre-activation is active, so that k of them are on average."""
    history: list[dict[str, float]]
    """Step, FVU, L0 and dead share now and then, each of one batch of training."""
    seconds: float
    """Time that the updates took, over all sittings."""


# --- what is trained on -----------------------------------------------------------------------------------


def encoder_site(name: str, reference: ModelReference) -> Site:
    """The site of that name, with its number of units.

    Raises:
        UnknownSite: the model has no such site.
        NotAnEncoderSite: it is several sites, of the decoder, or has no value per frame.
    """
    found = match_sites(name, reference.dims)
    if len(found) != 1 or found[0].side != "encoder" or found[0].kind in ("conv", "pattern"):
        raise NotAnEncoderSite(name)
    return found[0]


def split_clips(corpus: Corpus, held_out: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    """The clips to train on, and those to judge by, at random by the seed; at least one of either, given two clips."""
    n = len(corpus.clips)
    n_out = min(max(round(held_out * n), 1), n - 1) if held_out and n > 1 else 0
    out = set(np.random.default_rng([seed, n]).permutation(n)[:n_out].tolist())
    return (
        [clip for at, clip in enumerate(corpus.clips) if at not in out],
        [clip for at, clip in enumerate(corpus.clips) if at in out],
    )


def check_size(settings: TrainSettings, corpus: Corpus, clips: Sequence[Clip], n_ranks: int = 1) -> None:
    """Refuse what cannot be learned from these clips, before anything is heard.

    Raises:
        TooFewFrames: fewer frames than features, or than a batch.
        BadTraining: k is more than there are features, or a batch that the processes cannot share.
    """
    n_frames = sum(clip_frames(clip) for clip in clips)
    if settings.k > settings.d_sae:
        raise BadTraining("--k", settings.k, f"the dictionary has {settings.d_sae} features")
    if settings.batch % n_ranks:
        raise BadTraining("--batch", settings.batch, f"{n_ranks} processes cannot share it evenly")
    if n_frames < settings.d_sae:
        raise TooFewFrames(corpus.name, n_frames, settings.d_sae, f"a dictionary of {settings.d_sae:,} features")
    if n_frames < 2 * settings.batch:
        raise TooFewFrames(corpus.name, n_frames, 2 * settings.batch, f"a batch of {settings.batch:,} (--batch)")


def make_stream(
    settings: TrainSettings, source: Source, engine: Engine, progress: Progress | None = None
) -> ActivationStream:
    """The batches of this process."""
    batch = settings.batch // engine.n_ranks
    capacity = int(settings.memory_gb * 1e9 / (BYTES * source.d_in))
    return ActivationStream(
        source,
        batch,
        seed=settings.seed,
        capacity=max(capacity, 4 * batch),
        rank=engine.rank,
        n_ranks=engine.n_ranks,
        progress=progress,
    )


def open_source(
    settings: TrainSettings,
    model: Model,
    corpus: Corpus,
    clips: Sequence[Clip],
    kept: Path | None = None,
    progress: Progress | None = None,
) -> Source:
    """Activations of these clips: from the model, or from the file `kept`, which is written first if need be."""
    site = encoder_site(settings.site, model.reference)
    source = ModelSource(model, corpus, clips, site.name, site.n_units, settings.speed)
    if kept is None:
        return source
    ids = "\n".join(clip.id for clip in clips)
    key = f"{model.sha256}\n{corpus.hash}\n{site.name}\n{settings.speed}\n{ids}"
    return keep(source, kept, key, progress or Silent())


# --- the loop ---------------------------------------------------------------------------------------------


def fit(
    settings: TrainSettings,
    stream: ActivationStream,
    engine: Engine | None = None,
    *,
    folder: Path | None = None,
    identity: dict[str, str] | None = None,
    progress: Progress | None = None,
    checkpoint_s: float = CHECKPOINT_S,
) -> Fitted:
    """Train on a stream of activations.

    Args:
        folder: where checkpoints go, and where one may be to go on from; None keeps none.
        identity: what the checkpoint must be of: names and values, besides the settings.

    Raises:
        OtherSettings: the folder's checkpoint is of another training.
        DamagedCheckpoint: it cannot be read.
        Diverged: the loss became infinite or NaN.
    """
    engine, progress = engine or Plain(), progress or Silent()
    learner = Learner(settings, stream.source.d_in).to(engine.device)
    optimizer = make_optimizer(learner)
    standing = Standing(0, _identity(settings, identity), 1.0, [], 0.0)
    if folder is not None and (folder / CHECKPOINT).is_file():
        standing = _resume(folder / CHECKPOINT, standing.identity, learner, optimizer)
    else:
        standing = dataclasses.replace(standing, scale=_begin(learner, stream, engine))
    called, stepped = engine.prepare(learner, optimizer)
    batches, saved = stream.batches(standing.step), time.monotonic()
    history, seconds = list(standing.history), standing.seconds
    for step in progress.track(range(standing.step, settings.steps), "Training", unit="steps"):
        x = next(batches).to(engine.device) * standing.scale
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        output = called(x)
        if not math.isfinite(float(output.loss.detach())):
            raise Diverged(step, settings.peak_lr)
        stepped.zero_grad()
        engine.backward(output.loss)
        learner.project_gradient()
        engine.clip(learner, GRADIENT_NORM)
        stepped.step()
        learner.after_step(engine.mean(output.fired.float()) > 0, settings.batch)
        seconds += time.perf_counter() - started
        done = step + 1
        if done % max(settings.steps // REPORTS, 1) == 0 or done == settings.steps:
            history.append(_report(done, settings, output.fvu, output.l0, learner, engine, progress))
        if folder is not None and done < settings.steps and time.monotonic() - saved > checkpoint_s:
            standing = dataclasses.replace(standing, step=done, history=list(history), seconds=seconds)
            if engine.rank == 0:
                save_checkpoint(folder / CHECKPOINT, learner, optimizer, standing)
            saved = time.monotonic()
    threshold = calibrated_threshold(learner, stream, standing.scale)
    return Fitted(learner, standing.scale, threshold, history, seconds)


def make_optimizer(learner: Learner) -> torch.optim.Optimizer:
    """Adam; for the post's form RAdam as in its repository. The learning rate is set at every step."""
    parameters = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    if learner.tied:
        return torch.optim.RAdam(parameters, lr=1.0, eps=1e-5)
    fused = next(learner.parameters()).device.type in ("cpu", "cuda", "mps")
    return torch.optim.Adam(parameters, lr=1.0, betas=(0.9, 0.999), fused=fused)


def learning_rate(settings: TrainSettings, step: int) -> float:
    """Of the update that follows `step` others."""
    if settings.architecture == "relu":
        return settings.peak_lr * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    warm_up = max(min(round(WARM_UP_SHARE * settings.steps), WARM_UP_MOST), 1)
    decay = max(round(DECAY_SHARE * settings.steps), 1)
    return settings.peak_lr * min((step + 1) / warm_up, (settings.steps - step) / decay, 1.0)


def _identity(settings: TrainSettings, of: dict[str, str] | None) -> dict[str, str]:
    return {**{name: str(value) for name, value in settings.model_dump(mode="json").items()}, **(of or {})}


def _resume(path: Path, identity: dict[str, str], learner: Learner, optimizer: torch.optim.Optimizer) -> Standing:
    """Go on from a checkpoint of the same training."""
    standing, tensors = load_checkpoint(path)
    names = identity.keys() | standing.identity.keys()
    different = sorted(name for name in names if identity.get(name) != standing.identity.get(name))
    if different:
        changes = (f"{name}: {standing.identity.get(name)}, now {identity.get(name)}" for name in different)
        raise OtherSettings(path.parent.name, "; ".join(changes))
    restore(learner, optimizer, tensors, path)
    return standing


@torch.no_grad()
def _begin(learner: Learner, stream: ActivationStream, engine: Engine) -> float:
    """Set the first b_dec to the mean of the first buffer, and give the scale that makes the variance one per
    dimension.

    Every process starts from the same numbers: the mean over all of them. The post's form takes activations as they
    are.
    """
    if learner.tied:
        return 1.0
    sample = stream.sample()
    mean = engine.mean(sample.mean(dim=0).to(engine.device))
    variance = engine.mean((sample.to(engine.device) - mean).pow(2).sum(dim=1).mean())
    scale = math.sqrt(sample.shape[1] / max(float(variance), 1e-12))
    learner.b_dec.copy_(mean * scale)
    return scale


def _report(
    done: int,
    settings: TrainSettings,
    fvu: Tensor,
    l0: Tensor,
    learner: Learner,
    engine: Engine,
    progress: Progress,
) -> dict[str, float]:
    dead = float(learner.dead.float().mean())
    found = {"step": done, "fvu": float(engine.mean(fvu)), "l0": float(engine.mean(l0.float())), "dead": dead}
    engine.log(found, done)
    progress.note(f"Step {done} of {settings.steps}: FVU {found['fvu']:.4f}, L0 {found['l0']:.1f}, {dead:.1%} dead")
    return found


@torch.no_grad()
def calibrated_threshold(learner: Learner, stream: ActivationStream, scale: float) -> float | None:
    """For batchtopk and matryoshka the mean, over some batches, of the lowest pre-activation that is kept.

    With this one number a frame can be encoded without its batch. None for the other architectures.
    """
    settings = learner.settings
    if settings.architecture not in ("batchtopk", "matryoshka"):
        return None
    lowest = []
    for x, _ in zip(stream.batches(), range(CALIBRATION_BATCHES), strict=False):
        centred = x.to(learner.W_enc.device) * scale - learner.b_dec
        pre = torch.addmm(learner.b_enc, centred, learner.W_enc.t()).cpu()
        kept = pre.view(-1)[top_of_batch(pre, settings.k * len(pre))]
        lowest.append(float(kept.min()) if len(kept) else 0.0)
    return float(np.mean(lowest))
