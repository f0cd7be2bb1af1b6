"""From the losses and transcripts of single clips to changes with intervals, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from wspy_ablate.result import AblateResult, Change, ChangedTranscript, Effect, WordChange
from wspy_ablate.words import Word, marked, word_error_rate

if TYPE_CHECKING:
    from jaxtyping import Float64

    from wspy.analysis import Context
    from wspy.corpus import Clip
    from wspy_ablate import Ablate
    from wspy_ablate.choose import Chosen

N_RESAMPLES = 2000
N_WORDS = 10
WITH, WITHOUT, ALL = range(3)
"""Groups of tokens: of words with the phone, of words without it, and all of the text with its end."""


@dataclass
class Heard:
    """What the passes gave for one clip. The clean model's comes first, then one of each ablation."""

    clip: Clip
    text: str | None
    words: list[Word]
    has_phone: list[bool | None]
    masks: Float64[np.ndarray, "group token"]
    """1 where a token of the text belongs to a group."""
    losses: list[Float64[np.ndarray, " token"]] = field(default_factory=list)
    """Cross-entropy of each token of the text and its end, in nats."""
    written: list[str] = field(default_factory=list)
    """Transcripts; empty where none were made."""


def summarise(
    context: Context,
    inputs: Ablate.Inputs,
    site: str,
    chosen: Chosen,
    heard: Sequence[Heard],
    ablations: Sequence[tuple[int, float]],
    removed: Sequence[float],
) -> AblateResult:
    """The result. `ablations` and `removed` are those of the neuron in question, then of its controls."""
    losses = _Losses(heard, context.rng, bool(chosen.phone))
    written = [clip for clip in heard if clip.written]
    english = not context.model.is_multilingual or {clip.clip.language for clip in heard} <= {"en", None}
    known = [clip for clip in written if clip.text is not None]

    def wer(at: int) -> float | None:
        return word_error_rate([h.text or "" for h in known], [h.written[at] for h in known], english=english)

    effects = tuple(
        Effect(
            idx=idx,
            role="control" if at > 1 else "unit",
            value=value,
            removed=removed[at - 1],
            overall=losses.change(at, ALL),
            with_phone=losses.change(at, WITH) if losses.split else None,
            without_phone=losses.change(at, WITHOUT) if losses.split else None,
            difference=losses.difference(at) if losses.split else None,
            n_changed=sum(marked(h.written[0], h.written[at])[0] for h in written),
            wer=wer(at),
            drift=word_error_rate([h.written[0] for h in written], [h.written[at] for h in written], english=english),
        )
        for at, (idx, value) in enumerate(ablations, 1)
    )
    by_change = _words_by_change(heard)
    flags = [flag for h in heard for flag in h.has_phone]
    return AblateResult(
        site=site,
        idx=inputs.idx,
        model=context.reference.name,
        corpus=context.corpus.name,
        mode=inputs.mode,
        phone=chosen.phone,
        phone_from=chosen.phone_from,
        phone_auroc=chosen.phone_auroc,
        n_clips=len(heard),
        n_own_text=sum(h.text is None for h in heard),
        n_words_with=flags.count(True),
        n_words_without=flags.count(False),
        n_words_unplaced=flags.count(None),
        n_tokens=int(losses.counts[:, ALL].sum()),
        loss=losses.clean(ALL),
        loss_with=losses.clean(WITH) if losses.split else None,
        loss_without=losses.clean(WITHOUT) if losses.split else None,
        n_transcribed=len(written),
        wer=wer(0),
        effects=effects,
        words=tuple(word for word in by_change[:N_WORDS] if word.change > 0),
        eased=tuple(word for word in by_change[: -N_WORDS - 1 : -1] if word.change < 0),
        transcripts=_changed(written),
    )


class _Losses:
    """Summed losses per clip, pass and group of tokens, and bootstrap samples of the clips."""

    def __init__(self, heard: Sequence[Heard], rng: np.random.Generator, split: bool) -> None:
        self.sums = np.stack([np.stack([h.masks @ loss for loss in h.losses]) for h in heard])  # clip, pass, group
        self.counts = np.stack([h.masks.sum(axis=1) for h in heard])
        self.split = split and bool((self.counts.sum(axis=0) > 0).all())
        n = len(heard)
        self.resampled = rng.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES)  # how often each clip is drawn

    def clean(self, group: int) -> float:
        """Nats per token of the clean model."""
        return float(self.sums[:, 0, group].sum() / max(self.counts[:, group].sum(), 1))

    def change(self, at: int, group: int) -> Change:
        """Of one ablation's loss over one group of tokens."""
        return _with_interval(*self._changes(at, group))

    def difference(self, at: int) -> Change:
        """Between words with and words without the phone."""
        (with_phone, resampled_with), (without, resampled_without) = (
            self._changes(at, group) for group in (WITH, WITHOUT)
        )
        return _with_interval(with_phone - without, resampled_with - resampled_without)

    def _changes(self, at: int, group: int) -> tuple[float, Float64[np.ndarray, " sample"]]:
        """Nats per token: of all clips, and of each bootstrap sample (NaN where it has no such token)."""
        changes, counts = self.sums[:, at, group] - self.sums[:, 0, group], self.counts[:, group]
        tokens = (self.resampled @ counts).astype(np.float64)
        tokens[tokens == 0] = np.nan
        return float(changes.sum() / max(counts.sum(), 1)), self.resampled @ changes / tokens


def _with_interval(value: float, resampled: Float64[np.ndarray, " sample"]) -> Change:
    low, high = np.nanpercentile(resampled, (2.5, 97.5)) if not np.isnan(resampled).all() else (value, value)
    return Change(value=value, low=float(low), high=float(high))


def _words_by_change(heard: Sequence[Heard]) -> list[WordChange]:
    """All words, those first whose loss the neuron's own ablation raises most."""
    changes = [
        WordChange(
            word=word.text,
            has_phone=has_phone,
            change=float((h.losses[1] - h.losses[0])[list(word.tokens)].mean()),
            clip=h.clip.id,
        )
        for h in heard
        for word, has_phone in zip(h.words, h.has_phone, strict=True)
        if word.tokens
    ]
    return sorted(changes, key=lambda word: -word.change)


def _changed(written: Sequence[Heard]) -> tuple[ChangedTranscript, ...]:
    found = []
    for h in written:
        changed, text = marked(h.written[0], h.written[1])
        if changed:
            found.append(
                ChangedTranscript(clip=h.clip.id, text=h.text, clean=h.written[0], ablated=h.written[1], marked=text)
            )
    return tuple(found)
