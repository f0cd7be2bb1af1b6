"""The features of a kept dictionary as units of the site `sae:NAME`, for everything that asks for a site."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from wspy.atlas import DerivedSite
from wspy_sae.belongs import check_belongs
from wspy_sae.store import CONFIG, WEIGHTS, dictionary_folder, load_dictionary

if TYPE_CHECKING:
    import numpy as np

    from wspy.atlas import Units
    from wspy.model import Model, ModelReference
    from wspy_sae.dictionary import Dictionary

SCHEME = "sae"


def site_name(name: str) -> str:
    """The site whose units are the features of a dictionary."""
    return f"{SCHEME}:{name}"


def open_sae(name: str, reference: ModelReference) -> DerivedSite:
    """The features of a dictionary, as the atlas hears them.

    Raises:
        UnknownDictionary, UnreadableDictionary: there is none of that name, or it is damaged.
        OtherModel, OtherWidth, NotAnEncoderSite, UnknownSite: it does not fit this model.
    """
    dictionary = fitting_dictionary(name, reference)

    def load(model: Model) -> Units:
        return dictionary.to(model.device).encode

    def directions() -> np.ndarray:
        rows: np.ndarray = dictionary.W_dec.detach().cpu().numpy()
        return rows

    return DerivedSite(dictionary.config.site, dictionary.config.d_sae, dictionary_sha256(name), load, directions)


def fitting_dictionary(name: str, reference: ModelReference) -> Dictionary:
    """A kept dictionary, if it is one of this model.

    Raises:
        As `open_sae` does.
    """
    dictionary = load_dictionary(name)
    check_belongs(name, dictionary.config, reference)
    return dictionary


def dictionary_sha256(name: str) -> str:
    """Of all that a dictionary is computed with: training it anew changes this."""
    digest = hashlib.sha256()
    for file in (CONFIG, WEIGHTS):
        digest.update((dictionary_folder(name) / file).read_bytes())
    return digest.hexdigest()
