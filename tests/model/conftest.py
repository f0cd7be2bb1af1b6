"""A random model, and writers that put one model into every checkpoint format."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from wspy.model import Model
from wspy.testing import tiny_whisper

Quantisation = Literal["float32", "float16", "bfloat16", "int8"]
HEADS = [[0, 1], [1, 0]]


@pytest.fixture(scope="session")
def tiny() -> Model:
    return tiny_whisper(seed=1)


@pytest.fixture(scope="session")
def mel() -> Tensor:
    """Two windows of noise at the level of real mel spectrograms."""
    return torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(0)) * 0.5


# --- openai-whisper ---------------------------------------------------------------------------------------


def write_openai(model: Model, path: Path) -> Path:
    torch.save({"dims": asdict(model.dims), "model_state_dict": model.whisper.state_dict()}, path)
    return path


# --- Hugging Face -----------------------------------------------------------------------------------------

TO_HF = [
    ("encoder.positional_embedding", "encoder.embed_positions.weight"),
    ("decoder.positional_embedding", "decoder.embed_positions.weight"),
    ("decoder.token_embedding", "decoder.embed_tokens"),
    ("encoder.ln_post", "encoder.layer_norm"),
    ("decoder.ln.", "decoder.layer_norm."),
    ("blocks", "layers"),
    ("cross_attn_ln", "encoder_attn_layer_norm"),
    ("cross_attn.", "encoder_attn."),
    ("attn_ln", "self_attn_layer_norm"),
    (".attn.", ".self_attn."),
    ("query", "q_proj"),
    ("key", "k_proj"),
    ("value", "v_proj"),
    ("attn.out", "attn.out_proj"),
    ("mlp_ln", "final_layer_norm"),
    ("mlp.0", "fc1"),
    ("mlp.2", "fc2"),
]


def hf_name(name: str) -> str:
    for ours, theirs in TO_HF:
        # "attn_ln" must not touch the name that cross_attn_ln has just become.
        if ours == "attn_ln" and "encoder_attn_layer_norm" in name:
            continue
        name = name.replace(ours, theirs)
    return "model." + name


def write_huggingface(model: Model, folder: Path, dtype: torch.dtype = torch.float32, n_shards: int = 1) -> Path:
    from safetensors.torch import save_file

    folder.mkdir()
    dims = model.dims
    config = {
        "model_type": "whisper",
        "activation_function": "gelu",
        "num_mel_bins": dims.n_mels,
        "max_source_positions": dims.n_audio_ctx,
        "d_model": dims.d_model,
        "encoder_attention_heads": dims.n_audio_head,
        "encoder_layers": dims.n_audio_layer,
        "encoder_ffn_dim": dims.d_mlp,
        "vocab_size": dims.n_vocab,
        "max_target_positions": dims.n_text_ctx,
        "decoder_attention_heads": dims.n_text_head,
        "decoder_layers": dims.n_text_layer,
        "decoder_ffn_dim": dims.d_mlp,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"alignment_heads": HEADS}))
    weights = {hf_name(name): tensor.to(dtype) for name, tensor in model.whisper.state_dict().items()}
    if n_shards == 1:
        save_file(weights, folder / "model.safetensors")
        return folder
    table = {}
    for index in range(n_shards):
        file = f"model-{index + 1:05}-of-{n_shards:05}.safetensors"
        names = sorted(weights)[index::n_shards]
        save_file({name: weights[name] for name in names}, folder / file)
        table.update(dict.fromkeys(names, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    return folder


# --- CTranslate2 ------------------------------------------------------------------------------------------

Variables = dict[str, np.ndarray]


def ct2_variables(model: Model) -> Variables:
    """The model under CTranslate2's names, in float32, written down apart from the reader's table."""
    weights = {name: tensor.numpy() for name, tensor in model.whisper.state_dict().items()}
    dims = model.dims
    zeros = np.zeros(dims.d_model, np.float32)
    out: Variables = {}
    for side, n_layers in (("encoder", dims.n_audio_layer), ("decoder", dims.n_text_layer)):
        for layer in range(n_layers):
            ours, theirs = f"{side}.blocks.{layer}", f"{side}/layer_{layer}"

            def get(name: str, ours: str = ours) -> np.ndarray:
                return weights[f"{ours}.{name}"]

            kinds = [("attn", "self_attention")] + ([("cross_attn", "attention")] if side == "decoder" else [])
            for kind, place in kinds:
                stack = [get(f"{kind}.{role}.weight") for role in ("query", "key", "value")]
                biases = [get(f"{kind}.query.bias"), zeros, get(f"{kind}.value.bias")]
                groups = [[0, 1, 2]] if kind == "attn" else [[0], [1, 2]]
                for index, group in enumerate(groups):
                    out[f"{theirs}/{place}/linear_{index}/weight"] = np.concatenate([stack[i] for i in group])
                    out[f"{theirs}/{place}/linear_{index}/bias"] = np.concatenate([biases[i] for i in group])
                out[f"{theirs}/{place}/linear_{len(groups)}/weight"] = get(f"{kind}.out.weight")
                out[f"{theirs}/{place}/linear_{len(groups)}/bias"] = get(f"{kind}.out.bias")
                out[f"{theirs}/{place}/layer_norm/gamma"] = get(f"{kind}_ln.weight")
                out[f"{theirs}/{place}/layer_norm/beta"] = get(f"{kind}_ln.bias")
            for index, linear in enumerate(("mlp.0", "mlp.2")):
                out[f"{theirs}/ffn/linear_{index}/weight"] = get(f"{linear}.weight")
                out[f"{theirs}/ffn/linear_{index}/bias"] = get(f"{linear}.bias")
            out[f"{theirs}/ffn/layer_norm/gamma"] = get("mlp_ln.weight")
            out[f"{theirs}/ffn/layer_norm/beta"] = get("mlp_ln.bias")
        norm = "ln_post" if side == "encoder" else "ln"
        out[f"{side}/layer_norm/gamma"] = weights[f"{side}.{norm}.weight"]
        out[f"{side}/layer_norm/beta"] = weights[f"{side}.{norm}.bias"]
        out[f"{side}/position_encodings/encodings"] = weights[f"{side}.positional_embedding"]
        out[f"{side}/num_heads"] = np.int16(dims.n_audio_head if side == "encoder" else dims.n_text_head)
    for conv in ("conv1", "conv2"):
        out[f"encoder/{conv}/weight"] = weights[f"encoder.{conv}.weight"]
        out[f"encoder/{conv}/bias"] = weights[f"encoder.{conv}.bias"]
    out["decoder/embeddings/weight"] = weights["decoder.token_embedding.weight"]
    for setting, value in (("activation", 3), ("alibi", 0), ("pre_norm", 1), ("scale_embeddings", 0)):
        out[f"decoder/{setting}"] = np.int8(value)
    return out


def quantise(variables: Variables, quantisation: Quantisation) -> Variables:
    out: Variables = {}
    for name, value in variables.items():
        if value.dtype != np.float32 or quantisation in ("float32", "bfloat16"):
            out[name] = value
        elif quantisation == "float16":
            out[name] = value.astype(np.float16)
        elif name.endswith("weight"):
            flat = value.reshape(len(value), -1)
            scale = (127.0 / np.abs(flat).max(axis=1)).astype(np.float32)
            out[name] = np.rint(flat * scale[:, None]).astype(np.int8).reshape(value.shape)
            out[f"{name}_scale"] = scale
        else:
            out[name] = value
    return out


def serialise(
    variables: Variables,
    aliases: list[tuple[str, str]],
    *,
    version: int = 6,
    spec: str = "WhisperSpec",
    revision: int = 3,
    bfloat16: bool = False,
) -> bytes:
    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    types = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    parts = [struct.pack("<I", version), string(spec), struct.pack("<II", revision, len(variables))]
    for name, value in sorted(variables.items()):
        type_id, data = types[value.dtype.name], value.tobytes()
        if bfloat16 and value.dtype == np.float32:
            type_id, data = 5, (np.ascontiguousarray(value).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        parts.append(string(name) + shape + struct.pack("<BI", type_id, len(data)) + data)
    parts.append(struct.pack("<I", len(aliases)))
    parts.extend(string(alias) + string(name) for alias, name in aliases)
    return b"".join(parts)


ALIASES = [("decoder/projection/weight", "decoder/embeddings/weight")]


def write_ctranslate2(model: Model, folder: Path, quantisation: Quantisation = "float32") -> Path:
    folder.mkdir()
    variables = quantise(ct2_variables(model), quantisation)
    data = serialise(variables, ALIASES, bfloat16=quantisation == "bfloat16")
    (folder / "model.bin").write_bytes(data)
    (folder / "config.json").write_text(json.dumps({"alignment_heads": HEADS, "suppress_ids": [1]}))
    return folder


@pytest.fixture(scope="session")
def writers() -> dict[str, Callable[..., Path]]:
    """The writers by name of format, so that tests need not import this file."""
    return {"openai": write_openai, "huggingface": write_huggingface, "ctranslate2": write_ctranslate2}


class Ct2:
    """The parts of the CTranslate2 writer, for tests that damage a file."""

    variables = staticmethod(ct2_variables)
    quantise = staticmethod(quantise)
    serialise = staticmethod(serialise)
    aliases = ALIASES


@pytest.fixture(scope="session")
def ct2() -> type[Ct2]:
    return Ct2
