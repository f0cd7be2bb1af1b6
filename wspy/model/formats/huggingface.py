"""Hugging Face folders: `config.json` and `model.safetensors`, whole or in shards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wspy.errors import BadCheckpoint
from wspy.model.dimensions import Dimensions
from wspy.model.formats import Checkpoint, make_dimensions, read_alignment_heads, read_json

if TYPE_CHECKING:
    from torch import Tensor

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

SIZES = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}

# Hugging Face's name for each part of a block, and openai-whisper's.
BLOCK_PARTS = {
    "self_attn.q_proj": "attn.query",
    "self_attn.k_proj": "attn.key",
    "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out",
    "self_attn_layer_norm": "attn_ln",
    "encoder_attn.q_proj": "cross_attn.query",
    "encoder_attn.k_proj": "cross_attn.key",
    "encoder_attn.v_proj": "cross_attn.value",
    "encoder_attn.out_proj": "cross_attn.out",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "final_layer_norm": "mlp_ln",
}
OUTER_PARTS = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "encoder.layer_norm.weight": "encoder.ln_post.weight",
    "encoder.layer_norm.bias": "encoder.ln_post.bias",
    "decoder.embed_tokens.weight": "decoder.token_embedding.weight",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
    "decoder.layer_norm.weight": "decoder.ln.weight",
    "decoder.layer_norm.bias": "decoder.ln.bias",
}
BLOCK_NAME = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)\.(weight|bias)")


def read_dimensions(folder: Path) -> Dimensions:
    """The model's sizes, from `config.json` alone.

    Raises:
        BadCheckpoint: another kind of model, or a variant that openai-whisper's class cannot hold.
    """
    config = read_json(folder / "config.json")
    if config.get("model_type") != "whisper":
        raise BadCheckpoint(
            folder, f"its config.json is for the model type {config.get('model_type')!r}, not 'whisper'."
        )
    if config.get("activation_function", "gelu") != "gelu":
        raise BadCheckpoint(folder, f"its activation is {config['activation_function']!r}; Whisper's is 'gelu'.")
    if absent := [name for name in SIZES.values() if name not in config]:
        raise BadCheckpoint(folder, f"its config.json lacks {', '.join(absent)}.")
    dims = make_dimensions(folder, {ours: config[theirs] for ours, theirs in SIZES.items()})
    for side in ("encoder", "decoder"):
        width = config.get(f"{side}_ffn_dim", dims.d_mlp)
        if width != dims.d_mlp:
            raise BadCheckpoint(folder, f"its {side}_ffn_dim is {width}; in Whisper it is four times d_model.")
    return dims


def shards(folder: Path) -> list[Path]:
    """The safetensors files of the folder, in order of name."""
    if (folder / WHOLE).is_file():
        return [folder / WHOLE]
    table = read_json(folder / INDEX).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise BadCheckpoint(folder, f"{INDEX} has no weight_map.")
    names = sorted({str(name) for name in table.values()})
    files = {path.name for path in folder.iterdir() if path.is_file()}
    for name in names:
        if name not in files:
            raise BadCheckpoint(folder, f"{INDEX} names {name[:80]!r}, which is not a file in the folder.")
    return [folder / name for name in names]


def read(folder: Path) -> Checkpoint:
    """The whole checkpoint.

    Raises:
        BadCheckpoint: another kind of model, a pickle under the name of a safetensors file, a damaged file, or
            a weight that Whisper does not have.
    """
    import torch

    dims = read_dimensions(folder)
    tensors: dict[str, Tensor] = {}
    projection: Tensor | None = None
    for path in shards(folder):
        for name, tensor in _stored(path):
            if name == "proj_out.weight":
                projection = tensor
                continue
            key = _openai_name(name)
            if key is None:
                raise BadCheckpoint(path, f"{name} has no place in a Whisper model.")
            if key in tensors:
                raise BadCheckpoint(path, f"{name} is stored twice.")
            if not tensor.dtype.is_floating_point:
                raise BadCheckpoint(path, f"{name} is stored as {tensor.dtype}; save the model as float.")
            tensors[key] = tensor.to(torch.float32)
    embedding = tensors.get("decoder.token_embedding.weight")
    if projection is not None and embedding is not None and not torch.equal(projection.to(torch.float32), embedding):
        raise BadCheckpoint(folder, "its output projection is not its token embedding, as it is in Whisper.")
    generation = folder / "generation_config.json"
    heads = read_alignment_heads(read_json(generation), dims) if generation.is_file() else None
    return Checkpoint(dims, tensors, heads)


def _stored(path: Path) -> Iterator[tuple[str, Tensor]]:
    import safetensors

    with path.open("rb") as file:
        start = file.read(8)
    # The first eight bytes of a safetensors file are the length of its header; no header begins like a pickle.
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")) and start[4:] != b"\0" * 4:
        raise BadCheckpoint(path, "it is a pickle, which can run code, under the name of a safetensors file.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                yield name, file.get_tensor(name)
    except safetensors.SafetensorError as error:
        raise BadCheckpoint(path, f"it is damaged or no safetensors file ({error}); fetch it again.") from error


def _openai_name(name: str) -> str | None:
    """openai-whisper's name for a weight; None where Whisper has no such weight."""
    name = name.removeprefix("model.")
    if name in OUTER_PARTS:
        return OUTER_PARTS[name]
    if re.fullmatch(r"encoder\.conv[12]\.(weight|bias)", name):
        return name
    found = BLOCK_NAME.fullmatch(name)
    if found is None or found[3] not in BLOCK_PARTS:
        return None
    return f"{found[1]}.blocks.{found[2]}.{BLOCK_PARTS[found[3]]}.{found[4]}"
