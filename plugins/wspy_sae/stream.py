"""Activations for training: from the model through a bounded buffer, in an order that the seed and the step decide.

Each epoch hears every clip once. Its clips, in random order, are cut into chunks that fit the buffer; a chunk's frames
are shuffled and handed out in batches. What fits the buffer whole is heard once and stays in memory, and each epoch
only shuffles it anew. Frames that do not fill a batch at a chunk's end are left out; they are others in every epoch.

The order depends on nothing but the seed and how many frames each clip has, which is known before anything is heard. So
training can go on from any step and meets the very batches that it would have met.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from wspy.audio import SAMPLE_RATE, n_frames
from wspy.errors import BadActivations
from wspy.model import capture, encode, mel_batch, plan_frames
from wspy.progress import Progress, Silent

if TYPE_CHECKING:
    from jaxtyping import Float

    from wspy.corpus import Clip, Corpus
    from wspy.model import Model
    from wspy_sae.settings import Speed

BATCH_CLIPS = 8
ORDERED_CLIPS = 64  # within so many clips, those of similar length share a pass
BYTES = 4


class Source(Protocol):
    """Where activations come from, clip by clip."""

    @property
    def d_in(self) -> int: ...

    @property
    def lengths(self) -> Sequence[int]:
        """Frames of each clip."""
        ...

    def read(self, clips: Sequence[int], progress: Progress) -> Float[Tensor, "frame d_in"]:
        """The activations of some clips, one after the other."""
        ...


def clip_frames(clip: Clip) -> int:
    """Frames of 20 ms that a clip fills, by its duration."""
    return n_frames(round(clip.duration_s * SAMPLE_RATE))


@dataclass(frozen=True, eq=False)
class ModelSource:
    """Activations that the model computes when they are wanted; padding is left out."""

    model: Model
    corpus: Corpus
    clips: Sequence[Clip]
    site: str
    d_in: int
    speed: Speed = "condensed"

    @property
    def lengths(self) -> Sequence[int]:
        return [clip_frames(clip) for clip in self.clips]

    def read(self, clips: Sequence[int], progress: Progress) -> Float[Tensor, "frame d_in"]:
        lengths = self.lengths
        ends = np.cumsum([lengths[at] for at in clips])
        read = torch.empty(int(ends[-1]) if len(ends) else 0, self.d_in)
        for place, values in self._heard(clips, progress):
            read[int(ends[place]) - len(values) : int(ends[place])] = values
        return read

    def _heard(self, clips: Sequence[int], progress: Progress) -> Iterator[tuple[int, Tensor]]:
        """Each clip's place in `clips` and its activations. Short and long clips apart, to waste no passes."""
        shown = iter(progress.track(range(len(clips)), f"Listening with {self.site}"))
        for first in range(0, len(clips), ORDERED_CLIPS):
            block = sorted(
                range(first, min(first + ORDERED_CLIPS, len(clips))), key=lambda at: self.clips[clips[at]].duration_s
            )
            for start in range(0, len(block), BATCH_CLIPS):
                batch = block[start : start + BATCH_CLIPS]
                yield from self._batch(batch, [self.clips[clips[at]] for at in batch])
                for _ in batch:
                    next(shown)
        next(shown, None)  # so that progress sees the end

    def _batch(self, places: Sequence[int], clips: Sequence[Clip]) -> Iterator[tuple[int, Tensor]]:
        sounds = [self.corpus.audio(clip) for clip in clips]
        plans = [plan_frames(self.model, n_frames(len(s))) if self.speed == "condensed" else None for s in sounds]
        for plan in dict.fromkeys(plans):
            some = [i for i, other in enumerate(plans) if other == plan]
            mels = mel_batch(self.model, [sounds[i] for i in some])
            with torch.inference_mode(), capture(self.model, self.site) as cache:
                encode(self.model, mels, self.site, plan)
            for row, i in enumerate(some):
                values = cache[self.site][row, : n_frames(len(sounds[i]))].flatten(1).float().cpu()
                if not values.isfinite().all():
                    raise BadActivations(clips[i].id, "NaN or infinite")
                yield places[i], values.clone()


@dataclass(frozen=True, eq=False)
class TensorSource:
    """Activations that are there already, as if of clips of one length; for tests and comparisons."""

    values: Float[Tensor, "frame d_in"]
    clip_length: int = 100

    @property
    def d_in(self) -> int:
        return self.values.shape[1]

    @property
    def lengths(self) -> Sequence[int]:
        n, length = len(self.values), self.clip_length
        return [min(length, n - first) for first in range(0, n, length)]

    def read(self, clips: Sequence[int], progress: Progress) -> Float[Tensor, "frame d_in"]:
        length = self.clip_length
        return torch.cat([self.values[at * length : (at + 1) * length] for at in clips])


@dataclass(frozen=True, eq=False)
class KeptSource:
    """Activations that an earlier training kept on disk, read through a memory map."""

    values: np.ndarray
    lengths: Sequence[int]

    @property
    def d_in(self) -> int:
        return int(self.values.shape[1])

    def read(self, clips: Sequence[int], progress: Progress) -> Float[Tensor, "frame d_in"]:
        ends = np.concatenate([[0], np.cumsum(self.lengths)])
        return torch.from_numpy(np.concatenate([self.values[ends[at] : ends[at + 1]] for at in clips]))


def keep(source: Source, path: Path, key: str, progress: Progress) -> KeptSource:
    """Write all activations of a source to a file, chunk by chunk, unless they are there already.

    Args:
        key: what the activations depend on: model, corpus, clips, site and speed.
    """
    about = path.with_suffix(".json")
    digest = hashlib.sha256(key.encode()).hexdigest()
    known = json.loads(about.read_text(encoding="utf-8")) if about.is_file() and path.is_file() else {}
    if known.get("key") != digest:
        about.unlink(missing_ok=True)  # what is half written has no description
        path.parent.mkdir(parents=True, exist_ok=True)
        lengths = list(source.lengths)
        shape = (sum(lengths), source.d_in)
        kept = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        first = 0
        for chunk in _chunks(range(len(lengths)), lengths, 1 << 16):
            values = source.read(chunk, progress)
            kept[first : first + len(values)] = values.numpy()
            first += len(values)
        kept.flush()
        del kept
        about.write_text(json.dumps({"key": digest, "lengths": lengths}), encoding="utf-8")
        known = {"lengths": lengths}
    return KeptSource(np.load(path, mmap_mode="r", allow_pickle=False), known["lengths"])


def _chunks(clips: Sequence[int], lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Clips cut into the fewest chunks of about equal size that are no longer than the capacity, or little more."""
    total = sum(lengths[at] for at in clips)
    n_chunks = max(-(-total // max(capacity, 1)), 1)
    chunks: list[list[int]] = [[] for _ in range(n_chunks)]
    heard = 0
    for at in clips:
        chunks[min(heard * n_chunks // max(total, 1), n_chunks - 1)].append(at)
        heard += lengths[at]
    return [chunk for chunk in chunks if chunk]


class ActivationStream:
    """Endless batches of activations, in the order that the seed decides.

    Several processes share the clips among them: each has a stream with its `rank`, and batches of its share.
    """

    def __init__(
        self,
        source: Source,
        batch: int,
        *,
        seed: int = 0,
        capacity: int = 1 << 30,
        rank: int = 0,
        n_ranks: int = 1,
        progress: Progress | None = None,
    ) -> None:
        """
        Args:
            batch: frames in a batch.
            capacity: frames that the buffer may hold.
        """
        self.source, self.batch, self.seed, self.capacity = source, batch, seed, capacity
        self.mine = list(range(rank, len(source.lengths), n_ranks))
        self.rank = rank
        self.progress: Progress = progress or Silent()
        self._lengths = list(source.lengths)
        self.n_frames = sum(self._lengths[at] for at in self.mine)
        self.resident = self.n_frames <= capacity
        self._whole: Tensor | None = None

    def sample(self) -> Float[Tensor, "frame d_in"]:
        """The frames of the first chunk, for the scale and the first bias."""
        return self._read(self._epoch(0)[0])

    def batches(self, first_step: int = 0) -> Iterator[Float[Tensor, "batch d_in"]]:
        """The batches from a step on."""
        step, epoch = 0, 0
        while True:
            for at, chunk in enumerate(self._epoch(epoch)):
                n_batches = sum(self._lengths[clip] for clip in chunk) // self.batch
                skipped = min(max(first_step - step, 0), n_batches)
                if skipped < n_batches:
                    frames = self._read(chunk)
                    order = torch.randperm(len(frames), generator=self._generator(epoch, at + 1))
                    for start in range(skipped * self.batch, n_batches * self.batch, self.batch):
                        yield frames[order[start : start + self.batch]]
                    del frames  # before the next are read: the bound is for all that is held
                step += n_batches
            epoch += 1

    def _epoch(self, epoch: int) -> list[list[int]]:
        if self.resident:
            return [self.mine]
        order = torch.randperm(len(self.mine), generator=self._generator(epoch, 0)).tolist()
        return _chunks([self.mine[at] for at in order], self._lengths, self.capacity)

    def _read(self, chunk: Sequence[int]) -> Float[Tensor, "frame d_in"]:
        if not self.resident:
            return self.source.read(chunk, self.progress)
        if self._whole is None:
            self._whole = self.source.read(chunk, self.progress)
        return self._whole

    def _generator(self, epoch: int, chunk: int) -> torch.Generator:
        words = np.random.SeedSequence([self.seed, self.rank, epoch, chunk]).generate_state(2)
        return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))
