"""The layout of dictionary_learning, and of AudioSAE that was trained with it: `ae.pt` and `config.json`.

`config.json` names the class, which decides what the tensors mean; AudioSAE's says less, and is a BatchTopKSAE. A
BatchTopKSAE has one threshold for all features, and is a jumprelu here. One without a threshold, as from a training
that ended before it was measured, would be computed by dictionary_learning as relu, with far too many features; here it
keeps the k highest of each frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from wspy.audio import WINDOW_FRAMES
from wspy_sae.dictionary import Architecture, Dictionary, TrainedAs
from wspy_sae.layouts import (
    Found,
    UnreadableDictionary,
    bias_for_input,
    gated,
    read_json,
    read_torch,
    take,
    whole_number,
)
from wspy_sae.saelens import layer

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, WEIGHTS = "config.json", "ae.pt"
NO_THRESHOLD = "the file has no threshold, so the {k} highest of each frame are active"


# --- reading ----------------------------------------------------------------------------------------------


def read(folder: Path) -> Found:
    """A dictionary that dictionary_learning or AudioSAE saved. Nothing in `ae.pt` is executed.

    Raises:
        UnreadableDictionary: a file is damaged, or a kind that wspy cannot compute.
    """
    cfg = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    trainer = cfg.get("trainer")
    trainer = dict(trainer) if isinstance(trainer, dict) else cfg
    tensors = read_torch(folder / WEIGHTS)
    kind = str(trainer.get("dict_class") or _guess(tensors))
    if kind in ("AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
        return _highest(kind, tensors, trainer, folder)
    if kind == "JumpReluAutoEncoder":
        w_enc, b_enc, w_dec, b_dec, threshold = (
            take(tensors, folder, name).float() for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
        )
        return Found("jumprelu", "jumprelu", w_enc, b_enc, w_dec, b_dec, threshold, apply_b_dec_to_input=False)
    if kind == "GatedAutoEncoder":
        encoder, gate, magnitude, gain, decoder, b_dec = (
            take(tensors, folder, name).float()
            for name in ("encoder.weight", "gate_bias", "mag_bias", "r_mag", "decoder.weight", "decoder_bias")
        )
        w_enc, b_enc, threshold = gated(encoder.t(), gate, magnitude, gain)
        return Found("jumprelu", "gated", w_enc, b_enc, decoder.t(), b_dec, threshold)
    if kind in ("AutoEncoder", "AutoEncoderNew"):
        encoder, b_enc, decoder, b_dec = (
            take(tensors, folder, *names).float()
            for names in (("encoder.weight",), ("encoder.bias",), ("decoder.weight",), ("bias", "decoder.bias"))
        )
        centred = kind == "AutoEncoder"
        found = Found("relu", "relu", encoder.t(), b_enc, decoder.t(), b_dec, apply_b_dec_to_input=centred)
        return found.with_unit_rows() if centred else found  # as its own reader does
    raise UnreadableDictionary(folder, f"its class is {kind}, which wspy does not compute")


def _guess(tensors: Mapping[str, Tensor]) -> str:
    """The class, where `config.json` does not name it: from the tensors that it alone has."""
    if "group_sizes" in tensors:
        return "MatryoshkaBatchTopKSAE"
    if "gate_bias" in tensors:
        return "GatedAutoEncoder"
    if "W_enc" in tensors:
        return "JumpReluAutoEncoder"
    if "k" in tensors:
        return "BatchTopKSAE"
    return "AutoEncoder" if "bias" in tensors else "AutoEncoderNew"


def _highest(kind: str, tensors: Mapping[str, Tensor], trainer: Mapping[str, object], folder: Path) -> Found:
    """The kinds that are trained to keep the k highest, of a frame or of a batch."""
    k = int(tensors["k"]) if "k" in tensors else whole_number(trainer, "k", folder)
    if "W_enc" in tensors:
        w_enc, w_dec = take(tensors, folder, "W_enc").float(), take(tensors, folder, "W_dec").float()
        b_enc = take(tensors, folder, "b_enc").float()
    else:
        w_enc, w_dec = (take(tensors, folder, name).float().t() for name in ("encoder.weight", "decoder.weight"))
        b_enc = take(tensors, folder, "encoder.bias").float()
    b_dec = take(tensors, folder, "b_dec").float()
    threshold = float(tensors["threshold"]) if "threshold" in tensors else -1.0
    trained_as: TrainedAs = {"AutoEncoderTopK": "topk", "BatchTopKSAE": "batchtopk"}.get(kind, "matryoshka")  # type: ignore[assignment]
    if kind == "AutoEncoderTopK" or threshold < 0:  # topk's threshold is for those who want no topk
        note = "" if kind == "AutoEncoderTopK" else NO_THRESHOLD.format(k=k)
        return Found("topk", trained_as, w_enc, b_enc, w_dec, b_dec, k=k, note=note)
    return Found("jumprelu", trained_as, w_enc, b_enc, w_dec, b_dec, torch.full_like(b_enc, threshold), k=k)


# --- writing ----------------------------------------------------------------------------------------------


@torch.no_grad()
def write(dictionary: Dictionary, folder: Path) -> None:
    """Write both files into a folder that is there, as the class that computes the same."""
    config = dictionary.config
    first = dictionary.threshold[0]
    one_for_all = config.k is not None and bool(first >= 0) and bool((dictionary.threshold == first).all())
    unit_rows = bool(((dictionary.W_dec.norm(dim=1) - 1).abs() < 1e-5).all())
    kind = _class_for(config.architecture, one_for_all=one_for_all, unit_rows=unit_rows)
    centred = bias_for_input(dictionary, centred=True)
    linear = {
        "encoder.weight": dictionary.W_enc.t(),
        "encoder.bias": centred,
        "decoder.weight": dictionary.W_dec.t(),
    }
    if kind == "JumpReluAutoEncoder":
        weights = {
            "W_enc": dictionary.W_enc,
            "b_enc": bias_for_input(dictionary, centred=False),
            "W_dec": dictionary.W_dec,
            "b_dec": dictionary.b_dec,
            "threshold": dictionary.threshold,
        }
    elif kind == "AutoEncoder":
        weights = {**linear, "bias": dictionary.b_dec}
    elif kind == "AutoEncoderNew":
        bias = bias_for_input(dictionary, centred=False)
        weights = {**linear, "encoder.bias": bias, "decoder.bias": dictionary.b_dec}
    else:
        threshold = first if kind == "BatchTopKSAE" else torch.tensor(-1.0)
        assert config.k is not None
        k = torch.tensor(config.k, dtype=torch.int32)
        weights = {**linear, "b_dec": dictionary.b_dec, "k": k, "threshold": threshold}
    torch.save({name: value.detach().clone().contiguous() for name, value in weights.items()}, folder / WEIGHTS)
    trainer = {
        "dict_class": kind,
        "activation_dim": config.d_in,
        "dict_size": config.d_sae,
        **({"k": config.k} if config.k is not None else {}),
        "layer": layer(config.site),
        "lm_name": config.model_name,
        "submodule_name": config.site,
    }
    # Its own readers look for the length of a context.
    cfg = {"trainer": trainer, "buffer": {"d_submodule": config.d_in, "ctx_len": WINDOW_FRAMES}}
    (folder / CONFIG).write_text(json.dumps(cfg, indent=1), encoding="utf-8")


def _class_for(architecture: Architecture, *, one_for_all: bool, unit_rows: bool) -> str:
    if architecture == "jumprelu":
        return "BatchTopKSAE" if one_for_all else "JumpReluAutoEncoder"
    if architecture == "topk":
        return "AutoEncoderTopK"
    return "AutoEncoder" if unit_rows else "AutoEncoderNew"  # whose reader leaves the rows as they are
