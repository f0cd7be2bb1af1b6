"""openai-whisper's own `.pt` files, read with `weights_only=True`: tensors and numbers, never code."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from wspy.errors import BadCheckpoint
from wspy.model.dimensions import Dimensions
from wspy.model.formats import Checkpoint, make_dimensions

if TYPE_CHECKING:
    from torch import Tensor


def read_dimensions(path: Path) -> Dimensions:
    """The model's sizes. This imports torch: the format cannot be read without it."""
    return read(path).dims


def read(path: Path) -> Checkpoint:
    """The whole checkpoint.

    Raises:
        BadCheckpoint: damaged, holding code, or not a Whisper checkpoint.
    """
    import torch

    try:
        document = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        why = "it holds something other than weights, which could run code, or is damaged"
        raise BadCheckpoint(path, f"{why}.") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        first_line = str(error).partition("\n")[0]
        raise BadCheckpoint(path, f"it is damaged or no PyTorch file ({first_line}).") from error
    if not isinstance(document, dict) or not {"dims", "model_state_dict"} <= set(document):
        raise BadCheckpoint(path, "it is no openai-whisper checkpoint: it has no 'dims' and 'model_state_dict'.")
    sizes, weights = document["dims"], document["model_state_dict"]
    if not isinstance(sizes, dict) or not isinstance(weights, dict):
        raise BadCheckpoint(path, "its 'dims' or 'model_state_dict' is not a table.")
    tensors: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or not _is_plain(tensor):
            raise BadCheckpoint(path, f"{name} in it is not a float tensor.")
        if name != "decoder.mask":  # written by older versions; it is the same in every model
            tensors[name] = tensor.to(torch.float32)
    return Checkpoint(make_dimensions(path, sizes), tensors, None)


def _is_plain(tensor: Tensor) -> bool:
    """Floats, each stored once: a stride of zero would let a small file ask for any amount of memory."""
    import torch

    if tensor.layout is not torch.strided or not tensor.dtype.is_floating_point:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
