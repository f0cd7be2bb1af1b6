"""How many units of several kinds tell a phone, by one rule: features, random directions, and neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wspy.atlas import (
    PhonePlan,
    PhoneStatistics,
    beats_control,
    benjamini_hochberg,
    chosen_on_first_half,
    eligible_phones,
    label_units,
    permuted_auroc_table,
)
from wspy.progress import Silent

if TYPE_CHECKING:
    from wspy.atlas import UnitPhones
    from wspy.corpus import Clip, Corpus
    from wspy.progress import Progress
    from wspy_sae.stream import ModelSource

FDR = 0.05
PRECISE = 0.5
CALIBRATION_FRAMES = 16_384
CLIPS_AT_ONCE = 64
Units = Callable[[Tensor], Tensor]
"""From a site's activations in some frames to those of some units."""


@dataclass(frozen=True)
class PhoneShare:
    """What the units of one kind tell, on the half of the speakers (or clips) on which the phones were not chosen."""

    n_units: int
    n_live: int
    """Units that are not the same in all frames."""
    n_labelled: int
    """Live units whose AUROC beats that of shuffled labels at the false discovery rate."""
    n_precise: int
    """Live units with an average precision of at least `PRECISE`."""
    median_auroc: float
    median_precision: float
    n_phones: int
    """Different phones among the labelled units."""


def phone_shares(
    sources: Sequence[tuple[ModelSource, Mapping[str, Units]]],
    corpus: Corpus,
    rng: np.random.Generator,
    progress: Progress,
) -> dict[str, PhoneShare]:
    """Label the units of several kinds over a corpus.

    Args:
        sources: the activations of a site, and the kinds of units that are computed from them; a label is chosen on one
            half of the speakers (or clips) and judged on the other, as in `wspy analyze phones`.
    """
    plan = PhonePlan(corpus)
    found: dict[str, PhoneShare] = {}
    for source, kinds in sources:
        statistics: dict[str, PhoneStatistics] = {}
        for clip, activations in _by_clip(source, progress):
            track = plan.track(clip, len(activations))
            for name, units in kinds.items():
                values = units(activations).float().numpy()
                own = statistics.setdefault(name, PhoneStatistics(values.shape[1], plan.phones))
                own.update(values, track)
                if not own.calibrated and own.n_calibration_frames >= CALIBRATION_FRAMES:
                    own.calibrate()
        for name, own in statistics.items():
            own.calibrate()
            if (share := _share(own.units(), rng)) is not None:
                found[name] = share
    return found


def _by_clip(source: ModelSource, progress: Progress) -> Iterator[tuple[Clip, Tensor]]:
    """All clips of a source with their activations."""
    lengths = list(source.lengths)
    blocks = [range(first, min(first + CLIPS_AT_ONCE, len(lengths))) for first in range(0, len(lengths), CLIPS_AT_ONCE)]
    for block in progress.track(blocks, f"Labelling {source.site}", len(blocks), "parts of the corpus"):
        with torch.inference_mode():
            values = source.read(block, Silent())
        yield from zip(
            source.clips[block.start : block.stop], torch.split(values, [lengths[at] for at in block]), strict=True
        )


def _share(units: UnitPhones, rng: np.random.Generator) -> PhoneShare | None:
    """What one kind of units tells; None where no phone has frames enough."""
    labels = label_units(units, rng, n_bootstrap=1)
    if not labels:
        return None
    table = permuted_auroc_table(units)
    best = chosen_on_first_half(table, eligible_phones(units))
    chance = table[np.arange(len(best)), 1, best].astype(np.float64)
    auroc = np.array([label.auroc for label in labels])
    precision = np.array([label.average_precision for label in labels])
    # A unit that never changes has every frame in one bin, and ties give it exactly one half.
    live = np.asarray((units.histogram.sum(axis=(1, 2)) > 0).sum(axis=1) > 1)
    beats = np.zeros(len(labels), bool)
    if live.any():
        beats[live] = benjamini_hochberg(beats_control(auroc[live], chance[live])) <= FDR
    return PhoneShare(
        n_units=len(labels),
        n_live=int(live.sum()),
        n_labelled=int(beats.sum()),
        n_precise=int((precision[live] >= PRECISE).sum()),
        median_auroc=float(np.median(auroc[live])) if live.any() else 0.5,
        median_precision=float(np.nanmedian(precision[live])) if live.any() else 0.0,
        n_phones=len({labels[at].phone for at in np.flatnonzero(beats)}),
    )
