"""Dictionaries from other libraries, and for them: layouts told apart, gaps asked for, weights checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from wspy.files import atomic_folder, locked
from wspy_sae import dictionary_learning, saelens, sparsify
from wspy_sae.belongs import check_belongs
from wspy_sae.dictionary import Dictionary, DictionaryConfig
from wspy_sae.exchange_errors import NotEmpty, NotSaid, UnknownFormat, UnknownLayout
from wspy_sae.layouts import Found
from wspy_sae.store import check_name, dictionary_folder, find_folder, load_dictionary, made_of, save_dictionary
from wspy_sae.train_errors import AlreadyTrained

if TYPE_CHECKING:
    from wspy.model import ModelReference


@dataclass(frozen=True)
class Layout:
    """How a library keeps a dictionary in a folder."""

    files: tuple[str, str]
    """Configuration and weights. The weights' name tells the layout."""
    read: Callable[[Path], Found]
    write: Callable[[Dictionary, Path], None]


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "saelens": Layout((saelens.CONFIG, saelens.WEIGHTS), saelens.read, saelens.write),
        "sparsify": Layout((sparsify.CONFIG, sparsify.WEIGHTS), sparsify.read, sparsify.write),
        "dictionary-learning": Layout(
            (dictionary_learning.CONFIG, dictionary_learning.WEIGHTS),
            dictionary_learning.read,
            dictionary_learning.write,
        ),
    }
)


@dataclass(frozen=True)
class Imported:
    """What became of a folder."""

    folder: Path
    layout: str
    dictionary: Dictionary
    note: str
    """What a reader should know of how it was read; often nothing."""


def layout_of(folder: Path) -> str:
    """The layout of a folder.

    Raises:
        UnknownLayout: it has the files of none.
    """
    for name, layout in LAYOUTS.items():
        if (folder / layout.files[1]).is_file():
            return name
    known = "; ".join(f"{name} has {' and '.join(layout.files)}" for name, layout in LAYOUTS.items())
    raise UnknownLayout(folder, known)


def import_dictionary(
    folder: Path,
    name: str,
    find_model: Callable[[str], ModelReference],
    *,
    site: str | None = None,
    model: str | None = None,
) -> Imported:
    """Keep a dictionary of another library under a name of one's own.

    Args:
        find_model: gives the reference of a model by its name.
        site: where its activations are read; None takes what the folder says.
        model: the model's name; None takes what the folder says.

    Raises:
        UnknownLayout, UnreadableDictionary: the folder holds no dictionary that wspy can compute.
        NotSaid: it does not say of which model or site, and neither did the caller.
        OtherModel, OtherWidth, UnknownSite, NotAnEncoderSite: it is not of this model or site.
        BadTraining, AlreadyTrained: the name is no plain one, or taken.
    """
    check_name(name)
    if dictionary_folder(name).exists():
        raise AlreadyTrained(name)
    layout = layout_of(folder)
    found = LAYOUTS[layout].read(folder)
    found.check(folder)
    site = site or _site(folder, found)
    said = found.about.get("model_name") if "model_sha256" in found.about else None
    model = model or (said if isinstance(said, str) else None)
    if model is None:
        raise NotSaid(folder, "which Whisper", "--model")
    reference = find_model(model)
    config = _config(found, site, reference)
    check_belongs(name, config, reference)
    dictionary = made_of(found, config, folder)
    with locked(dictionary_folder(name), f"the dictionary {name!r}"):
        return Imported(save_dictionary(dictionary, name), layout, dictionary, found.note)


def _site(folder: Path, found: Found) -> str:
    """The site, where the folder says it: in wspy's own metadata, or by its name.

    AudioSAE's `layer_3` is what the third block gives, and sparsify's `encoder.layers.2` is that of transformers.

    Raises:
        NotSaid: it does not.
    """
    hook = found.about.get("hook_name")
    for text in (hook if isinstance(hook, str) else "", folder.resolve().name):
        if re.fullmatch(r"encoder\.(blocks\.\d+|ln_post)(\..+)?", text):
            return text
        if layer := re.fullmatch(r"encoder\.layers\.(\d+)", text):
            return f"encoder.blocks.{layer[1]}"
        if layer := re.fullmatch(r"layer_([1-9]\d*)", text):
            return f"encoder.blocks.{int(layer[1]) - 1}"
    raise NotSaid(folder, "which site", "--site")


def _config(found: Found, site: str, reference: ModelReference) -> DictionaryConfig:
    """What wspy keeps of it. What wspy itself wrote into the metadata is believed, the model's hash included."""
    about = found.about if "model_sha256" in found.about else {}
    d_in, d_sae = found.w_enc.shape
    own = {
        here: about[there]
        for here, there in saelens.METADATA.items()
        if there in about and here not in ("site", "k", "trained_as")
    }
    return DictionaryConfig.model_validate(
        {
            "model_name": reference.name,
            "model_sha256": reference.sha256,
            "published_name": reference.published_name,
            "valid_frames_only": None,
            **own,
            "architecture": found.architecture,
            "trained_as": found.trained_as,
            "d_in": d_in,
            "d_sae": d_sae,
            "k": found.k,
            "site": site,
            "apply_b_dec_to_input": found.apply_b_dec_to_input,
        }
    )


def export_dictionary(name: str, folder: Path, layout: str = "saelens") -> Path:
    """Write a kept dictionary into a new folder, in the layout of a library.

    Raises:
        UnknownDictionary, UnreadableDictionary: there is none of that name, or it is damaged.
        UnknownFormat: no such layout.
        CannotExport: the library cannot compute it.
        NotEmpty: the folder holds something.
    """
    if layout not in LAYOUTS:
        raise UnknownFormat(layout, list(LAYOUTS))
    dictionary = load_dictionary(find_folder(name))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotEmpty(folder)
    with atomic_folder(folder) as temporary:
        LAYOUTS[layout].write(dictionary, temporary)
    return folder
