"""What can be wrong with what somebody wants to train, or has trained halfway."""

from __future__ import annotations

import wspy


class BadTraining(wspy.InputError):
    """A setting that no dictionary can be trained with."""

    def __init__(self, what: str, value: object, why: str) -> None:
        super().__init__(f"{what} {value} cannot be used: {why}.")


class TooFewFrames(wspy.InputError):
    """A corpus that is too small for what is to be learned from it."""

    def __init__(self, corpus: str, n_frames: int, needed: int, what: str) -> None:
        super().__init__(
            f"Corpus {corpus!r} has {n_frames:,} frames of 20 ms to train on, and {what} needs at least {needed:,}: "
            "take a larger corpus, or less of it."
        )


class NotAnEncoderSite(wspy.InputError):
    """A dictionary was wanted for a place that has no frames."""

    def __init__(self, site: str) -> None:
        super().__init__(
            f"{site!r} is no place over frames: dictionaries are trained on sites of the encoder, such as "
            "encoder.blocks.2 (`wspy sites` lists them)."
        )


class AlreadyTrained(wspy.InputError):
    """A name that a finished dictionary has."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a dictionary {name!r} already: choose another --name, or delete it: wspy sae remove {name}"
        )


class OtherSettings(wspy.InputError):
    """An interrupted training that was begun with other settings."""

    def __init__(self, name: str, differences: str) -> None:
        super().__init__(
            f"Training of {name!r} was begun with other settings ({differences}): give the same to go on, or delete it "
            f"with `wspy sae remove {name}`."
        )


class DamagedCheckpoint(wspy.InputError):
    """A checkpoint that cannot be read."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"The checkpoint {path} cannot be read ({why}): delete it to begin again.")


class Diverged(wspy.WspyError):
    """The loss is no number any more."""

    def __init__(self, step: int, lr: float) -> None:
        super().__init__(f"Training has diverged at step {step}: its loss is not finite. Give an --lr below {lr:.2g}.")


class OtherModel(wspy.InputError):
    """A dictionary that was trained on another model."""

    def __init__(self, name: str, trained_on: str, given: str) -> None:
        super().__init__(
            f"The dictionary {name!r} was trained on {trained_on}, and this is {given}: give the --model that it was "
            "trained on, or another dictionary."
        )


class DifferentSites(wspy.InputError):
    """Two dictionaries that do not share a space."""

    def __init__(self, name: str, site: str, other: str, other_site: str) -> None:
        super().__init__(
            f"{name!r} is a dictionary of {site} and {other!r} one of {other_site}: only those of one site compare."
        )
