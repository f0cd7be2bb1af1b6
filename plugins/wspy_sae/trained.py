"""From the command to a dictionary that is kept: checks, training, and the record of how it was made.

While a dictionary is being trained, `trainings/NAME` in wspy's home holds its checkpoint, and on request its
activations and logs. Once it is finished, the dictionary lies in `dictionaries/NAME`, with `training.json` beside its
weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wspy.files import home, locked, write_atomic
from wspy.progress import Progress, Silent
from wspy_sae.checkpoint import CHECKPOINT
from wspy_sae.dictionary import Dictionary, DictionaryConfig
from wspy_sae.engine import make_engine
from wspy_sae.settings import TrainSettings
from wspy_sae.store import (
    UnknownDictionary,
    check_name,
    dictionary_folder,
    list_dictionaries,
    save_dictionary,
)
from wspy_sae.stream import clip_frames
from wspy_sae.train import CHECKPOINT_S, Fitted, check_size, encoder_site, fit, make_stream, open_source, split_clips
from wspy_sae.train_errors import AlreadyTrained

if TYPE_CHECKING:
    from wspy.corpus import Clip, Corpus
    from wspy.model import Model, ModelReference

RECORD = "training.json"
ACTIVATIONS = "activations.npy"
LOGS = "logs"


class Report(BaseModel):
    """How training stood at a step, by one batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int = Field(description="Updates so far.")
    fvu: float = Field(description="Fraction of variance unexplained.")
    l0: float = Field(description="Active features per frame.")
    dead: float = Field(description="Share of the features that have not fired for long.")


class TrainingRecord(BaseModel):
    """training.json: how a dictionary was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: TrainSettings = Field(description="What was asked for.")
    model: str = Field(description="Name of the model.")
    model_sha256: str = Field(description="Hash of its weights.")
    corpus: str = Field(description="Name of the corpus.")
    corpus_hash: str = Field(description="Hash of its clips.")
    n_clips: int = Field(description="Clips that were trained on.")
    n_frames: int = Field(description="Frames of 20 ms in them.")
    seconds: float = Field(description="Time that the updates took.")
    history: tuple[Report, ...] = Field(description="Now and then, from the first step to the last.")


def training_folder(name: str) -> Path:
    """Where a dictionary is while it is being trained.

    Raises:
        BadTraining: a name that is no plain folder name.
    """
    check_name(name)
    return home() / "trainings" / name


def train_dictionary(
    name: str,
    settings: TrainSettings,
    reference: ModelReference,
    corpus: Corpus,
    *,
    model: Callable[[], Model],
    device: torch.device | None = None,
    keep_activations: bool = False,
    tensorboard: bool = False,
    checkpoint_s: float = CHECKPOINT_S,
    progress: Progress | None = None,
) -> tuple[Dictionary, TrainingRecord, Path]:
    """Train a dictionary and keep it, going on from where an earlier call was interrupted.

    Args:
        model: gives the loaded model; called when everything has been checked.
        checkpoint_s: seconds between checkpoints.
        keep_activations: write them to disk, from where every later training of the name reads them.

    Returns:
        The dictionary, the record of its training, and the folder in which both are.

    Raises:
        AlreadyTrained: the name is taken.
        UnknownSite, NotAnEncoderSite, BadTraining, TooFewFrames: what was asked for cannot be trained.
        OtherSettings, DamagedCheckpoint: what was begun under this name does not fit, or cannot be read.
        BadActivations, Diverged: the model or the training gives numbers that are not finite.
        MissingExtra: Accelerate is needed and not installed.
    """
    progress = progress or Silent()
    begun, finished = training_folder(name), dictionary_folder(name)
    if finished.exists():
        raise AlreadyTrained(name)
    site = encoder_site(settings.site, reference)
    clips, _ = split_clips(corpus, settings.held_out, settings.seed)
    check_size(settings, corpus, clips)
    engine = make_engine(settings.precision, device or torch.device("cpu"), begun / LOGS if tensorboard else None)
    check_size(settings, corpus, clips, engine.n_ranks)
    identity = {"model": reference.sha256, "corpus": corpus.hash, "processes": str(engine.n_ranks)}
    quiet = progress if engine.rank == 0 else Silent()
    lock = begun if engine.rank == 0 else begun.with_name(f"{name}.{engine.rank}")
    with locked(lock, f"the dictionary {name!r}"):
        kept = begun / ACTIVATIONS if keep_activations else None
        if engine.rank:  # the first process writes the kept activations, if any, and the others read them
            engine.wait()
        source = open_source(settings, model(), corpus, clips, kept, quiet)
        if not engine.rank:
            engine.wait()
        fitted = fit(
            settings,
            make_stream(settings, source, engine, quiet),
            engine,
            folder=begun,
            identity=identity,
            progress=quiet,
            checkpoint_s=checkpoint_s,
        )
        dictionary = to_dictionary(fitted, settings, reference, corpus)
        record = TrainingRecord(
            settings=settings,
            model=reference.name,
            model_sha256=reference.sha256,
            corpus=corpus.name,
            corpus_hash=corpus.hash,
            n_clips=len(clips),
            n_frames=sum(clip_frames(clip) for clip in clips),
            seconds=fitted.seconds,
            history=tuple(Report.model_validate(report) for report in fitted.history),
        )
        if engine.rank == 0:
            folder = save_dictionary(dictionary, name)
            write_atomic(folder / RECORD, record.model_dump_json(indent=1))
            _tidy(begun, keep=keep_activations or tensorboard)
        engine.wait()
        engine.finish()
    assert dictionary.config.d_in == site.n_units
    return dictionary, record, finished


def _tidy(begun: Path, *, keep: bool) -> None:
    """Leave activations and logs where they were asked for, and nothing else."""
    if keep:
        (begun / CHECKPOINT).unlink(missing_ok=True)
    else:
        shutil.rmtree(begun, ignore_errors=True)


def read_record(name: str) -> TrainingRecord | None:
    """How a dictionary was trained; None for one that came from elsewhere, or was written by another version."""
    path = dictionary_folder(name) / RECORD
    try:
        return TrainingRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def held_out_clips(record: TrainingRecord | None, corpus: Corpus) -> list[Clip]:
    """The clips of a corpus that a dictionary has not been trained on."""
    if record is None or record.corpus_hash != corpus.hash:
        return list(corpus.clips)
    return split_clips(corpus, record.settings.held_out, record.settings.seed)[1]


@torch.no_grad()
def to_dictionary(fitted: Fitted, settings: TrainSettings, reference: ModelReference, corpus: Corpus) -> Dictionary:
    """What was trained, as it encodes single frames of activations as they are.

    Training saw them times a scale s. All that `active` does is homogeneous, so features of unscaled activations are
    those of scaled ones over s once the biases and thresholds are: the rows of the decoder keep the length 1.
    """
    learner = fitted.learner.cpu()
    thresholded = settings.architecture in ("batchtopk", "matryoshka", "jumprelu")
    config = DictionaryConfig(
        architecture="jumprelu" if thresholded else "topk" if settings.architecture == "topk" else "relu",
        trained_as="random" if settings.frozen_decoder else settings.architecture,
        d_in=learner.d_in,
        d_sae=settings.d_sae,
        k=None if learner.tied else settings.k,
        site=settings.site,
        model_name=reference.name,
        model_sha256=reference.sha256,
        published_name=reference.published_name,
        corpus=corpus.name,
        corpus_hash=corpus.hash,
        tied=learner.tied,
        apply_b_dec_to_input=not learner.tied,
    )
    dictionary = Dictionary(config)
    dictionary.W_dec.copy_(learner.W_dec)
    dictionary.W_enc.copy_((learner.W_dec if learner.tied else learner.W_enc).t())
    dictionary.b_enc.copy_(learner.b_enc / fitted.scale)
    if not learner.tied:
        dictionary.b_dec.copy_(learner.b_dec / fitted.scale)
    if settings.architecture == "jumprelu":
        dictionary.threshold.copy_(learner.threshold / fitted.scale)
    elif fitted.threshold is not None:
        dictionary.threshold.fill_(fitted.threshold / fitted.scale)
    return dictionary


def remove_dictionary(name: str) -> None:
    """Delete a dictionary, with what is left of its training.

    Raises:
        UnknownDictionary: there is neither.
    """
    begun, finished = training_folder(name), dictionary_folder(name)
    if not begun.exists() and not finished.exists():
        raise UnknownDictionary(name, list_dictionaries())
    with locked(begun, f"the dictionary {name!r}"):
        for folder in (begun, finished):
            if folder.exists():
                shutil.rmtree(folder)
