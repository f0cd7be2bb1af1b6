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


class BadDirection(wspy.InputError):
    """It cannot be told what is to be steered."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"{what}: {instead}.")


class NotSteerable(wspy.InputError):
    """A place that has no value per frame of sound that could be changed."""

    def __init__(self, site: str) -> None:
        super().__init__(
            f"{site!r} cannot be steered: choose one site of the encoder with a value per frame, such as "
            "encoder.blocks.2 (`wspy sites` lists them)."
        )


class NeverFires(wspy.InputError):
    """A handle that is to be clamped to its peak, and has none."""

    def __init__(self, handle: str) -> None:
        super().__init__(
            f"The {handle} is nowhere above zero here, so it has no peak to be clamped to: give --mode add."
        )
