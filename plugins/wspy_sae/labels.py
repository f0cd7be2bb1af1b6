"""What features answered to in a corpus, where an atlas of them has been built. Nothing is computed for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import wspy
from wspy.atlas import SiteAtlas, list_atlases
from wspy.audio import FRAME_S
from wspy.errors import InputError
from wspy_sae.listening import Label
from wspy_sae.site import dictionary_sha256, site_name

if TYPE_CHECKING:
    from wspy.corpus import Corpus
    from wspy.model import ModelReference

MIN_CLIPS = 4
"""With a phone at the peak: fewer say nothing."""


def feature_labels(sae: str, reference: ModelReference, features: Sequence[int]) -> tuple[str | None, dict[int, Label]]:
    """The corpus of the largest atlas of a dictionary, and the label of each feature that has one there."""
    found = _labelled_atlas(sae, reference)
    if found is None:
        return None, {}
    atlas, corpus = found
    densities = atlas.densities()
    labels = {}
    for feature in features:
        heard = _phones_at_peaks(atlas, corpus, feature)
        if heard.total() >= MIN_CLIPS:
            phone, count = min(heard.items(), key=lambda item: (-item[1], item[0]))
            labels[feature] = Label(phone=phone, count=count, of=heard.total(), density=float(densities[feature]))
    return corpus.name, labels


def _labelled_atlas(sae: str, reference: ModelReference) -> tuple[SiteAtlas, Corpus] | None:
    """The atlas with the most clips among those of this very dictionary whose corpus has phones and is still there."""
    sha256 = dictionary_sha256(sae)
    kept = [
        one
        for one in list_atlases(site_name(sae))
        if one.about.units_sha256 == sha256
        and one.about.model_sha256 == reference.sha256
        and one.lag_frames is not None
    ]
    for one in sorted(kept, key=lambda one: (-one.n_clips, one.about.corpus)):
        try:
            corpus = wspy.open_corpus(one.about.corpus)
        except InputError:  # it has been removed
            continue
        if (corpus.hash, corpus.alignment_hash) == (one.about.corpus_hash, one.about.alignment_hash):
            return SiteAtlas(one.folder), corpus
    return None


def _phones_at_peaks(atlas: SiteAtlas, corpus: Corpus, feature: int) -> Counter[str]:
    """Of the clips in which the feature fires most, so many frames earlier as the site lags behind the sound."""
    top, lag = atlas.unit(feature).top[1], atlas.lag_frames or 0
    heard: Counter[str] = Counter()
    for at, frame, value in zip(top.clip.tolist(), top.frame.tolist(), top.value.tolist(), strict=True):
        alignment = corpus.alignment(corpus.clips[at]) if value > 0 else None
        phone = alignment.phone_at((frame - lag) * FRAME_S) if alignment else None
        if phone is not None:
            heard[phone] += 1
    return heard
