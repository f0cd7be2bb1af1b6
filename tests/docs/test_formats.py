"""The page "Files and folders" says what is in the files of decoder sites, of runs and of dictionaries."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors import safe_open
from safetensors.numpy import load_file

from wspy.atlas import ensure_atlas
from wspy.runs import Provenance, run_analysis
from wspy.testing import tiny_whisper, tone_corpus

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")


def table(heading: str, number: int = 0) -> dict[str, list[str]]:
    """The rows of a table below a heading, by the names in their first cell."""
    text = PAGE.partition(f"# {heading}\n")[2]
    assert text, f"there is no heading {heading!r}"
    rows = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)[number].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {name: rest for first, *rest in cells for name in re.findall(r"`([^`]+)`", first) or [first]}


def test_every_folder_of_the_home_is_named() -> None:
    used = set()
    for path in [*(REPOSITORY / "wspy").rglob("*.py"), *(REPOSITORY / "plugins").rglob("*.py")]:
        if path.parent.name != "testing":
            used |= set(re.findall(r'home\(\) / "([a-z]+)"', path.read_text(encoding="utf-8")))
    assert {f"{name}/" for name in used} <= set(table("Files and folders"))


def test_an_atlas_of_a_decoder_site_has_the_files_and_arrays_that_are_documented() -> None:
    corpus, model = tone_corpus(n_clips=3), tiny_whisper()
    site = "decoder.blocks.0.mlp.1"
    atlas = ensure_atlas(site, model.reference, corpus, model=lambda: model)
    files = {path.name for path in atlas.folder.iterdir()}
    assert files == set(table("Atlases")) - {"phones.safetensors"}  # these are of sites over frames
    for file in sorted(name for name in files if name.endswith(".safetensors")):
        with safe_open(atlas.folder / file, framework="numpy") as opened:
            assert set(opened.metadata()) == {"about"}
            assert json.loads(opened.metadata()["about"])["site"] == site
    arrays = load_file(atlas.folder / "words.safetensors")
    words = arrays["words"].tobytes().decode().split("\n")
    assert words == sorted(words) and set(words) <= {"two", "see", "more", "tea", "saw"}
    sizes = {"U": 256, "W": len(words), "d_model": 64}
    for page, found in (
        ("words.safetensors", arrays),
        ("directions.safetensors", load_file(atlas.folder / "directions.safetensors")),
    ):
        documented = table(page)
        assert set(found) == set(documented)
        for name, (kind, shape, _) in documented.items():
            assert str(found[name].dtype) == kind
            if shape != "bytes":
                assert found[name].shape == tuple(sizes.get(part) or int(part) for part in shape.split(", ")), name
    counted = sum((corpus.text(clip) or "").split().count(words[0]) for clip in corpus.clips)
    assert arrays["counts"][0] == counted
    column = model.whisper.decoder.blocks[0].mlp[2].weight[:, 7].numpy()
    directions = load_file(atlas.folder / "directions.safetensors")["directions"]
    assert directions[7] == pytest.approx(column / np.linalg.norm(column), abs=1e-3)
    lines = [json.loads(line) for line in (atlas.folder / "tokens.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [clip for clip, _ in lines] == list(range(3))
    for clip, positions in lines:
        assert "".join(text for text, _, _ in positions).strip() == corpus.text(corpus.clips[clip])
        assert all(isinstance(word, str) and 0 <= heard_s <= 30 for _, word, heard_s in positions)


def test_a_run_has_the_files_and_fields_that_are_documented(tmp_path: Path) -> None:
    from wspy_neuron import Neuron

    inputs = Neuron.Inputs(layer=1, idx=3, top=1)
    run = run_analysis(Neuron(), inputs, model=tiny_whisper(), corpus=tone_corpus(n_clips=3), out=tmp_path / "run")
    written = json.loads((run.path / "result.json").read_text(encoding="utf-8"))
    assert list(written) == list(table("Runs", 1))
    assert list(written["provenance"]) == list(Provenance.model_fields)
    assert "generated: fields wspy.runs Provenance" in PAGE
    assert written["inputs"]["top"] == 1 and written["inputs"]["side"] == "encoder"  # defaults are filled in
    sound = run.path / "audio" / "positive-01.wav"
    info = soundfile.info(sound)
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    with np.load(run.path / "pictures.npz", allow_pickle=False) as pictures:
        documented = table("Runs", 2)
        first = {name: pictures[name] for name in pictures.files if name.startswith("audio/positive-01.")}
        assert set(first) == set(documented)
        for name, (kind, _, _) in documented.items():
            assert str(first[name].dtype) == kind
        assert first["audio/positive-01.mel"].shape[0] == 80
        assert first["audio/positive-01.activation"].shape == first["audio/positive-01.times"].shape


@pytest.mark.parametrize("architecture", ["jumprelu", "topk"])
def test_a_dictionary_has_the_files_and_arrays_that_are_documented(architecture: str) -> None:
    """And another program computes its features from them as the page says."""
    import torch

    from wspy_sae.dictionary import Dictionary, DictionaryConfig
    from wspy_sae.store import save_dictionary

    config = DictionaryConfig(
        architecture=architecture,
        trained_as="batchtopk" if architecture == "jumprelu" else "topk",
        d_in=8,
        d_sae=20,
        k=3,
        site="encoder.blocks.0",
        model_name="tiny.en",
        model_sha256="0" * 64,
    )
    made = Dictionary(config)
    with torch.no_grad():
        for weight in (made.W_enc, made.W_dec, made.b_enc, made.b_dec):
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        if architecture == "jumprelu":
            made.threshold.fill_(0.4)
    folder = save_dictionary(made, "random")
    written = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    documented = table("cfg.json")
    only_topk = {name for name, (_, meaning) in documented.items() if meaning.startswith("of topk only")}
    assert set(written) == set(documented) - (only_topk if architecture != "topk" else set())
    assert set(written["metadata"]) <= set(re.findall(r"`(\w+)`", documented["metadata"][1]))
    arrays = load_file(folder / "sae_weights.safetensors")
    sizes = {"d_in": 8, "d_sae": 20}
    for name, (shape, meaning) in table("sae_weights.safetensors").items():
        if "of jumprelu only" in meaning and architecture != "jumprelu":
            assert name not in arrays
            continue
        assert arrays[name].shape == tuple(sizes[part] for part in shape.split(" × "))
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    before = (x - arrays["b_dec"] * written["apply_b_dec_to_input"]) @ arrays["W_enc"] + arrays["b_enc"]
    if architecture == "jumprelu":
        features = np.where(before > arrays["threshold"], before, 0)
    else:
        kept = np.sort(before, axis=1)[:, -written["k"]][:, None]
        features = np.where(before >= kept, np.maximum(before, 0), 0)
    assert made.encode(torch.from_numpy(x)).detach().numpy() == pytest.approx(features, abs=1e-4)
