"""Every analysis that comes with wspy keeps the rules that plugins are held to."""

from __future__ import annotations

from pathlib import Path

import pytest

from wspy.audio import write_wav
from wspy.plugins import load_plugins
from wspy.testing import check_analysis, tiny_whisper, tone_clip, tone_corpus

QUICK: dict[str, dict[str, object]] = {
    # What has no default, and what keeps it short. An analysis that is not here is run with its defaults.
    "ablate": {"layer": 1, "idx": 3, "clips": 2, "controls": 1, "transcripts": 1},
    "bigrams": {"prompt": [" two"], "top": 5},
    "chop": {"start": 5, "stop": 15},
    "embeddings": {"sample": 100, "map": False},
    "heads": {"limit": 1, "layers": [1]},
    "features": {"top": 4},
    "neuron": {"layer": 1, "idx": 3},
    "sae": {"idx": 3},
    "sae-eval": {"clips": 1, "phones": False},
    "semantic": {"layer": 0, "idx": 3},
    "semantic-layer": {"neurons": 12, "random_weights": False},
    "steer": {"site": "encoder.blocks.0", "idx": 3, "factor": [0.0], "controls": 1, "limit": 1},
    "unit": {"site": "encoder.blocks.0", "idx": 3},
    "window": {"limit": 1, "k": [10]},
}
BUNDLED = {name: analysis for name, analysis in load_plugins().analyses.items() if analysis.__module__[:5] == "wspy_"}


@pytest.mark.parametrize("name", sorted(BUNDLED))
def test_it_keeps_the_rules(name: str, tmp_path: Path) -> None:
    inputs = dict(QUICK.get(name, {}))
    if name in ("features", "sae", "sae-eval"):
        inputs["sae"] = dictionary(tmp_path / "check" / "home" / "dictionaries" / "random")
    if name == "chop":
        inputs["audio"] = tmp_path / "words.wav"
        write_wav(tmp_path / "words.wav", tone_clip("words", ["two", "see"])[0])
    corpus = tone_corpus(n_clips=24, n_words=6) if name == "phones" else None  # each phone sounds for seconds
    folder = tmp_path / "check"
    folder.mkdir(exist_ok=True)
    check_analysis(BUNDLED[name], inputs, folder=folder, corpus=corpus)


def dictionary(folder: Path) -> str:
    """A random dictionary of the tiny model, kept in a folder; its name."""
    import torch

    from wspy_sae.dictionary import Dictionary, DictionaryConfig
    from wspy_sae.store import save_dictionary

    config = DictionaryConfig(
        architecture="jumprelu",
        trained_as="batchtopk",
        d_in=64,
        d_sae=96,
        k=4,
        site="encoder.blocks.0",
        model_name="random-0",
        model_sha256=tiny_whisper().sha256,
    )
    made = Dictionary(config)
    with torch.no_grad():
        made.W_dec.copy_(torch.nn.functional.normalize(torch.randn(96, 64, generator=torch.Generator().manual_seed(0))))
        made.W_enc.copy_(made.W_dec.t())
    folder.parent.mkdir(parents=True)
    return save_dictionary(made, "random").rename(folder).name
