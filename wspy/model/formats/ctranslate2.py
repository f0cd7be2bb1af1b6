"""CTranslate2 (faster-whisper) folders: `model.bin` of binary version 6 and `config.json`.

The file is little endian: u32 version, string spec name, u32 revision, u32 count; per variable a string name,
u8 rank, u32 x rank shape, u8 type, u32 byte length and the data; then u32 alias count and (alias, name) string
pairs. A string is a u16 length, which counts a closing NUL, and its bytes. Quantised weights (int8 by row,
int16 as a whole) come with a variable `NAME_scale`, and mean `stored / scale`.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wspy.errors import BadCheckpoint
from wspy.model.dimensions import Dimensions
from wspy.model.formats import Checkpoint, make_dimensions, read_alignment_heads, read_json

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

BINARY_VERSION = 6
SPEC_NAME = "WhisperSpec"
SPEC_REVISION = 3
TYPES = ("<f4", "<i1", "<i2", "<i4", "<f2", "bfloat16")
ITEM_BYTES = (4, 1, 2, 4, 2, 2)
MAX_RANK = 4

# Settings of the engine, and the value each has in a Whisper; another would mean another model.
SETTINGS = {
    "decoder/activation": 3,  # GELU by erf
    "decoder/alibi": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}


@dataclass(frozen=True)
class Variable:
    """Where one variable lies in the file; `type_id` counts into TYPES."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int
    n_bytes: int


@dataclass(frozen=True)
class Header:
    """Everything in `model.bin` but the data. Aliases are resolved: each name leads to a stored variable."""

    path: Path
    variables: dict[str, Variable]

    def get(self, name: str) -> Variable:
        try:
            return self.variables[name]
        except KeyError:
            raise BadCheckpoint(self.path, f"the variable {name} is missing.") from None


def read_dimensions(folder: Path) -> Dimensions:
    """The model's sizes, from the headers alone."""
    path = folder / "model.bin"
    with path.open("rb") as file:
        header = _read_header(path, _map(path, file.fileno()))
        return _dimensions(header, file.fileno())


def read(folder: Path) -> Checkpoint:
    """The whole checkpoint.

    Raises:
        BadCheckpoint: not this format, version or spec; truncated; variables missing or left over; a weight
            type that is not known.
    """
    import torch

    path = folder / "model.bin"
    with path.open("rb") as file:
        data = _map(path, file.fileno())
        header = _read_header(path, data)
        dims = _dimensions(header, file.fileno())
        _check_settings(header, data)
        reader = _Reader(header)
        tensors = {}
        for piece in _pieces(dims):
            tensors[piece.key] = torch.from_numpy(reader.rows(piece))
        reader.finish(dims)
    return Checkpoint(dims, tensors, read_alignment_heads(read_json(folder / "config.json"), dims))


# --- the file ---------------------------------------------------------------------------------------------


def _map(path: Path, handle: int) -> mmap.mmap:
    try:
        return mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise BadCheckpoint(path, "the file is empty.") from None


class _Cursor:
    """Reads the small values between the data, and never beyond the end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.position = path, data, 0

    def take(self, n_bytes: int) -> int:
        """Step over `n_bytes` and return where they begin."""
        start = self.position
        if start + n_bytes > len(self.data):
            raise BadCheckpoint(self.path, f"the file is truncated at {len(self.data)} bytes; fetch it again.")
        self.position += n_bytes
        return start

    def number(self, code: str) -> int:
        start = self.take(struct.calcsize(code))
        return int(struct.unpack_from(code, self.data, start)[0])

    def string(self) -> str:
        length = self.number("<H")
        start = self.take(length)
        raw = self.data[start : start + length]
        try:
            return raw.rstrip(b"\0").decode("utf-8")
        except UnicodeDecodeError:
            raise BadCheckpoint(self.path, "a name in it is not text; it is no CTranslate2 model.") from None


def _read_header(path: Path, data: mmap.mmap) -> Header:
    cursor = _Cursor(path, data)
    version = cursor.number("<I")
    if version != BINARY_VERSION:
        raise BadCheckpoint(
            path, f"its binary version is {version}, wspy reads {BINARY_VERSION}; convert the model again."
        )
    spec, revision = cursor.string(), cursor.number("<I")
    if spec != SPEC_NAME or revision != SPEC_REVISION:
        raise BadCheckpoint(path, f"it is a {spec} revision {revision}, not a {SPEC_NAME} revision {SPEC_REVISION}.")
    stored = {}
    for _ in range(cursor.number("<I")):
        variable = _read_variable(cursor)
        if variable.name in stored:
            raise BadCheckpoint(path, f"{variable.name} is stored twice.")
        stored[variable.name] = variable
    variables = dict(stored)
    for _ in range(cursor.number("<I")):
        alias, name = cursor.string(), cursor.string()
        # An alias may name an earlier alias; a name that is neither leads nowhere.
        if alias in variables:
            raise BadCheckpoint(path, f"{alias} is named twice.")
        if name not in variables:
            raise BadCheckpoint(path, f"{alias} stands for {name}, which is missing.")
        variables[alias] = variables[name]
    if cursor.position != len(data):
        raise BadCheckpoint(path, f"{len(data) - cursor.position} bytes follow its end; fetch it again.")
    return Header(path, variables)


def _read_variable(cursor: _Cursor) -> Variable:
    name, rank = cursor.string(), cursor.number("<B")
    if rank > MAX_RANK:
        raise BadCheckpoint(cursor.path, f"{name} has {rank} dimensions; it is no Whisper model.")
    shape = tuple(cursor.number("<I") for _ in range(rank))
    type_id, n_bytes = cursor.number("<B"), cursor.number("<I")
    if type_id >= len(TYPES):
        raise BadCheckpoint(cursor.path, f"{name} has the unknown number type {type_id}; convert the model again.")
    if n_bytes != math.prod(shape) * ITEM_BYTES[type_id]:
        raise BadCheckpoint(cursor.path, f"{name} has {n_bytes} bytes, which does not fit its shape {list(shape)}.")
    return Variable(name, shape, type_id, cursor.take(n_bytes), n_bytes)


def _scalar(header: Header, name: str, data: mmap.mmap) -> int:
    variable = header.get(name)
    code = {1: "<b", 2: "<h", 3: "<i"}.get(variable.type_id)
    if variable.shape or code is None:
        raise BadCheckpoint(header.path, f"{name} is not a whole number.")
    return int(struct.unpack_from(code, data, variable.offset)[0])


def _dimensions(header: Header, handle: int) -> Dimensions:
    data = _map(header.path, handle)

    def shape(name: str, rank: int) -> tuple[int, ...]:
        found = header.get(name).shape
        if len(found) != rank:
            raise BadCheckpoint(header.path, f"{name} has the shape {list(found)}.")
        return found

    def n_layers(side: str) -> int:
        prefix = f"{side}/layer_"
        layers = {name.removeprefix(prefix).split("/")[0] for name in header.variables if name.startswith(prefix)}
        return len({layer for layer in layers if layer.isdigit()})

    audio_ctx, audio_state = shape("encoder/position_encodings/encodings", 2)
    text_ctx, text_state = shape("decoder/position_encodings/encodings", 2)
    return make_dimensions(
        header.path,
        {
            "n_mels": shape("encoder/conv1/weight", 3)[1],
            "n_audio_ctx": audio_ctx,
            "n_audio_state": audio_state,
            "n_audio_head": _scalar(header, "encoder/num_heads", data),
            "n_audio_layer": n_layers("encoder"),
            "n_vocab": shape("decoder/embeddings/weight", 2)[0],
            "n_text_ctx": text_ctx,
            "n_text_state": text_state,
            "n_text_head": _scalar(header, "decoder/num_heads", data),
            "n_text_layer": n_layers("decoder"),
        },
    )


def _check_settings(header: Header, data: mmap.mmap) -> None:
    for name, expected in SETTINGS.items():
        if name in header.variables and (found := _scalar(header, name, data)) != expected:
            raise BadCheckpoint(header.path, f"{name} is {found}; in a Whisper model it is {expected}.")


# --- names ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """openai-whisper's `key` is part `index` of `n_parts` equal stacks of rows of CTranslate2's `variable`."""

    key: str
    variable: str
    shape: tuple[int, ...]
    index: int = 0
    n_parts: int = 1


def _pieces(dims: Dimensions) -> Iterator[Piece]:
    """Every weight of the model, and where CTranslate2 keeps it."""
    d, n_mels = dims.d_model, dims.n_mels
    yield from _affine("encoder.conv1", "encoder/conv1", (d, n_mels, 3))
    yield from _affine("encoder.conv2", "encoder/conv2", (d, d, 3))
    yield Piece("encoder.positional_embedding", "encoder/position_encodings/encodings", (dims.n_audio_ctx, d))
    for layer in range(dims.n_audio_layer):
        yield from _block(f"encoder.blocks.{layer}", f"encoder/layer_{layer}", d, cross=False)
    yield from _norm("encoder.ln_post", "encoder/layer_norm", d)
    yield Piece("decoder.token_embedding.weight", "decoder/embeddings/weight", (dims.n_vocab, d))
    yield Piece("decoder.positional_embedding", "decoder/position_encodings/encodings", (dims.n_text_ctx, d))
    for layer in range(dims.n_text_layer):
        yield from _block(f"decoder.blocks.{layer}", f"decoder/layer_{layer}", d, cross=True)
    yield from _norm("decoder.ln", "decoder/layer_norm", d)


def _affine(key: str, name: str, shape: tuple[int, ...], index: int = 0, n_parts: int = 1) -> Iterator[Piece]:
    yield Piece(f"{key}.weight", f"{name}/weight", shape, index, n_parts)
    if not key.endswith(".key"):  # Whisper's key projection has no bias
        yield Piece(f"{key}.bias", f"{name}/bias", shape[:1], index, n_parts)


def _norm(key: str, name: str, d: int) -> Iterator[Piece]:
    yield Piece(f"{key}.weight", f"{name}/gamma", (d,))
    yield Piece(f"{key}.bias", f"{name}/beta", (d,))


def _block(key: str, name: str, d: int, cross: bool) -> Iterator[Piece]:
    for index, role in enumerate(("query", "key", "value")):
        yield from _affine(f"{key}.attn.{role}", f"{name}/self_attention/linear_0", (d, d), index, 3)
    yield from _affine(f"{key}.attn.out", f"{name}/self_attention/linear_1", (d, d))
    yield from _norm(f"{key}.attn_ln", f"{name}/self_attention/layer_norm", d)
    if cross:
        yield from _affine(f"{key}.cross_attn.query", f"{name}/attention/linear_0", (d, d))
        for index, role in enumerate(("key", "value")):
            yield from _affine(f"{key}.cross_attn.{role}", f"{name}/attention/linear_1", (d, d), index, 2)
        yield from _affine(f"{key}.cross_attn.out", f"{name}/attention/linear_2", (d, d))
        yield from _norm(f"{key}.cross_attn_ln", f"{name}/attention/layer_norm", d)
    yield from _affine(f"{key}.mlp.0", f"{name}/ffn/linear_0", (4 * d, d))
    yield from _affine(f"{key}.mlp.2", f"{name}/ffn/linear_1", (d, 4 * d))
    yield from _norm(f"{key}.mlp_ln", f"{name}/ffn/layer_norm", d)


# --- values -----------------------------------------------------------------------------------------------


class _Reader:
    """Reads variables as float32 and remembers which were used."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.used: set[str] = set()

    def rows(self, piece: Piece) -> Float32[np.ndarray, "*shape"]:
        """One piece, as an array of its own."""
        import numpy as np

        whole = self._floats(piece.variable)
        expected = (piece.n_parts * piece.shape[0], *piece.shape[1:])
        if whole.shape != expected:
            raise BadCheckpoint(
                self.header.path, f"{piece.variable} has the shape {list(whole.shape)} instead of {list(expected)}."
            )
        start = piece.index * piece.shape[0]
        return np.ascontiguousarray(whole[start : start + piece.shape[0]])

    def finish(self, dims: Dimensions) -> None:
        """Refuse what a Whisper model does not have: it would change the numbers if it were dropped."""
        import numpy as np

        d, path = dims.d_model, self.header.path
        for layer in range(dims.n_audio_layer):
            self._no_key_bias(f"encoder/layer_{layer}/self_attention/linear_0/bias", d, 2 * d)
        for layer in range(dims.n_text_layer):
            self._no_key_bias(f"decoder/layer_{layer}/self_attention/linear_0/bias", d, 2 * d)
            self._no_key_bias(f"decoder/layer_{layer}/attention/linear_1/bias", 0, d)
        projection, embedding = "decoder/projection/weight", "decoder/embeddings/weight"
        tied = self.header.variables.get(projection)
        if tied not in (None, self.header.get(embedding)) and not np.array_equal(
            self._floats(projection), self._floats(embedding)
        ):
            raise BadCheckpoint(path, "its output projection is not its token embedding, as it is in Whisper.")
        self.used.update((projection, f"{projection}_scale"))
        left = [name for name, variable in self.header.variables.items() if name not in self.used and variable.shape]
        if left:
            raise BadCheckpoint(path, f"{left[0]} has no place in a Whisper model ({len(left)} such variables).")

    def _no_key_bias(self, name: str, start: int, stop: int) -> None:
        if self._floats(name)[start:stop].any():
            raise BadCheckpoint(self.header.path, f"{name} has a bias for the keys, which Whisper has not.")

    def _floats(self, name: str) -> Float32[np.ndarray, "*shape"]:
        import numpy as np

        variable = self.header.get(name)
        self.used.add(name)
        kind = TYPES[variable.type_id]
        raw = np.memmap(
            self.header.path,
            dtype="<u2" if kind == "bfloat16" else kind,
            mode="r",
            offset=variable.offset,
            shape=variable.shape or (1,),
        )
        if kind == "bfloat16":  # the upper half of a float32
            return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        if kind in ("<f4", "<f2"):
            return raw.astype(np.float32)
        if kind == "<i4":
            raise BadCheckpoint(self.header.path, f"{name} is stored as int32, which no weight is.")
        self.used.add(f"{name}_scale")
        # The scale of a tied weight stands under the name that holds the data.
        scale_name = f"{variable.name}_scale"
        if not variable.shape or TYPES[self.header.get(scale_name).type_id] in ("<i1", "<i2"):
            raise BadCheckpoint(self.header.path, f"{name} is stored as whole numbers, with no scale that fits it.")
        scale = self._floats(scale_name)
        by_row = scale.reshape(-1, *[1] * (len(variable.shape) - 1))
        if scale.size not in (1, variable.shape[0]) or not ((scale > 0) & np.isfinite(scale)).all():
            raise BadCheckpoint(self.header.path, f"{name}_scale does not fit its weight.")
        weight: np.ndarray = raw.astype(np.float32) / by_row
        return weight
