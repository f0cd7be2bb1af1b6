"""The layout of SAELens, which is also wspy's own: `cfg.json` and `sae_weights.safetensors`.

A batchtopk or matryoshka is a jumprelu here, with the threshold that training found, as SAELens saves them. The
metadata of `cfg.json` take any key: what wspy has to know (hash of the model, site, corpus, sample and frame rate,
whether padding was left out) is there. `sae_lens.SAE.load_from_disk(folder)` reads the folder as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from pydantic import ValidationError

from wspy_sae.dictionary import Dictionary, DictionaryConfig, TrainedAs
from wspy_sae.layouts import Found, UnreadableDictionary, gated, read_json, read_safetensors, take, whole_number

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
LAYOUT_VERSION = "6.18.0"
"""The oldest SAELens that reads what is written here. Without a version, it would take the layout for an older one."""
NAMES = {"relu": "standard", "topk": "topk", "jumprelu": "jumprelu"}
"""What SAELens calls the architectures."""
METADATA = {
    "model_name": "model_name",
    "model_sha256": "model_sha256",
    "published_name": "published_name",
    "site": "hook_name",
    "trained_as": "trained_as",
    "k": "k",
    "corpus": "corpus",
    "corpus_hash": "corpus_hash",
    "tied": "tied",
    "sample_rate_hz": "sample_rate_hz",
    "frames_per_second": "frames_per_second",
    "valid_frames_only": "valid_frames_only",
}
"""Fields of `DictionaryConfig`, and where they are in the metadata."""


# --- writing ----------------------------------------------------------------------------------------------


def write(dictionary: Dictionary, folder: Path) -> None:
    """Write both files into a folder that is there, each whole and synced to disk."""
    from safetensors.torch import save

    from wspy.files import write_atomic

    names = ["W_enc", "b_enc", "W_dec", "b_dec"]
    if dictionary.config.architecture == "jumprelu":
        names.append("threshold")
    weights = {name: getattr(dictionary, name).detach().float().contiguous() for name in names}
    write_atomic(folder / WEIGHTS, save(weights))
    write_atomic(folder / CONFIG, json.dumps(content(dictionary.config), indent=1))


def content(config: DictionaryConfig) -> dict[str, object]:
    """What is in `cfg.json`."""
    import wspy

    own = config.model_dump(mode="json")
    return {
        "architecture": NAMES[config.architecture],
        "d_in": config.d_in,
        "d_sae": config.d_sae,
        **({"k": config.k, "rescale_acts_by_decoder_norm": False} if config.architecture == "topk" else {}),
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": config.apply_b_dec_to_input,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": LAYOUT_VERSION,
            "sae_lens_training_version": None,
            **{there: own[here] for here, there in METADATA.items()},
            "layer": layer(config.site),
            "wspy_version": wspy.__version__,
        },
    }


def layer(site: str) -> int | None:
    """The number of a site's block, from 0; None outside the blocks."""
    _, block, rest = site.partition(".blocks.")
    number = rest.partition(".")[0]
    return int(number) if block and number.isdigit() else None


# --- reading ----------------------------------------------------------------------------------------------


def read_config(folder: Path) -> DictionaryConfig:
    """What wspy wrote into `cfg.json`.

    Raises:
        UnreadableDictionary: no such file, or one that does not say for which model and site.
    """
    return config_of(read_json(folder / CONFIG), folder)


def config_of(cfg: Mapping[str, object], folder: Path) -> DictionaryConfig:
    """As `read_config`, from what the file holds."""
    about = _metadata(cfg)
    if "model_sha256" not in about:
        raise UnreadableDictionary(
            folder, f"{CONFIG} does not say for which Whisper it is; `wspy sae import` asks for that"
        )
    known = {here: about[there] for here, there in METADATA.items() if there in about}
    ours = {name: name_here for name_here, name in NAMES.items()}
    try:
        return DictionaryConfig.model_validate(
            {
                **known,
                "architecture": ours.get(str(cfg.get("architecture"))),
                "d_in": cfg.get("d_in"),
                "d_sae": cfg.get("d_sae"),
                "apply_b_dec_to_input": cfg.get("apply_b_dec_to_input", True),
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UnreadableDictionary(folder, f"{CONFIG}, {place}: {first['msg']}") from None


def read(folder: Path) -> Found:
    """Weights and configuration of any dictionary that SAELens saved for inference, version 5 or 6.

    Raises:
        UnreadableDictionary: a file is damaged, or a kind that wspy cannot compute.
    """
    cfg = _modern(read_json(folder / CONFIG))
    tensors = read_safetensors(folder / WEIGHTS)
    _refuse_what_differs(cfg, tensors, folder)
    architecture = cfg["architecture"]
    about = _metadata(cfg)
    w_enc, w_dec, b_dec = (take(tensors, folder, name).float() for name in ("W_enc", "W_dec", "b_dec"))
    said = about.get("trained_as")
    trained_as = cast(TrainedAs, said) if said in get_args(TrainedAs) else None
    centred = bool(cfg.get("apply_b_dec_to_input", True))
    if architecture == "gated":
        parts = (take(tensors, folder, name).float() for name in ("b_gate", "b_mag", "r_mag"))
        w_enc, b_enc, threshold = gated(w_enc, *parts)
        return Found(
            "jumprelu",
            trained_as or "gated",
            w_enc,
            b_enc,
            w_dec,
            b_dec,
            threshold,
            apply_b_dec_to_input=centred,
            about=about,
        )
    b_enc = take(tensors, folder, "b_enc").float()
    if architecture == "topk":
        k = whole_number(cfg, "k", folder)
        if cfg.get("rescale_acts_by_decoder_norm"):
            # The features are compared as if the decoder's rows had the length 1: give them that length.
            lengths = w_dec.norm(dim=1)
            w_enc, b_enc, w_dec = w_enc * lengths, b_enc * lengths, w_dec / lengths[:, None]
        return Found(
            "topk", trained_as or "topk", w_enc, b_enc, w_dec, b_dec, k=k, apply_b_dec_to_input=centred, about=about
        )
    k_aimed = about.get("k")
    common = {"k": k_aimed if isinstance(k_aimed, int) else None, "apply_b_dec_to_input": centred, "about": about}
    if architecture == "jumprelu":
        threshold = take(tensors, folder, "threshold").float()
        return Found("jumprelu", trained_as or "jumprelu", w_enc, b_enc, w_dec, b_dec, threshold, **common)  # type: ignore[arg-type]
    return Found("relu", trained_as or "relu", w_enc, b_enc, w_dec, b_dec, **common)  # type: ignore[arg-type]


def _metadata(cfg: Mapping[str, object]) -> dict[str, object]:
    about = cfg.get("metadata")
    return dict(about) if isinstance(about, dict) else {}


def _modern(cfg: dict[str, object]) -> dict[str, object]:
    """A configuration as version 6 has it: before, all keys lay side by side, and topk was an activation function."""
    if isinstance(cfg.get("metadata"), dict):
        return cfg
    cfg = dict(cfg)
    kwargs = cfg.get("activation_fn_kwargs")
    if cfg.get("activation_fn", cfg.get("activation_fn_str")) == "topk" and isinstance(kwargs, dict):
        cfg |= {"architecture": "topk", "k": kwargs.get("k")}
    cfg.setdefault("architecture", "standard")
    normalised = cfg.get("normalize_activations")
    cfg["normalize_activations"] = "expected_average_only_in" if normalised is True else normalised or "none"
    about = {name: cfg[name] for name in ("model_name", "hook_name") if name in cfg}
    if "hook_point" in cfg:
        about["hook_name"] = cfg["hook_point"]
    return {**cfg, "metadata": about}


def _refuse_what_differs(cfg: Mapping[str, object], tensors: Mapping[str, Tensor], folder: Path) -> None:
    """What would give other numbers here than there.

    Raises:
        UnreadableDictionary: the architecture, a normalisation, or a factor that the weights do not have in them.
    """
    architecture, normalised = cfg.get("architecture"), cfg.get("normalize_activations", "none")
    if architecture not in ("standard", "topk", "jumprelu", "gated"):
        raise UnreadableDictionary(
            folder,
            f"its architecture is {architecture!r}, and wspy computes standard, topk, jumprelu and gated "
            "(batchtopk and matryoshka become jumprelu by SAELens' save_inference_model)",
        )
    if normalised == "expected_average_only_in":
        raise UnreadableDictionary(
            folder, "it wants activations scaled by a factor that it does not hold (fold it into the weights, and save)"
        )
    if normalised != "none":
        raise UnreadableDictionary(folder, f"it normalises activations by {normalised!r}, which wspy does not do")
    factor = tensors.get("scaling_factor", tensors.get("finetuning_scaling_factor"))
    if factor is not None and not bool((factor == 1).all()):
        raise UnreadableDictionary(folder, "it multiplies its features by a scaling_factor, which wspy does not do")
