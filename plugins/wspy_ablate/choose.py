"""Which phone the words are told apart by, and which clips are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from wspy.atlas import label_units
from wspy.audio import FRAME_S
from wspy.errors import NoText, PhoneNeedsAlignment, UnknownPhone
from wspy_ablate.words import phones_of_words, without_stress

if TYPE_CHECKING:
    import numpy as np

    from wspy.analysis import Context
    from wspy.atlas import SiteAtlas, UnitLabel
    from wspy.corpus import Clip, Corpus
    from wspy_ablate import Ablate

PhoneFrom = Literal["input", "label", "peaks", "none"]


@dataclass(frozen=True)
class Chosen:
    """What is read, in random order, and the phone."""

    clips: tuple[Clip, ...]
    phone: str | None
    phone_from: PhoneFrom
    phone_auroc: float | None


def choose(context: Context, site: str, inputs: Ablate.Inputs) -> Chosen:
    """The phone (asked for, or the neuron's own), and a random sample of clips, half of them with the phone.

    Raises:
        PhoneNeedsAlignment, UnknownPhone: a phone was asked for that the corpus does not know.
        NoText: all clips are known to hold no words.
    """
    corpus = context.corpus
    phones = _phones_of_clips(corpus)
    phone, phone_from, phone_auroc = _phone(context, site, inputs, phones)
    pool = [clip for clip in corpus.clips if (clip.id in phones if phone else corpus.text(clip) != "")]
    if not pool:
        raise NoText(corpus.name)
    shuffled = [pool[at] for at in context.rng.permutation(len(pool))]
    if phone:
        with_phone = [clip for clip in shuffled if phone in phones[clip.id]]
        first = {clip.id for clip in with_phone[: -(-inputs.clips // 2)]}
        rest = [clip.id for clip in shuffled if clip.id not in first]
        kept = first | set(rest[: max(inputs.clips - len(first), 0)])
        shuffled = [clip for clip in shuffled if clip.id in kept]
    return Chosen(tuple(shuffled[: inputs.clips]), phone, phone_from, phone_auroc)


def _phones_of_clips(corpus: Corpus) -> dict[str, frozenset[str]]:
    """By the clip's id the phones within its words, for clips whose phones are known."""
    found = {}
    for clip in corpus.clips:
        alignment = corpus.alignment(clip)
        if alignment and alignment.phones and alignment.words and corpus.text(clip) != "":
            found[clip.id] = frozenset[str]().union(*phones_of_words(alignment))
    return found


def _phone(
    context: Context, site: str, inputs: Ablate.Inputs, phones: Mapping[str, frozenset[str]]
) -> tuple[str | None, PhoneFrom, float | None]:
    """The phone, where it comes from, and for a label its AUROC."""
    known = frozenset[str]().union(*phones.values())
    if inputs.phone is not None:
        if not known:
            raise PhoneNeedsAlignment(context.corpus.name)
        if inputs.phone not in known:
            raise UnknownPhone(inputs.phone, context.corpus.name, known)
        return inputs.phone, "input", None
    if not known:
        return None, "none", None
    atlas = context.atlas(site)
    label = _label(atlas, inputs.idx, context.rng)
    if label is not None:
        return (label.phone, "label", label.auroc) if label.phone in known else (None, "none", None)
    phone = _at_the_peaks(atlas, inputs.idx, context.corpus)
    return (phone, "peaks", None) if phone in known else (None, "none", None)


def _label(atlas: SiteAtlas, idx: int, rng: np.random.Generator) -> UnitLabel | None:
    """The neuron's label, if the interval of its AUROC lies above chance."""
    if not atlas.has_phones:
        return None
    unit = atlas.unit_phones(idx)
    several = replace(
        unit,
        sums=unit.sums[None],
        histogram=unit.histogram[None],
        rank_sums=unit.rank_sums[None],
        shuffled_rank_sums=unit.shuffled_rank_sums[None],
    )
    return next((label for label in label_units(several, rng) if label.auroc_low > 0.5), None)


def _at_the_peaks(atlas: SiteAtlas, idx: int, corpus: Corpus) -> str | None:
    """The most common phone at the neuron's highest peaks, so many frames earlier as the layer lags behind."""
    top, lag = atlas.unit(idx).top[1], atlas.lag_frames or 0
    heard: Counter[str] = Counter()
    for at, frame in zip(top.clip.tolist(), top.frame.tolist(), strict=True):
        alignment = corpus.alignment(corpus.clips[at])
        phone = alignment.phone_at((frame - lag) * FRAME_S) if alignment else None
        if phone is not None:
            heard[without_stress(phone)] += 1
    return min(heard, key=lambda phone: (-heard[phone], phone), default=None)
