"""Sites whose units are computed from a site of the model, named `SCHEME:ADDRESS`: `sae:demo`, the features of a
dictionary. Plugins give them (`register_sites`); the atlas hears them like any other site."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from wspy.model import Model, ModelReference

Units: TypeAlias = "Callable[[Tensor], Tensor]"
"""From the values of the base site at some frames or tokens, `[position base_unit]` in float32, to those of the units,
`[position unit]`."""


@dataclass(frozen=True, eq=False)
class DerivedSite:
    """Where units come from, and how they are computed."""

    base: str
    """Module path of the site that they are computed from; it has a value per frame or token."""
    n_units: int
    sha256: str
    """Of all that decides the units' values besides the model: with another hash, another atlas is made."""
    load: Callable[[Model], Units]
    """Gives what computes the units, on the model's device; called when a pass begins."""
    directions: Callable[[], np.ndarray] | None = None
    """Gives what each unit writes into the base site, `[unit base_unit]`, by which its nearest units are found."""

    def __post_init__(self) -> None:
        if self.n_units < 1 or not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"a derived site needs units and a SHA-256 in hex, not {self.n_units} and {self.sha256!r}")


OpenSite: TypeAlias = "Callable[[str, ModelReference], DerivedSite]"
"""Takes the address behind the scheme and the model, and raises an `InputError` where the two do not fit."""
SiteSchemes: TypeAlias = "Mapping[str, OpenSite]"


def folder_of(name: str, derived: DerivedSite | None) -> str:
    """The folder's name of a site's atlas: that of a derived site holds its hash, no colon, and no slash."""
    if derived is None:
        return name
    scheme, _, address = name.partition(":")
    return f"{scheme}+{quote(address, safe='')}-{derived.sha256[:8]}"


def site_of(folder: str) -> str:
    """The site whose atlas lies in a folder of that name."""
    found = re.fullmatch(r"([^+]+)\+(.+)-[0-9a-f]{8}", folder)
    return f"{found[1]}:{unquote(found[2])}" if found else folder
