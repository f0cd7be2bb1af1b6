"""Checkpoint formats. Each module reads its format into openai-whisper's names; none runs code from a file."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from wspy.errors import BadCheckpoint
from wspy.model.dimensions import Dimensions

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """What a file or folder holds: sizes, float32 weights under openai-whisper's names, and alignment heads.

    `alignment_heads` are (decoder layer, head) pairs, None where the checkpoint names none.
    """

    dims: Dimensions
    tensors: dict[str, Tensor]
    alignment_heads: tuple[tuple[int, int], ...] | None


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file.

    Raises:
        BadCheckpoint: no such file, or not a JSON object.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise BadCheckpoint(path.parent, f"{path.name} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(path.parent, f"{path.name} is not JSON ({error}).") from error
    if not isinstance(document, dict):
        raise BadCheckpoint(path.parent, f"{path.name} is not a JSON object.")
    return document


def make_dimensions(path: Path, sizes: dict[str, object]) -> Dimensions:
    """Dimensions from untrusted numbers, each a positive whole number, heads dividing the width."""
    names = [field.name for field in fields(Dimensions)]
    if sorted(sizes) != sorted(names):
        raise BadCheckpoint(
            path, f"its sizes are {', '.join(map(str, sizes))}; a Whisper model has {', '.join(names)}."
        )
    numbers: dict[str, int] = {}
    for name in names:
        value = sizes[name]
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 24:
            raise BadCheckpoint(path, f"{name} is {value!r}, which is no size of a Whisper model.")
        numbers[name] = value
    dims = Dimensions(**numbers)
    if dims.n_audio_state % dims.n_audio_head or dims.n_text_state % dims.n_text_head:
        raise BadCheckpoint(path, "its heads do not divide its width.")
    if dims.n_audio_state != dims.n_text_state:
        raise BadCheckpoint(path, f"its encoder is {dims.n_audio_state} wide, its decoder {dims.n_text_state}.")
    return dims


def read_alignment_heads(document: dict[str, object], dims: Dimensions) -> tuple[tuple[int, int], ...] | None:
    """The `alignment_heads` of a config, or None where there are none that this model has."""
    listed = document.get("alignment_heads")
    if not isinstance(listed, list) or not listed:
        return None
    pairs: list[tuple[int, int]] = []
    for pair in listed:
        match pair:
            case [int(layer), int(head)] if 0 <= layer < dims.n_text_layer and 0 <= head < dims.n_text_head:
                pairs.append((layer, head))
            case _:
                return None
    return tuple(pairs)
