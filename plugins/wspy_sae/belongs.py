"""Whether a dictionary belongs to a model: asked before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wspy_sae.feature_errors import OtherWidth
from wspy_sae.train import encoder_site
from wspy_sae.train_errors import OtherModel

if TYPE_CHECKING:
    from wspy.model import ModelReference
    from wspy_sae.dictionary import DictionaryConfig


def check_belongs(name: str, config: DictionaryConfig, reference: ModelReference) -> None:
    """Refuse a dictionary of another model, or one that cannot be of its site.

    The same weights in another file are the same model, where openai-whisper publishes both under one name.

    Raises:
        OtherModel: it was trained on another model.
        UnknownSite, NotAnEncoderSite: this model has no such site.
        OtherWidth: the site has another number of units.
    """
    same_file = config.model_sha256 == reference.sha256
    same_name = config.published_name is not None and config.published_name == reference.published_name
    if not same_file and not same_name:
        trained_on, given = config.model_name, reference.name
        if trained_on == given:  # two checkpoints of one name
            trained_on, given = f"{given} ({config.model_sha256[:8]})", f"{given} ({reference.sha256[:8]})"
        raise OtherModel(name, trained_on, given)
    n_units = encoder_site(config.site, reference).n_units
    if n_units != config.d_in:
        raise OtherWidth(name, config.d_in, config.site, n_units)
