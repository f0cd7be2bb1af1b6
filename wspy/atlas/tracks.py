"""Which phone is heard in which frame of a clip, and which group the clip belongs to."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from wspy.atlas.statistics import clip_hash
from wspy.audio import FRAMES_PER_SECOND
from wspy.corpus.clips import SILENCE, Alignment, Clip, Interval

if TYPE_CHECKING:
    from jaxtyping import Int, Int16

    from wspy.corpus import Corpus

N_GROUPS = 20
MIN_SPEAKERS = 4  # with fewer, clips are grouped and not speakers
MAX_PHONES = 80
"""Narrow alphabets have hundreds of symbols; a histogram of each would not fit into memory."""
OTHER = "OTHER"
"""Stands for all phones beyond the `MAX_PHONES` that last longest in all: they count as the rest."""
_SILENCES = frozenset(("", "sil", "sp", "silence", "<sil>", "pau", "epi", "h#", "#h"))


@dataclass(frozen=True)
class PhoneTrack:
    """The phones of one clip, frame by frame."""

    ids: Int16[np.ndarray, " frame"]
    """Place in the list of phones of the phone at each frame's centre; -1 where nothing is aligned."""
    shuffled: Int16[np.ndarray, " frame"]
    """The same segments with their durations in a random order, the control; -1 at the same frames."""
    group: int
    """0 to `N_GROUPS` - 1."""
    clip_id: str = ""
    """For messages."""


class PhonePlan:
    """The phones of a corpus, how its clips are grouped, and the track of each clip."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        lasting: collections.Counter[str] = collections.Counter()
        for clip in corpus.clips:
            for interval in _phones(corpus.alignment(clip)):
                lasting[_unified(interval.label)] += round((interval.end_s - interval.start_s) * 1e6)
        kept = sorted(lasting, key=lambda phone: (-lasting[phone], phone))
        if len(kept) > MAX_PHONES:
            kept = [*[phone for phone in kept if phone != OTHER][: MAX_PHONES - 1], OTHER]
        self.phones = tuple(sorted(kept))
        """All phones, sorted; silences are `SILENCE`, and the rarest of too many `OTHER`."""
        self._ids = {phone: at for at, phone in enumerate(self.phones)}
        speakers = sorted({clip.speaker for clip in corpus.clips if clip.speaker})
        self._groups = {speaker: at % N_GROUPS for at, speaker in enumerate(speakers)}
        self.grouped_by: Literal["speaker", "clip"] = "speaker" if len(speakers) >= MIN_SPEAKERS else "clip"

    def group(self, clip: Clip) -> int:
        """The group of a clip: that of its speaker where there are enough of them, else drawn by its id."""
        if self.grouped_by == "speaker" and clip.speaker:
            return self._groups[clip.speaker]
        return int(clip_hash(clip.id) % np.uint64(N_GROUPS))

    def track(self, clip: Clip, n_frames: int) -> PhoneTrack:
        """The phones of a clip's first `n_frames` frames; frame f is centred on 20 f milliseconds."""
        intervals = _phones(self._corpus.alignment(clip))
        segment = np.full(n_frames, -1)
        if intervals:
            # In whole microseconds, the precision of an alignment, so that a frame on an edge falls on the right side.
            starts, ends = np.rint(np.array([(i.start_s, i.end_s) for i in intervals]).T * 1e6)
            centres = np.arange(n_frames) * (1_000_000 // FRAMES_PER_SECOND)
            segment = np.searchsorted(starts, centres, side="right") - 1
            segment[(segment >= 0) & (centres >= ends[segment])] = -1
        rest = self._ids.get(OTHER, -1)
        labels = np.array([self._ids.get(_unified(i.label), rest) for i in intervals] + [-1], np.int16)
        rng = np.random.default_rng(int(clip_hash(clip.id)))
        shuffled = np.full(n_frames, -1, np.int16)
        shuffled[segment >= 0] = labels[_shuffled(segment[segment >= 0], rng)]
        return PhoneTrack(labels[segment], shuffled, self.group(clip), clip.id)


def _phones(alignment: Alignment | None) -> tuple[Interval, ...]:
    return alignment.phones if alignment else ()


def _unified(label: str) -> str:
    return SILENCE if label.lower() in _SILENCES else label


def _shuffled(segments: Int[np.ndarray, " frame"], rng: np.random.Generator) -> Int[np.ndarray, " frame"]:
    """Segments of frames, given by the number of each frame's, in a random order."""
    numbers, durations = np.unique(segments, return_counts=True)
    order = rng.permutation(len(numbers))
    return np.repeat(numbers[order], durations[order])
