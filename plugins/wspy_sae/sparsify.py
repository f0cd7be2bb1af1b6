"""The layout of EleutherAI's sparsify: `HOOKPOINT/cfg.json` and `sae.safetensors`.

Its dictionaries are topk, with b_dec taken from the input, and rows of the decoder as the weights have them. SAELens
has a reader of its own for this layout that gives the decoder transposed and leaves b_dec out of the input, so to get
there, export from wspy in the layout of SAELens.
"""

from __future__ import annotations

import json
from pathlib import Path

from wspy_sae.dictionary import Dictionary
from wspy_sae.layouts import (
    Found,
    UnreadableDictionary,
    bias_for_input,
    read_json,
    read_safetensors,
    take,
    whole_number,
)

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"


def read(folder: Path) -> Found:
    """A dictionary that sparsify saved.

    Raises:
        UnreadableDictionary: a file is damaged, or a kind that wspy cannot compute.
    """
    cfg = read_json(folder / CONFIG)
    kinds = {
        "transcode": "a transcoder, which predicts another site",
        "skip_connection": "one with a skip connection",
    }
    for name, what in kinds.items():
        if cfg.get(name):
            raise UnreadableDictionary(folder, f"it is {what}, and wspy computes plain dictionaries")
    if cfg.get("activation", "topk") != "topk":
        raise UnreadableDictionary(folder, f"its activation is {cfg['activation']!r}, and wspy computes topk")
    if cfg.get("signed"):
        raise UnreadableDictionary(folder, "its features may be below zero (signed)")
    tensors = read_safetensors(folder / WEIGHTS)
    return Found(
        "topk",
        "topk",
        take(tensors, folder, "encoder.weight").float().t(),
        take(tensors, folder, "encoder.bias").float(),
        take(tensors, folder, "W_dec").float(),
        take(tensors, folder, "b_dec").float(),
        k=whole_number(cfg, "k", folder),
    )


def write(dictionary: Dictionary, folder: Path) -> None:
    """Write both files into a folder that is there.

    Raises:
        CannotExport: a jumprelu, which sparsify does not know.
    """
    from safetensors.torch import save_file

    from wspy_sae.exchange_errors import CannotExport

    config = dictionary.config
    if config.architecture == "jumprelu":
        raise CannotExport(
            "sparsify", f"it keeps the k highest of a frame, and a {config.trained_as} has thresholds", "saelens"
        )
    k = config.k if config.architecture == "topk" else config.d_sae  # all that are above zero
    weights = {
        "encoder.weight": dictionary.W_enc.detach().t(),
        "encoder.bias": bias_for_input(dictionary, centred=True),
        "W_dec": dictionary.W_dec.detach(),
        "b_dec": dictionary.b_dec.detach(),
    }
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / WEIGHTS)
    cfg = {
        "activation": "topk",
        "expansion_factor": max(round(config.d_sae / config.d_in), 1),
        "normalize_decoder": True,
        "num_latents": config.d_sae,
        "k": k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": config.d_in,
    }
    (folder / CONFIG).write_text(json.dumps(cfg, indent=1), encoding="utf-8")
