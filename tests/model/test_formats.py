"""One model through every checkpoint format; bad files refused by name."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from wspy.errors import BadCheckpoint
from wspy.model import Model, find_model, load_model

Writers = dict[str, Callable[..., Path]]


def weights(model: Model) -> dict[str, torch.Tensor]:
    return dict(model.whisper.state_dict())


def assert_same(found: Model, expected: dict[str, torch.Tensor]) -> None:
    assert weights(found).keys() == expected.keys()
    for name, tensor in weights(found).items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[name]), name


def test_every_format_gives_the_same_float32_model(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    paths = [
        writers["openai"](tiny, tmp_path / "model.pt"),
        writers["huggingface"](tiny, tmp_path / "hf"),
        writers["huggingface"](tiny, tmp_path / "sharded", n_shards=3),
        writers["ctranslate2"](tiny, tmp_path / "ct2"),
    ]
    tokens = torch.tensor([[50257, 50362, 100]])
    features = torch.randn(1, 1500, 64, generator=torch.Generator().manual_seed(3))
    expected = tiny.whisper.decoder(tokens, features)
    for path in paths:
        loaded = load_model(path, device="cpu")
        assert loaded.dims == tiny.dims
        assert_same(loaded, weights(tiny))
        assert torch.equal(loaded.whisper.decoder(tokens, features), expected)
        assert not loaded.whisper.training
        assert not any(parameter.requires_grad for parameter in loaded.whisper.parameters())


def test_float16_gives_the_float16_weights(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    expected = {name: tensor.half().float() for name, tensor in weights(tiny).items()}
    assert_same(load_model(writers["ctranslate2"](tiny, tmp_path / "ct2", "float16"), "cpu"), expected)
    assert_same(load_model(writers["huggingface"](tiny, tmp_path / "hf", torch.float16), "cpu"), expected)


def test_bfloat16_gives_the_truncated_weights(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    def truncated(tensor: torch.Tensor) -> torch.Tensor:
        bits = tensor.contiguous().numpy().view(np.uint32) & np.uint32(0xFFFF0000)
        return torch.from_numpy(bits.view(np.float32))

    expected = {name: truncated(tensor) for name, tensor in weights(tiny).items()}
    assert_same(load_model(writers["ctranslate2"](tiny, tmp_path / "ct2", "bfloat16"), "cpu"), expected)
    rounded = {name: tensor.bfloat16().float() for name, tensor in weights(tiny).items()}
    assert_same(load_model(writers["huggingface"](tiny, tmp_path / "hf", torch.bfloat16), "cpu"), rounded)


def test_int8_is_within_half_a_quantisation_step(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    loaded = load_model(writers["ctranslate2"](tiny, tmp_path / "ct2", "int8"), "cpu")
    changed = 0
    for name, tensor in weights(tiny).items():
        found = weights(loaded)[name]
        if not name.endswith("weight") or tensor.ndim == 1:
            assert torch.equal(found, tensor), name  # biases and LayerNorms stay float
            continue
        step = tensor.flatten(1).abs().amax(dim=1) / 127
        # query, key and value share a file variable but not a row, so each row has its own step
        assert bool(((found - tensor).flatten(1).abs() <= step[:, None] * 0.5001).all()), name
        changed += int(not torch.equal(found, tensor))
    assert changed > 10


def test_a_zero_row_survives_int8(tiny: Model, ct2: type, tmp_path: Path) -> None:
    # CTranslate2 writes scale 1 for a row of zeros.
    variables = ct2.quantise(ct2.variables(tiny), "int8")
    variables["encoder/conv1/weight"][3] = 0
    variables["encoder/conv1/weight_scale"][3] = 1
    folder = save(tmp_path / "ct2", ct2.serialise(variables, ct2.aliases))
    assert not load_model(folder, "cpu").whisper.encoder.conv1.weight[3].any()


def test_aliases_lead_to_the_stored_variable(tiny: Model, ct2: type, tmp_path: Path) -> None:
    # CTranslate2 stores equal variables once, and names the others as aliases, possibly of aliases.
    variables = ct2.variables(tiny)
    gamma = variables["decoder/layer_norm/gamma"]
    del variables["encoder/layer_norm/gamma"], variables["encoder/layer_0/ffn/layer_norm/gamma"]
    aliases = [
        *ct2.aliases,
        ("encoder/layer_0/ffn/layer_norm/gamma", "decoder/layer_norm/gamma"),
        ("encoder/layer_norm/gamma", "encoder/layer_0/ffn/layer_norm/gamma"),
    ]
    loaded = load_model(save(tmp_path / "ct2", ct2.serialise(variables, aliases)), "cpu")
    for module in (loaded.whisper.encoder.ln_post, loaded.whisper.encoder.blocks[0].mlp_ln):
        assert np.array_equal(module.weight.numpy(), gamma)


def test_alignment_heads_come_from_the_config(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    for format_name in ("huggingface", "ctranslate2"):
        loaded = load_model(writers[format_name](tiny, tmp_path / format_name), "cpu")
        assert loaded.whisper.alignment_heads.indices().T.tolist() == [[0, 1], [1, 0]]
    loaded = load_model(writers["openai"](tiny, tmp_path / "model.pt"), "cpu")
    assert loaded.whisper.alignment_heads.indices().T.tolist() == [[1, 0], [1, 1]]  # openai-whisper's own default


# --- refusals ---------------------------------------------------------------------------------------------


def save(folder: Path, data: bytes) -> Path:
    folder.mkdir()
    (folder / "model.bin").write_bytes(data)
    (folder / "config.json").write_text("{}")
    return folder


def refuse(path: Path, *words: str) -> None:
    with pytest.raises(BadCheckpoint) as caught:
        load_model(path, "cpu")
    message = str(caught.value)
    assert "\n" not in message
    for word in (*words, str(path)):
        assert word in message


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"version": 5}, "binary version is 5"),
        ({"spec": "TransformerSpec"}, "TransformerSpec"),
        ({"revision": 2}, "revision 2"),
    ],
)
def test_another_kind_of_ctranslate2_file_is_refused(
    tiny: Model, ct2: type, tmp_path: Path, change: dict[str, int | str], word: str
) -> None:
    refuse(save(tmp_path / "ct2", ct2.serialise(ct2.variables(tiny), ct2.aliases, **change)), word)


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.3, 0.999])
def test_a_truncated_ctranslate2_file_is_refused(tiny: Model, ct2: type, tmp_path: Path, share: float) -> None:
    data = ct2.serialise(ct2.variables(tiny), ct2.aliases)
    refuse(save(tmp_path / "ct2", data[: int(len(data) * share)]), "empty" if share == 0 else "truncated")


def test_ctranslate2_variables_must_be_the_right_ones(tiny: Model, ct2: type, tmp_path: Path) -> None:
    def attempt(name: str, change: Callable[[dict[str, np.ndarray]], object], *words: str) -> None:
        variables = ct2.variables(tiny)
        change(variables)
        refuse(save(tmp_path / name, ct2.serialise(variables, ct2.aliases)), *words)

    d = tiny.dims.d_model
    key_bias = "encoder/layer_0/self_attention/linear_0/bias"
    attempt("missing", lambda v: v.pop("encoder/conv1/bias"), "encoder/conv1/bias is missing")
    attempt("extra", lambda v: v.update({"encoder/extra": np.ones(3, np.float32)}), "encoder/extra")
    attempt("shape", lambda v: v.update({"decoder/layer_norm/beta": np.ones(3, np.float32)}), "decoder/layer_norm/beta")
    attempt("key bias", lambda v: v[key_bias].__setitem__(slice(d, 2 * d), 1), key_bias)
    attempt("relu", lambda v: v.update({"decoder/activation": np.int8(0)}), "decoder/activation is 0")
    attempt("heads", lambda v: v.update({"encoder/num_heads": np.int16(7)}), "heads")
    attempt("int32", lambda v: v.update({"encoder/conv1/bias": np.ones(d, np.int32)}), "int32")
    variables = ct2.variables(tiny)
    variables["decoder/projection/weight"] = variables["decoder/embeddings/weight"].copy()
    refuse(save(tmp_path / "twice", ct2.serialise(variables, ct2.aliases)), "decoder/projection/weight is named twice")
    load_model(save(tmp_path / "tied", ct2.serialise(variables, [])), "cpu")
    variables["decoder/projection/weight"] += 1
    refuse(save(tmp_path / "untied", ct2.serialise(variables, [])), "output projection")


def test_int8_without_its_scale_is_refused(tiny: Model, ct2: type, tmp_path: Path) -> None:
    variables = ct2.quantise(ct2.variables(tiny), "int8")
    del variables["encoder/conv2/weight_scale"]
    refuse(save(tmp_path / "ct2", ct2.serialise(variables, ct2.aliases)), "encoder/conv2/weight_scale is missing")


def test_bytes_after_the_end_are_refused(tiny: Model, ct2: type, tmp_path: Path) -> None:
    refuse(save(tmp_path / "ct2", ct2.serialise(ct2.variables(tiny), ct2.aliases) + b"more"), "4 bytes follow")


def test_a_pickle_never_runs(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Trap()))
    refuse(tmp_path / "plain.pt")
    torch.save({"dims": Trap(), "model_state_dict": {}}, tmp_path / "trap.pt")
    refuse(tmp_path / "trap.pt", "could run code")
    folder = writers["huggingface"](tiny, tmp_path / "hf")
    shutil.copy(tmp_path / "trap.pt", folder / "model.safetensors")
    refuse(folder, "pickle")
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    refuse(folder, "pickle")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refuse(folder, "pytorch_model.bin is a pickle")
    assert not (tmp_path / "ran").exists()


def test_bad_openai_files_are_refused(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    path = writers["openai"](tiny, tmp_path / "model.pt")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refuse(path, "damaged")
    torch.save({"weights": torch.ones(3)}, path)
    refuse(path, "no openai-whisper checkpoint")
    state = weights(tiny)
    sizes = {name: getattr(tiny.dims, name) for name in tiny.dims.__dataclass_fields__}
    torch.save({"dims": {**sizes, "n_mels": "80"}, "model_state_dict": state}, path)
    refuse(path, "n_mels is '80'")
    torch.save({"dims": sizes, "model_state_dict": {k: v for k, v in state.items() if "conv1" not in k}}, path)
    refuse(path, "encoder.conv1.bias is missing")
    torch.save({"dims": sizes, "model_state_dict": {**state, "extra": torch.ones(2)}}, path)
    refuse(path, "extra has no place")
    torch.save({"dims": sizes, "model_state_dict": {**state, "decoder.ln.bias": torch.ones(2)}}, path)
    refuse(path, "decoder.ln.bias has the shape [2]")


def test_bad_huggingface_folders_are_refused(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    folder = writers["huggingface"](tiny, tmp_path / "hf")
    config = json.loads((folder / "config.json").read_text())

    def attempt(change: dict[str, object], *words: str) -> None:
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        refuse(folder, *words)

    attempt({"model_type": "wav2vec2"}, "wav2vec2")
    attempt({"activation_function": "relu"}, "relu")
    attempt({"encoder_ffn_dim": 100}, "encoder_ffn_dim")
    attempt({"d_model": 128, "encoder_ffn_dim": 512, "decoder_ffn_dim": 512}, "shape")
    attempt({"encoder_layers": 3}, "encoder.blocks.2")
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "d_model"}))
    refuse(folder, "lacks d_model")
    (folder / "config.json").write_text("{")
    refuse(folder, "config.json is not JSON")
    (folder / "config.json").write_text(json.dumps(config))
    weights_file = folder / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:-100])
    refuse(folder, "damaged")
    weights_file.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    refuse(folder, "damaged")


def test_a_shard_cannot_lie_outside_the_folder(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    outside = writers["huggingface"](tiny, tmp_path / "outside")
    folder = writers["huggingface"](tiny, tmp_path / "hf")
    (folder / "model.safetensors").unlink()
    table = {"model.encoder.conv1.weight": f"../{outside.name}/model.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    refuse(folder, "outside")


def test_sizes_that_the_file_does_not_fill_are_refused_before_memory_is_taken(
    tiny: Model, writers: Writers, tmp_path: Path
) -> None:
    folder = writers["huggingface"](tiny, tmp_path / "hf")
    config = json.loads((folder / "config.json").read_text())
    for name, size in (("encoder_layers", 1 << 23), ("max_source_positions", 1 << 23), ("d_model", 1 << 20)):
        sizes = (
            {name: size}
            if name != "d_model"
            else {name: size, "encoder_ffn_dim": 4 * size, "decoder_ffn_dim": 4 * size}
        )
        (folder / "config.json").write_text(json.dumps({**config, **sizes}))
        with pytest.raises(BadCheckpoint, match="and it holds"):
            load_model(folder, "cpu")


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(1).expand(1 << 20, 1 << 20),  # 4 bytes on disk, 4 TB in memory
        torch.zeros(64).to_sparse(),
        torch.full((64,), float("nan")),
    ],
)
def test_strange_tensors_are_refused(tiny: Model, tmp_path: Path, bad: torch.Tensor) -> None:
    weights = {**tiny.whisper.state_dict(), "encoder.conv1.bias": bad}
    torch.save({"dims": asdict(tiny.dims), "model_state_dict": weights}, tmp_path / "bad.pt")
    with pytest.raises(BadCheckpoint, match=r"encoder\.conv1\.bias"):
        load_model(tmp_path / "bad.pt", "cpu")
    torch.save({"dims": asdict(tiny.dims), "model_state_dict": {**weights, 3: torch.zeros(1)}}, tmp_path / "bad.pt")
    with pytest.raises(BadCheckpoint):
        load_model(tmp_path / "bad.pt", "cpu")


def test_hostile_json_and_names_are_refused(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    folder = writers["huggingface"](tiny, tmp_path / "hf")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(BadCheckpoint, match="not JSON"):
        load_model(folder, "cpu")
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "x" * 5000}}))
    with pytest.raises(BadCheckpoint, match="not a file in the folder"):
        load_model(folder, "cpu")


def test_scales_that_do_not_fit_are_refused(tiny: Model, ct2: type, tmp_path: Path) -> None:
    folder, weight = tmp_path / "ct2", "encoder/conv1/weight"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    good = ct2.quantise(ct2.variables(tiny), "int8")
    unscaled = {name: value for name, value in good.items() if name != f"{weight}_scale"}
    bias = "encoder/conv1/bias"
    for variables, aliases in (
        (unscaled, [*ct2.aliases, (f"{weight}_scale", weight)]),  # a weight as its own scale
        ({**good, bias: np.int8(3), f"{bias}_scale": np.float32(3)}, ct2.aliases),
        ({**good, f"{weight}_scale": np.full(64, np.inf, np.float32)}, ct2.aliases),
    ):
        (folder / "model.bin").write_bytes(ct2.serialise(variables, aliases))
        with pytest.raises(BadCheckpoint, match="scale"):
            load_model(folder, "cpu")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path, "neither model.safetensors")
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(BadCheckpoint, match=r"wspy reads openai-whisper's \.pt"):
        find_model(tmp_path / "model.onnx")
