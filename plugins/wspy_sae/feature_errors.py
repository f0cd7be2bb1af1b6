"""What can be wrong with a feature or a direction that somebody wants to hear or to change."""

from __future__ import annotations

import wspy


class OtherWidth(wspy.InputError):
    """A dictionary that says to be of a site, and is of another width."""

    def __init__(self, name: str, d_in: int, site: str, n_units: int) -> None:
        super().__init__(
            f"The dictionary {name!r} takes {d_in} values and {site} of this model gives {n_units}: it was trained on "
            "something else, so take another dictionary or another --model."
        )
