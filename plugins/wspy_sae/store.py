"""Dictionaries on disk: `dictionaries/NAME` in wspy's home, in the layout of SAELens (`wspy_sae.saelens`)."""

from __future__ import annotations

import re
from pathlib import Path

import wspy
from wspy.errors import known_names
from wspy.files import atomic_folder, home
from wspy_sae import saelens
from wspy_sae.dictionary import Dictionary, DictionaryConfig
from wspy_sae.layouts import Found, UnreadableDictionary
from wspy_sae.saelens import CONFIG, WEIGHTS
from wspy_sae.train_errors import BadTraining

__all__ = [
    "CONFIG",
    "WEIGHTS",
    "UnknownDictionary",
    "check_name",
    "dictionaries_folder",
    "dictionary_folder",
    "find_folder",
    "list_dictionaries",
    "load_dictionary",
    "made_of",
    "save_dictionary",
]

TAKEN = ("nothing", "mean", "zero")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class UnknownDictionary(wspy.InputError):
    """No dictionary of that name is kept."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"There is no dictionary {name!r}.{known_names(name, known)}")


def dictionaries_folder() -> Path:
    """Where all dictionaries are."""
    return home() / "dictionaries"


def dictionary_folder(name: str) -> Path:
    """Where the dictionary of a name is, or would be."""
    return dictionaries_folder() / name


def check_name(name: str) -> None:
    """Refuse what is no plain folder name, or would be mistaken for an ablation in a table.

    Raises:
        BadTraining: either.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise BadTraining("--name", repr(name), "use letters, digits, dots, dashes and underscores, up to 100")
    if name in TAKEN:
        raise BadTraining("--name", repr(name), "that is what `wspy sae eval` compares dictionaries with")


def save_dictionary(dictionary: Dictionary, name: str) -> Path:
    """Keep a dictionary; what had the name before goes. The folder appears whole or not at all."""
    folder = dictionary_folder(name)
    with atomic_folder(folder) as temporary:
        saelens.write(dictionary, temporary)
    return folder


def load_dictionary(name_or_folder: str | Path) -> Dictionary:
    """A dictionary by name or by folder.

    Raises:
        UnknownDictionary: there is none.
        UnreadableDictionary: what is there is damaged, or was not written by wspy.
    """
    folder = find_folder(name_or_folder)
    return made_of(saelens.read(folder), saelens.read_config(folder), folder)


def find_folder(name_or_folder: str | Path) -> Path:
    """The folder of a dictionary by name, or the folder itself.

    Raises:
        UnknownDictionary: there is none.
    """
    folder = Path(name_or_folder)
    if not (folder / CONFIG).is_file():
        folder = dictionary_folder(str(name_or_folder))
    if not (folder / CONFIG).is_file():
        raise UnknownDictionary(str(name_or_folder), list_dictionaries())
    return folder


def made_of(found: Found, config: DictionaryConfig, folder: Path) -> Dictionary:
    """A dictionary of these weights.

    Raises:
        UnreadableDictionary: they are not those of this configuration, or no numbers.
    """
    found.check(folder)
    if tuple(found.w_enc.shape) != (config.d_in, config.d_sae):
        shape = " x ".join(map(str, found.w_enc.shape))
        raise UnreadableDictionary(folder, f"its encoder is {shape}, and {CONFIG} says {config.d_in} x {config.d_sae}")
    dictionary = Dictionary(config)
    dictionary.load_state_dict(found.weights())
    return dictionary


def list_dictionaries() -> list[str]:
    """The names of all dictionaries."""
    return sorted(path.parent.name for path in dictionaries_folder().glob(f"[!.]*/{CONFIG}"))
