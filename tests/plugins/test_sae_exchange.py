"""Dictionaries of SAELens, sparsify and dictionary_learning, there and back: same input, same features."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from wspy.corpus import Corpus
from wspy.errors import InputError, UnknownSite
from wspy.model import ModelReference
from wspy.testing import tiny_whisper
from wspy_sae import dictionary_learning
from wspy_sae.belongs import check_belongs
from wspy_sae.commands import app
from wspy_sae.dictionary import Dictionary, DictionaryConfig
from wspy_sae.engine import Plain
from wspy_sae.exchange import Imported, export_dictionary, import_dictionary, layout_of
from wspy_sae.exchange_errors import CannotExport, NotEmpty, NotSaid, UnknownFormat, UnknownLayout
from wspy_sae.feature_errors import OtherWidth
from wspy_sae.layouts import UnreadableDictionary
from wspy_sae.saelens import layer
from wspy_sae.settings import TrainSettings
from wspy_sae.store import (
    UnknownDictionary,
    dictionary_folder,
    list_dictionaries,
    load_dictionary,
    save_dictionary,
)
from wspy_sae.stream import TensorSource
from wspy_sae.train import fit, make_stream
from wspy_sae.train_errors import AlreadyTrained, BadTraining, NotAnEncoderSite, OtherModel
from wspy_sae.trained import to_dictionary

D_IN, SITE, EXACT = 64, "encoder.blocks.0", 1e-5


@pytest.fixture(scope="module")
def reference() -> ModelReference:
    return tiny_whisper().reference


def made(
    reference: ModelReference, architecture: str = "jumprelu", d_sae: int = 96, k: int | None = 5, **changes: object
) -> Dictionary:
    """A dictionary whose parts all matter: biases, thresholds, an encoder that is not the decoder."""
    config = DictionaryConfig.model_validate(
        {
            "architecture": architecture,
            "trained_as": "batchtopk" if architecture == "jumprelu" else architecture,
            "d_in": D_IN,
            "d_sae": d_sae,
            "k": k,
            "site": SITE,
            "model_name": reference.name,
            "model_sha256": reference.sha256,
            "corpus": "english",
            "corpus_hash": "c" * 64,
            **changes,
        }
    )
    dictionary = Dictionary(config)
    generator = torch.Generator().manual_seed(7)
    rows = torch.randn(d_sae, D_IN, generator=generator)
    dictionary.load_state_dict(
        {
            "W_dec": rows / rows.norm(dim=1, keepdim=True),
            "W_enc": torch.randn(D_IN, d_sae, generator=generator) / 8,
            "b_enc": torch.randn(d_sae, generator=generator) / 4,
            "b_dec": torch.randn(D_IN, generator=generator),
            "threshold": torch.full((d_sae,), 0.7 if architecture == "jumprelu" else 0.0),
        }
    )
    return dictionary


def activations() -> Tensor:
    return torch.randn(300, D_IN, generator=torch.Generator().manual_seed(3)) * 2 + 0.5


def assert_same(features: Tensor, reconstruction: Tensor, expected: Dictionary) -> None:
    """The same features and reconstructions, of which a part is zero and a part is not."""
    x = activations()
    wanted = expected.encode(x)
    assert 0.01 < float((wanted > 0).float().mean()) < 0.9
    assert features.shape == wanted.shape and float((features - wanted).abs().max()) < EXACT
    assert float((reconstruction - expected(x)).abs().max()) < EXACT


def brought(folder: Path, reference: ModelReference, **given: str) -> Imported:
    asked = {"site": SITE, "model": reference.name, **given}
    return import_dictionary(folder, "brought", lambda _: reference, **asked)


# --- SAELens ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sae_lens():
    return pytest.importorskip("sae_lens", reason="needs sae-lens: the extra `exchange`")


@pytest.mark.parametrize("architecture", ["jumprelu", "topk", "relu"])
@pytest.mark.parametrize("centred", [True, False])
def test_saelens_reads_what_wspy_keeps(sae_lens, reference, architecture, centred):
    own = made(reference, architecture, apply_b_dec_to_input=centred)
    folder = save_dictionary(own, "mine")
    theirs = sae_lens.SAE.load_from_disk(folder)
    with torch.no_grad():
        assert_same(theirs.encode(activations()), theirs(activations()), own)
    about = theirs.cfg.metadata
    assert (about.hook_name, about.model_name, about.layer) == (SITE, reference.name, 0)
    assert (about.sample_rate_hz, about.frames_per_second, about.valid_frames_only) == (16000, 50, True)
    assert theirs.cfg.architecture() == {"relu": "standard"}.get(architecture, architecture)
    again = load_dictionary("mine")
    assert again.config == own.config and torch.equal(again.encode(activations()), own.encode(activations()))


def saved_by_saelens(sae_lens, architecture: str, folder: Path):
    """One of SAELens' own, with rows of the decoder of other lengths than 1."""
    from sae_lens.saes.gated_sae import GatedSAE, GatedSAEConfig
    from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
    from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
    from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig

    kinds = {
        "standard": (StandardSAE, StandardSAEConfig, {}),
        "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig, {"apply_b_dec_to_input": False}),
        "gated": (GatedSAE, GatedSAEConfig, {}),
        "topk": (TopKSAE, TopKSAEConfig, {"k": 6}),
        "topk-rescaled": (TopKSAE, TopKSAEConfig, {"k": 6, "rescale_acts_by_decoder_norm": True}),
    }
    sae_class, config_class, options = kinds[architecture]
    sae = sae_class(config_class(d_in=D_IN, d_sae=80, **options))
    generator = torch.Generator().manual_seed(5)
    for parameter in sae.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 5
    sae.save_model(folder)
    return sae


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "gated", "topk", "topk-rescaled"])
def test_wspy_reads_what_saelens_saves(sae_lens, reference, architecture, tmp_path):
    theirs = saved_by_saelens(sae_lens, architecture, tmp_path / "theirs")
    own = brought(tmp_path / "theirs", reference)
    assert own.layout == "saelens" and own.dictionary.config.valid_frames_only is None
    with torch.no_grad():
        assert_same(theirs.encode(activations()), theirs(activations()), load_dictionary("brought"))


def test_a_batchtopk_that_saelens_trained_keeps_its_threshold(sae_lens, reference, tmp_path):
    from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig

    sae = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=D_IN, d_sae=80, k=4))
    sae.W_dec.data *= 3  # whose rows are part of how features are compared
    x = activations()
    sae.topk_threshold.fill_(float((x @ sae.W_enc * sae.W_dec.norm(dim=-1)).detach().quantile(0.95)))
    sae.save_inference_model(tmp_path / "theirs")
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "theirs")
    own = brought(tmp_path / "theirs", reference).dictionary
    assert own.config.architecture == "jumprelu" and float(own.threshold.min()) > 0
    with torch.no_grad():
        assert_same(theirs.encode(activations()), theirs(activations()), own)


def test_a_topk_of_saelens_5_is_no_relu(reference, tmp_path):
    """Before version 6, topk was an activation function, and a reader that looked past it got a relu."""
    own = made(reference, "topk", k=4)
    folder = save_dictionary(own, "new")
    cfg = json.loads((folder / "cfg.json").read_text())
    old = {name: cfg[name] for name in ("d_in", "d_sae", "dtype", "apply_b_dec_to_input")}
    old |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}, "hook_name": SITE, "model_name": "x"}
    (folder / "cfg.json").write_text(json.dumps(old))
    found = brought(folder, reference).dictionary
    assert (found.config.architecture, found.config.k) == ("topk", 4)
    assert_same(found.encode(activations()), found(activations()), own)


def test_what_training_multiplied_activations_by_is_in_the_weights(reference):
    """A dictionary of scaled activations, trained and kept, needs no factor: its decoder has rows of the length 1."""
    x = activations() * 40
    settings = TrainSettings(site=SITE, d_sae=96, k=4, steps=20, batch=64)
    fitted = fit(settings, make_stream(settings, TensorSource(x), Plain()))
    own = to_dictionary(fitted, settings, reference, Corpus.in_memory("none", []))
    assert fitted.scale < 0.1
    assert torch.allclose(own.W_dec.norm(dim=1), torch.ones(96), atol=1e-5)
    learner = fitted.learner
    scaled = x * fitted.scale
    pre = torch.addmm(learner.b_enc, scaled - learner.b_dec, learner.W_enc.t())
    features = pre * (pre > fitted.threshold)
    expected = (features @ learner.W_dec + learner.b_dec) / fitted.scale
    assert torch.allclose(own.encode(x), (features / fitted.scale).detach(), rtol=1e-4, atol=1e-3)
    assert torch.allclose(own(x), expected.detach(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("architecture", ["jumprelu", "topk", "relu"])
def test_the_files_are_those_that_are_documented(reference, architecture):
    folder = save_dictionary(made(reference, architecture), "mine")
    page = (Path(__file__).parents[2] / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
    section = page.partition("## Dictionaries")[2].partition("## Runs")[0]
    cfg = json.loads((folder / "cfg.json").read_text())
    said = {*cfg, *cfg["metadata"], *load_file(folder / "sae_weights.safetensors")}
    assert not [name for name in said if f"`{name}`" not in section]


# --- sparsify ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sparsify():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARSIFY_DISABLE_TRITON", "1")  # whose kernels need a GPU
        yield pytest.importorskip("sparsify", reason="needs eai-sparsify: the extra `exchange`")


def densely(coder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Features and reconstruction of sparsify's coder, as a matrix."""
    with torch.no_grad():
        top, at, _ = coder.encode(x)
        return torch.zeros(len(x), coder.num_latents).scatter(1, at, top), coder.decode(top, at)


@pytest.mark.parametrize("d_sae", [96, D_IN])  # a square decoder that is transposed has the right shape
@pytest.mark.parametrize("centred", [True, False])
def test_sparsify_reads_what_wspy_exports(sparsify, reference, d_sae, centred, tmp_path):
    own = made(reference, "topk", d_sae, apply_b_dec_to_input=centred)
    save_dictionary(own, "mine")
    folder = export_dictionary("mine", tmp_path / "encoder.layers.0", "sparsify")
    assert_same(*densely(sparsify.SparseCoder.load_from_disk(folder), activations()), own)
    back = import_dictionary(folder, "back", lambda _: reference, model="any").dictionary
    assert back.config.site == SITE and back.config.k == 5
    assert_same(back.encode(activations()), back(activations()), own)


@pytest.mark.parametrize("d_sae", [96, D_IN])
@pytest.mark.parametrize("normalised", [True, False])
def test_wspy_reads_what_sparsify_saves(sparsify, reference, d_sae, normalised, tmp_path):
    config = sparsify.SparseCoderConfig(num_latents=d_sae, k=7, normalize_decoder=normalised)
    coder = sparsify.SparseCoder(D_IN, config)
    for parameter in coder.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) / 4
    coder.save_to_disk(tmp_path / "layers.0")
    own = brought(tmp_path / "layers.0", reference)
    assert own.layout == "sparsify" and own.dictionary.config.k == 7
    assert_same(*densely(coder, activations()), own.dictionary)


def test_relu_goes_to_sparsify_with_all_features_and_thresholds_do_not_go(sparsify, reference, tmp_path):
    own = made(reference, "relu", k=None)
    save_dictionary(own, "mine")
    folder = export_dictionary("mine", tmp_path / "relu", "sparsify")
    assert_same(*densely(sparsify.SparseCoder.load_from_disk(folder), activations()), own)
    save_dictionary(made(reference), "thresholds")
    with pytest.raises(CannotExport, match=r"batchtopk has thresholds.*--format saelens"):
        export_dictionary("thresholds", tmp_path / "no", "sparsify")
    assert not list(tmp_path.glob("*no*"))  # nothing half written is left, either


# --- dictionary_learning and AudioSAE ---------------------------------------------------------------------


class TheirTopK(nn.Module):
    """AutoEncoderTopK and BatchTopKSAE of dictionary_learning 0.1.0, in their own words."""

    def __init__(self, per_frame: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(D_IN, 72), nn.Linear(72, D_IN, bias=False)
        self.b_dec = nn.Parameter(torch.randn(D_IN))
        self.register_buffer("k", torch.tensor(5, dtype=torch.int))
        self.register_buffer("threshold", torch.tensor(0.6))
        self.per_frame = per_frame
        with torch.no_grad():
            self.encoder.weight.mul_(4)

    def encode(self, x: Tensor) -> Tensor:
        acts = nn.functional.relu(self.encoder(x - self.b_dec))
        if not self.per_frame:
            return acts * (acts > self.threshold)
        top = acts.topk(int(self.k), sorted=False, dim=-1)
        return torch.zeros_like(acts).scatter_(dim=-1, index=top.indices, src=top.values)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encode(x)) + self.b_dec


def saved_ae(weights: dict[str, Tensor], config: object, folder: Path) -> Path:
    folder.mkdir(parents=True)
    torch.save(weights, folder / "ae.pt")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("kind", ["AutoEncoderTopK", "BatchTopKSAE"])
def test_wspy_reads_what_dictionary_learning_saves(reference, kind, tmp_path):
    theirs = TheirTopK(kind == "AutoEncoderTopK")
    folder = saved_ae(theirs.state_dict(), {"trainer": {"dict_class": kind, "k": 5}}, tmp_path / "trainer_0")
    own = brought(folder, reference)
    assert own.layout == "dictionary-learning" and not own.note
    assert own.dictionary.config.trained_as == ("topk" if theirs.per_frame else "batchtopk")
    with torch.no_grad():
        assert_same(theirs.encode(activations()), theirs(activations()), own.dictionary)


def test_audiosae_layers_count_from_one_and_a_missing_threshold_makes_no_relu(reference, tmp_path):
    """The published checkpoints of AudioSAE list encoder, decoder, b_dec and k; without a threshold all above zero
    would be active."""
    theirs = TheirTopK(per_frame=True)
    weights = {name: value for name, value in theirs.state_dict().items() if name != "threshold"}
    config = {"activation_dim": D_IN, "dict_size": 72, "k": 5}
    folder = saved_ae(weights, config, tmp_path / "layer_2")
    own = import_dictionary(folder, "audio", lambda _: reference, model="any")
    assert own.dictionary.config.site == "encoder.blocks.1" and own.dictionary.config.trained_as == "batchtopk"
    assert "no threshold" in own.note and "5 highest" in own.note
    with torch.no_grad():
        assert_same(theirs.encode(activations()), theirs(activations()), own.dictionary)


def test_gated_and_plain_ones_of_dictionary_learning(reference, tmp_path):
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / 8

    x = activations()
    weights = {"encoder.weight": random(72, D_IN), "decoder.weight": random(D_IN, 72)}
    gate = {"gate_bias": random(72), "mag_bias": random(72), "r_mag": random(72), "decoder_bias": random(D_IN)}
    folder = saved_ae(weights | gate, {"trainer": {"dict_class": "GatedAutoEncoder"}}, tmp_path / "gated")
    pre = (x - gate["decoder_bias"]) @ weights["encoder.weight"].t()
    magnitude = (gate["r_mag"].exp() * pre + gate["mag_bias"]).relu()
    f = (pre + gate["gate_bias"] > 0).float() * magnitude
    own = brought(folder, reference).dictionary
    assert own.config.trained_as == "gated"
    assert_same(f, f @ weights["decoder.weight"].t() + gate["decoder_bias"], own)
    plain = {"encoder.bias": random(72), "bias": random(D_IN)}
    folder = saved_ae(weights | plain, {"trainer": {"dict_class": "AutoEncoder"}}, tmp_path / "plain")
    lengths = weights["decoder.weight"].norm(dim=0)  # its own reader gives the rows the length 1
    f = ((x - plain["bias"]) @ weights["encoder.weight"].t() + plain["encoder.bias"]).relu()
    again = Dictionary(own.config.model_copy(update={"architecture": "relu"}))
    again.load_state_dict(dictionary_learning.read(folder).weights())
    assert_same(f * lengths, f @ weights["decoder.weight"].t() + plain["bias"], again)


@pytest.mark.parametrize("architecture", ["jumprelu", "topk", "relu", "thresholds", "long rows"])
@pytest.mark.parametrize("centred", [True, False])
def test_there_and_back_through_dictionary_learning(reference, architecture, centred, tmp_path):
    kinds = {"thresholds": "jumprelu", "long rows": "relu"}
    own = made(reference, kinds.get(architecture, architecture), apply_b_dec_to_input=centred)
    if architecture == "long rows":
        own.W_dec.mul_(torch.linspace(0.5, 2, 96)[:, None])
    if architecture == "thresholds":
        own.threshold.copy_(torch.linspace(0.1, 1, 96))
    save_dictionary(own, "mine")
    folder = export_dictionary("mine", tmp_path / "there", "dictionary-learning")
    said = json.loads((folder / "config.json").read_text())["trainer"]
    classes = {
        "jumprelu": "BatchTopKSAE",
        "topk": "AutoEncoderTopK",
        "relu": "AutoEncoder",
        "thresholds": "JumpReluAutoEncoder",
        "long rows": "AutoEncoderNew",
    }
    assert said["dict_class"] == classes[architecture]
    assert (said["activation_dim"], said["dict_size"], said["submodule_name"]) == (D_IN, 96, SITE)
    back = brought(folder, reference).dictionary
    assert_same(back.encode(activations()), back(activations()), own)


# --- what the folder leaves open, and what does not fit ---------------------------------------------------


def test_wspys_own_export_says_everything(reference, tmp_path):
    own = made(reference)
    save_dictionary(own, "mine")
    folder = export_dictionary("mine", tmp_path / "there")
    assert layout_of(folder) == "saelens" and sorted(path.name for path in folder.iterdir()) == [
        "cfg.json",
        "sae_weights.safetensors",
    ]
    back = import_dictionary(folder, "back", lambda _: reference)
    assert back.dictionary.config == own.config


def test_what_is_open_is_asked_for(reference, tmp_path):
    theirs = saved_ae(TheirTopK(True).state_dict(), {"trainer": {}}, tmp_path / "trainer_0")
    with pytest.raises(NotSaid, match=r"trainer_0 does not say which site.*--site"):
        import_dictionary(theirs, "open", lambda _: reference, model="tiny.en")
    with pytest.raises(NotSaid, match=r"which Whisper.*--model"):
        import_dictionary(theirs, "open", lambda _: reference, site=SITE)
    assert not dictionary_folder("open").exists()


def test_another_model_site_or_width_is_refused_by_name(reference, tmp_path):
    save_dictionary(made(reference), "mine")
    folder = export_dictionary("mine", tmp_path / "there")
    other = dataclasses.replace(reference, name="base", sha256="f" * 64)
    with pytest.raises(OtherModel, match=r"'brought' was trained on random.*and this is base"):
        brought(folder, other, model="base")
    with pytest.raises(UnknownSite, match=r"encoder\.blocks\.7"):
        brought(folder, reference, site="encoder.blocks.7")
    with pytest.raises(NotAnEncoderSite, match=r"decoder\.blocks\.0"):
        brought(folder, reference, site="decoder.blocks.0")
    with pytest.raises(OtherWidth, match=r"'brought' takes 64 values and encoder\.blocks\.0\.mlp\.1.*gives"):
        brought(folder, reference, site="encoder.blocks.0.mlp.1")
    with pytest.raises(BadTraining, match="--name"):
        import_dictionary(folder, "../up", lambda _: reference)
    with pytest.raises(AlreadyTrained, match="mine"):
        import_dictionary(folder, "mine", lambda _: reference)
    assert not dictionary_folder("brought").exists()


def test_the_same_published_weights_in_another_file_are_the_same_model(reference):
    published = dataclasses.replace(reference, name="tiny.en", source="bundled package", sha256="a" * 64)
    own = made(reference, model_name="tiny.en", model_sha256="b" * 64, published_name="tiny.en").config
    check_belongs("mine", own, published)
    with pytest.raises(OtherModel, match=r"'mine'.*tiny\.en.*base"):
        check_belongs("mine", own, dataclasses.replace(published, name="base"))
    with pytest.raises(OtherModel, match=r"on tiny\.en \(bbbbbbbb\), and this is tiny\.en \(aaaaaaaa\)"):
        check_belongs("mine", own, dataclasses.replace(published, source="file"))


@pytest.mark.parametrize(("site", "number"), [("encoder.blocks.11.mlp.1", 11), ("encoder.ln_post", None)])
def test_the_layer_of_a_site(site, number):
    assert layer(site) == number


def test_other_folders_and_formats(reference, tmp_path):
    with pytest.raises(UnknownLayout, match=r"sae_weights\.safetensors.*sae\.safetensors.*ae\.pt"):
        layout_of(tmp_path)
    save_dictionary(made(reference), "mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    with pytest.raises(NotEmpty, match="full"):
        export_dictionary("mine", tmp_path / "full")
    assert (tmp_path / "full" / "precious").read_text() == "x"
    with pytest.raises(UnknownFormat, match=r"'saelense'.*'saelens'"):
        export_dictionary("mine", tmp_path / "there", "saelense")


# --- damage -----------------------------------------------------------------------------------------------


def change(folder: Path, **changes: object) -> None:
    path = folder / "cfg.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder: Path, **changes: Tensor) -> None:
    path = folder / "sae_weights.safetensors"
    save_file({**load_file(path), **changes}, path)


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


DAMAGES = {
    "broken off": (lambda f: _cut(f / "sae_weights.safetensors"), "no whole safetensors file"),
    "a pickle": (lambda f: torch.save(Payload(), f / "sae_weights.safetensors"), "is a pickle.*run code"),
    "a bare pickle": (
        lambda f: torch.save(Payload(), f / "sae_weights.safetensors", _use_new_zipfile_serialization=False),
        "is a pickle.*run code",
    ),
    "empty": (lambda f: (f / "sae_weights.safetensors").write_bytes(b""), "no whole safetensors file"),
    "no weights": (lambda f: (f / "sae_weights.safetensors").unlink(), r"sae_weights\.safetensors.*No such file"),
    "no JSON": (lambda f: (f / "cfg.json").write_text('{"d_in": '), r"cfg\.json is no JSON"),
    "no object": (lambda f: (f / "cfg.json").write_text("[]"), "no JSON object"),
    "another width": (lambda f: change(f, d_sae=95), r"64 x 96, and cfg\.json says 64 x 95"),
    "another shape": (lambda f: change_weights(f, b_enc=torch.zeros(95)), "b_enc is 95.*needs 96"),
    "a missing tensor": (lambda f: save_file({"W_enc": torch.ones(2)}, f / "sae_weights.safetensors"), "no W_dec"),
    "NaN": (lambda f: change_weights(f, W_dec=torch.full((96, 64), float("nan"))), "W_dec has numbers that are NaN"),
    "nobody's": (lambda f: change(f, metadata={}), "which Whisper.*wspy sae import"),
    "an unknown kind": (lambda f: change(f, architecture="temporal"), "'temporal'.*standard, topk"),
    "a normalisation": (lambda f: change(f, normalize_activations="layer_norm"), "by 'layer_norm'"),
    "a factor elsewhere": (lambda f: change(f, normalize_activations="expected_average_only_in"), "scaled by a factor"),
}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_line_that_names_the_folder(reference, damage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = save_dictionary(made(reference), "damaged")
    spoil, said = DAMAGES[damage]
    spoil(folder)
    with pytest.raises(UnreadableDictionary, match=said) as raised:
        load_dictionary("damaged")
    text = str(raised.value)
    assert isinstance(raised.value, InputError) and raised.value.exit_code == 2
    assert "damaged" in text and "\n" not in text and len(text) < 400
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("before", [True, False])
def test_an_interrupted_write_leaves_what_was_there(reference, before, monkeypatch):
    own = made(reference)
    if before:
        save_dictionary(own, "kept")

    def broken_off(path: Path, content: bytes | str) -> None:
        path.write_bytes(content[:1000] if isinstance(content, bytes) else b"")
        raise KeyboardInterrupt

    monkeypatch.setattr("wspy.files.write_atomic", broken_off)
    with pytest.raises(KeyboardInterrupt):
        save_dictionary(made(reference, "topk"), "kept")
    left = list(dictionary_folder("kept").parent.iterdir())
    assert left == ([dictionary_folder("kept")] if before else [])
    if before:
        assert load_dictionary("kept").config == own.config
    else:
        with pytest.raises(UnknownDictionary, match="no dictionary 'kept'"):
            load_dictionary("kept")


def test_what_a_killed_process_left_is_no_dictionary(reference):
    half = dictionary_folder(".mine.k1lled")  # the folder that a write fills before it takes its name
    half.mkdir(parents=True)
    (half / "cfg.json").write_text("{}")
    save_dictionary(made(reference), "mine")
    assert list_dictionaries() == ["mine"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (Payload(), "more than tensors.*does not execute"),
        ({"encoder.weight": Payload()}, "more than tensors.*does not execute"),
        ([1, 2], "no named tensors"),
        ({"k": torch.tensor(3)}, r"no (encoder|decoder)\.weight"),
        (None, "no whole file of torch.save"),
    ],
)
def test_a_hostile_or_broken_ae_pt(reference, content, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = saved_ae(content, {"trainer": {"dict_class": "BatchTopKSAE"}}, tmp_path / "layer_1")
    if content is None:
        (folder / "ae.pt").write_bytes((folder / "ae.pt").read_bytes()[:200])
    with pytest.raises(UnreadableDictionary, match=said) as raised:
        brought(folder, reference)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"transcode": True}, "transcoder"),
        ({"skip_connection": True}, "skip connection"),
        ({"activation": "groupmax"}, "groupmax"),
        ({"signed": True}, "below zero"),
        ({"k": 0}, "k is 0"),
        ({"k": 97}, "k is 97, and there are 96 features"),
    ],
)
def test_kinds_of_sparsify_that_wspy_cannot_compute(reference, changes, said, tmp_path):
    save_dictionary(made(reference, "topk"), "mine")
    folder = export_dictionary("mine", tmp_path / "theirs", "sparsify")
    change(folder, **changes)
    with pytest.raises(UnreadableDictionary, match=said):
        brought(folder, reference)


# --- the command line -------------------------------------------------------------------------------------


def test_import_list_and_remove_on_the_command_line(reference, run_cli, wspy_home, tmp_path):
    own = made(reference, "topk")
    save_dictionary(own, "mine")
    damaged = save_dictionary(own, "damaged")
    (damaged / "cfg.json").write_text("{}")
    folder = saved_ae(
        {
            "encoder.weight": torch.randn(500, 384),
            "encoder.bias": torch.zeros(500),
            "decoder.weight": torch.randn(384, 500),
            "b_dec": torch.zeros(384),
            "k": torch.tensor(8),
        },
        {"k": 8},
        tmp_path / "layer_3",
    )
    done = run_cli("sae", "import", str(folder), "--name", "audio", "--model", "tiny.en")
    assert done.code == 0, done.stderr
    assert "500 features of encoder.blocks.2 of tiny.en, topk" in done.stdout and "no threshold" in done.stderr
    here = CliRunner()
    listed = here.invoke(app, ["list", "--json"])
    assert [row["name"] for row in json.loads(listed.stdout)] == ["audio", "mine"]
    assert listed.exit_code == 0 and "damaged" in listed.stderr
    wrong = run_cli("sae", "import", str(folder), "--name", "wide", "--model", "base")
    assert wrong.code == 2 and wrong.stdout == "" and len(wrong.stderr.strip().splitlines()) == 1
    assert "'wide' takes 384 values" in wrong.stderr
    assert here.invoke(app, ["remove", "damaged"]).exit_code == 0 and not damaged.exists()
    there = here.invoke(app, ["export", "audio", str(tmp_path / "out"), "--format", "sparsify"])
    assert there.exit_code == 0 and there.stdout.strip() == str(tmp_path / "out")
    assert (tmp_path / "out" / "sae.safetensors").is_file()
