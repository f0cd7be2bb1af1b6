"""What is common to the layouts of dictionaries on disk: how their files are read, and what they hold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import wspy
from wspy_sae.dictionary import Architecture, Dictionary, TrainedAs

if TYPE_CHECKING:
    from jaxtyping import Float

PICKLE_STARTS = (b"\x80", b"PK\x03\x04")
"""How pickles begin: bare, and in the zip files that torch.save writes."""


class UnreadableDictionary(wspy.InputError):
    """A folder that is no whole dictionary, or not of a kind that wspy can compute."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"The dictionary in {path} cannot be read: {why}.")


@dataclass(frozen=True, eq=False)
class Found:
    """What a folder holds, whatever its layout, in the shapes of `Dictionary`."""

    architecture: Architecture
    trained_as: TrainedAs
    w_enc: Float[Tensor, "d_in d_sae"]
    b_enc: Float[Tensor, " d_sae"]
    w_dec: Float[Tensor, "d_sae d_in"]
    b_dec: Float[Tensor, " d_in"]
    threshold: Float[Tensor, " d_sae"] | None = None
    k: int | None = None
    apply_b_dec_to_input: bool = True
    about: Mapping[str, object] = field(default_factory=dict)
    """What the folder says of where it belongs, in the words of SAELens' metadata."""
    note: str = ""
    """What a reader should know of how it was read."""

    def weights(self) -> dict[str, Tensor]:
        """As `Dictionary.load_state_dict` takes them."""
        threshold = torch.zeros_like(self.b_enc) if self.threshold is None else self.threshold
        named = {
            "W_enc": self.w_enc,
            "b_enc": self.b_enc,
            "W_dec": self.w_dec,
            "b_dec": self.b_dec,
            "threshold": threshold,
        }
        return {name: value.float().contiguous() for name, value in named.items()}

    def with_unit_rows(self) -> Found:
        """The same reconstructions from a decoder with rows of the length 1; not for topk, whose choice may change."""
        lengths = self.w_dec.float().norm(dim=1).clamp_min(1e-8)
        return dataclasses.replace(
            self,
            w_enc=self.w_enc * lengths,
            b_enc=self.b_enc * lengths,
            w_dec=self.w_dec / lengths[:, None],
            threshold=None if self.threshold is None else self.threshold * lengths,
        )

    def check(self, folder: Path) -> None:
        """Refuse shapes that do not fit together, numbers that are not finite, and an impossible k.

        Raises:
            UnreadableDictionary: any of these.
        """
        if self.w_enc.ndim != 2:
            raise UnreadableDictionary(folder, f"its encoder has {self.w_enc.ndim} dimensions, not 2")
        d_in, d_sae = self.w_enc.shape
        expected = {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
        expected["threshold"] = (d_sae,)
        for name, value in self.weights().items():
            if tuple(value.shape) != expected[name]:
                shape, wanted = (" x ".join(map(str, one)) for one in (value.shape, expected[name]))
                raise UnreadableDictionary(
                    folder, f"{name} is {shape}, and an encoder of {d_in} x {d_sae} needs {wanted}"
                )
            if not value.isfinite().all():
                raise UnreadableDictionary(folder, f"{name} has numbers that are NaN or infinite")
        if self.architecture == "topk" and not (self.k and 1 <= self.k <= d_sae):
            raise UnreadableDictionary(folder, f"k is {self.k}, and there are {d_sae} features")


# --- files ------------------------------------------------------------------------------------------------


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file.

    Raises:
        UnreadableDictionary: there is none.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnreadableDictionary(path.parent, f"{path.name} is no JSON ({_reason(error)})") from None
    if not isinstance(content, dict):
        raise UnreadableDictionary(path.parent, f"{path.name} holds no JSON object")
    return content


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        UnreadableDictionary: the file is missing, broken off, or a pickle.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(PICKLE_STARTS) and _is_pickle(path, start):
            raise UnreadableDictionary(
                path.parent, f"{path.name} is a pickle, which can run code when it is read, and no safetensors file"
            )
        return load_file(path)
    except (OSError, SafetensorError) as error:
        why = f"{path.name} is no whole safetensors file ({_reason(error)})"
        raise UnreadableDictionary(path.parent, why) from None


def _is_pickle(path: Path, start: bytes) -> bool:
    """Whether a file that begins like a pickle is one: safetensors begin with the length of a header that fits in."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        return start.startswith(b"PK") or header > path.stat().st_size or file.read(1) != b"{"


def read_torch(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that torch.save wrote. Nothing in it is executed.

    Raises:
        UnreadableDictionary: the file is missing, broken off, or holds anything but tensors.
    """
    import pickle

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        why = f"{path.name} holds more than tensors, and wspy does not execute what a file says"
        raise UnreadableDictionary(path.parent, why) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        why = f"{path.name} is no whole file of torch.save ({_reason(error)})"
        raise UnreadableDictionary(path.parent, why) from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UnreadableDictionary(path.parent, f"{path.name} holds no named tensors")
    return content


def _reason(error: Exception) -> str:
    """What went wrong, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).strip().splitlines()[0].rstrip(".")


def take(tensors: Mapping[str, Tensor], folder: Path, *names: str) -> Tensor:
    """The tensor that has one of these names.

    Raises:
        UnreadableDictionary: none has.
    """
    for name in names:
        if name in tensors:
            return tensors[name]
    there = ", ".join(sorted(tensors)) or "nothing"
    raise UnreadableDictionary(folder, f"its weights have no {' or '.join(names)}, but {there}")


def whole_number(content: Mapping[str, object], name: str, folder: Path) -> int:
    """A number of a JSON file that must be whole and above zero.

    Raises:
        UnreadableDictionary: it is not.
    """
    value = content.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or value != int(value) or value < 1:
        raise UnreadableDictionary(folder, f"{name} is {value!r}, and must be a whole number above 0")
    return int(value)


@torch.no_grad()
def gated(
    w_enc: Tensor, b_gate: Tensor, b_mag: Tensor, r_mag: Tensor
) -> tuple[Float[Tensor, "d_in d_sae"], Float[Tensor, " d_sae"], Float[Tensor, " d_sae"]]:
    """Encoder, bias and threshold of the jumprelu that computes what a gated dictionary does.

    Gate and magnitude share their directions, so the gate opens where the magnitude is above one number
    (Rajamanoharan et al. 2024, Gated SAEs).
    """
    gain = r_mag.exp()
    return w_enc * gain, b_mag, b_mag - gain * b_gate


@torch.no_grad()
def bias_for_input(dictionary: Dictionary, *, centred: bool) -> Float[Tensor, " d_sae"]:
    """The encoder's bias with which a reader gets the same features that takes b_dec from the input, or does not."""
    bias = dictionary.b_enc.detach().clone()
    if dictionary.config.apply_b_dec_to_input == centred:
        return bias
    shift = dictionary.b_dec.detach() @ dictionary.W_enc.detach()
    return bias + shift if centred else bias - shift
