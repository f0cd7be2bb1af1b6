"""Which tokens a decoder neuron speaks for: planted, and against what the model itself computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wspy.atlas.effects import EFFECTS_KEPT, read_effects, site_effects, write_effects
from wspy.errors import DamagedAtlas
from wspy.testing import tiny_whisper

SITE = "decoder.blocks.1.mlp.1"


def test_a_neuron_that_writes_a_word_speaks_for_it() -> None:
    model = tiny_whisper()
    token = model.tokenizer().encode(" rug")[0]
    with torch.no_grad():
        row = model.whisper.decoder.token_embedding.weight[token]
        model.whisper.get_submodule("decoder.blocks.1.mlp.2").weight[:, 5] = row
    found = site_effects(model, SITE)
    assert found is not None and found[5].promoted[0].token == " rug"
    assert found[5].promoted[0].effect > 1.5 * found[4].promoted[0].effect > 0
    assert all(one.effect < 0 for one in found[5].suppressed)


def test_it_is_how_the_logits_move() -> None:
    model = tiny_whisper()
    decoder = model.whisper.decoder
    written = model.whisper.get_submodule("decoder.blocks.1.mlp.2").weight[:, 7].detach()
    # From a residual stream at rest, a push along the neuron's output moves logits by its effect, up to one factor.
    with torch.no_grad():
        before = torch.randn(len(written), generator=torch.Generator().manual_seed(0))
        before -= before.mean()
        pushed = written - written.mean()
        pushed -= before * (pushed @ before) / (before @ before)  # the LayerNorm takes out what lies along the stream
        model.whisper.get_submodule("decoder.blocks.1.mlp.2").weight[:, 7] = pushed
        step = 1e-3
        moved = decoder.ln(before + step * pushed) - decoder.ln(before)
        logits = (moved @ decoder.token_embedding.weight.T)[: model.tokenizer().eot]
    scores = (logits - logits.mean()) / logits.std(unbiased=False)
    found = site_effects(model, SITE)
    assert found is not None
    best = torch.argsort(-scores)[:EFFECTS_KEPT]
    decode = model.tokenizer().encoding.decode
    assert [one.token for one in found[7].promoted] == [decode([int(n)]) for n in best]
    assert [one.effect for one in found[7].promoted] == pytest.approx(scores[best].tolist(), abs=0.02)


@pytest.mark.parametrize("site", ["encoder.blocks.1.mlp.1", "decoder.blocks.1", "decoder.blocks.1.mlp.10"])
def test_other_sites_write_no_logits_of_their_own(site: str) -> None:
    assert site_effects(tiny_whisper(), site) is None


def test_effects_come_back_as_they_were_written(tmp_path: Path) -> None:
    found = site_effects(tiny_whisper(), SITE)
    assert found is not None
    write_effects(tmp_path / "effects.json", found)
    assert read_effects(tmp_path / "effects.json") == found
    (tmp_path / "effects.json").write_text('[[["x"]]]')
    with pytest.raises(DamagedAtlas):
        read_effects(tmp_path / "effects.json")
