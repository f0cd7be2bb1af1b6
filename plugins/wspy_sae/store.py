"""Dictionaries on disk: `dictionaries/NAME` in wspy's home."""

from __future__ import annotations

from pathlib import Path

import wspy
from wspy.errors import known_names
from wspy.files import atomic_folder, home
from wspy_sae.dictionary import Dictionary, DictionaryConfig

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"


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


def save_dictionary(dictionary: Dictionary, name: str) -> Path:
    """Keep a dictionary; what had the name before goes."""
    from safetensors.torch import save_file

    folder = dictionary_folder(name)
    with atomic_folder(folder) as temporary:
        (temporary / CONFIG).write_text(dictionary.config.model_dump_json(indent=1), encoding="utf-8")
        save_file({n: t.contiguous() for n, t in dictionary.state_dict().items()}, temporary / WEIGHTS)
    return folder


def load_dictionary(name_or_folder: str | Path) -> Dictionary:
    """A dictionary by name or by folder."""
    from safetensors.torch import load_file

    folder = Path(name_or_folder)
    if not (folder / CONFIG).is_file():
        folder = dictionary_folder(str(name_or_folder))
    if not (folder / CONFIG).is_file():
        raise UnknownDictionary(str(name_or_folder), list_dictionaries())
    dictionary = Dictionary(DictionaryConfig.model_validate_json((folder / CONFIG).read_bytes()))
    dictionary.load_state_dict(load_file(folder / WEIGHTS))
    return dictionary


def list_dictionaries() -> list[str]:
    """The names of all dictionaries."""
    return sorted(path.parent.name for path in dictionaries_folder().glob(f"[!.]*/{CONFIG}"))
