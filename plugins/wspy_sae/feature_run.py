"""What `sae` does: the atlas' page of the feature, then its neurons and its tokens from the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import wspy
from wspy.model import list_sites
from wspy.units import CHOSEN_SIGNS, unit_result
from wspy_sae.feature import Sae, SaeResult
from wspy_sae.hearing import check_feature
from wspy_sae.promotes import promoted
from wspy_sae.reads import read_from
from wspy_sae.site import fitting_dictionary, site_name

if TYPE_CHECKING:
    from wspy.units import UnitResult

N_PEAKS = 10


def feature_page_of(inputs: Sae.Inputs, context: wspy.Context) -> SaeResult:
    """All that the page shows.

    Raises:
        UnknownDictionary, OtherModel, OtherWidth: the dictionary is not there, or of something else.
        OutOfRange: it has no such feature.
    """
    dictionary = fitting_dictionary(inputs.sae, context.reference)
    check_feature(inputs.idx, inputs.sae, dictionary)
    site = dictionary.config.site
    unit = unit_result(context, site_name(inputs.sae), inputs.idx, top=inputs.top, signs=CHOSEN_SIGNS[inputs.sign])
    kinds = {found.name: found.kind for found in list_sites(context.reference.dims)}
    residual = kinds[site] == "residual"
    last = site in ("encoder.ln_post", f"encoder.blocks.{context.reference.dims.n_audio_layer - 1}")
    return SaeResult(
        **{name: getattr(unit, name) for name in type(unit).model_fields},
        sae=inputs.sae,
        base=site,
        d_sae=dictionary.config.d_sae,
        reads=read_from(dictionary, inputs.idx, _peaks(unit), context) if residual else None,
        promotes=promoted(dictionary, inputs.idx, context) if last else None,
    )


def _peaks(unit: UnitResult) -> list[tuple[str, float]]:
    """The clips in which the feature fires most, and when."""
    examples = [example for found in unit.signs if found.sign == "positive" for example in found.examples]
    return [(example.clip, example.peak_s) for example in examples if example.activation > 0][:N_PEAKS]
