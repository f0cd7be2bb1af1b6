"""The heads plugin on real weights and hand-aligned speech."""

from __future__ import annotations

import numpy as np
import pytest

import wspy
from wspy.corpus import Corpus
from wspy_heads import Heads

pytestmark = [pytest.mark.real, pytest.mark.session_home]


@pytest.fixture
def corpus(timit) -> Corpus:
    """Eight clips, one of each speaker, with words that people marked."""
    return timit("timit-8", lambda rows: list({row["speaker"]: row for row in rows}.values()))


def test_the_published_alignment_heads_of_tiny_en_are_better_aligners_than_the_rest(corpus: Corpus) -> None:
    result = wspy.analyze("heads", side="decoder", corpus=corpus)
    assert isinstance(result, Heads.Result) and result.decoder is not None
    heads = result.decoder.heads
    published = [head.hits for head in heads if head.published]
    rest = [head.hits for head in heads if not head.published]
    auroc = float(np.mean([(a > b) + 0.5 * (a == b) for a in published for b in rest]))
    assert result.decoder.published_auroc == pytest.approx(auroc)
    print(
        f"published heads hit {np.mean(published):.2f} of the words, the others {np.mean(rest):.2f}, AUROC {auroc:.2f}"
    )
    assert len(published) == 8 and auroc > 0.75
    best = max(heads, key=lambda head: head.hits)
    assert best.hits > 0.8 and best.shuffled < 0.3
    found = next(timing for timing in result.decoder.timings if timing.name.startswith("found here"))
    assert found.median_ms < 150


def test_encoder_heads_are_looked_at_and_masked(corpus: Corpus) -> None:
    result = wspy.analyze("heads", side="encoder", corpus=corpus, layers=[3], heads=[0, 1], limit=3)
    assert isinstance(result, Heads.Result) and result.encoder is not None and result.decoder is None
    assert [(head.layer, head.head) for head in result.encoder.heads] == [(3, 0), (3, 1)]
    assert result.encoder.n_words > 10
    for head in result.encoder.heads:
        assert head.wer is not None and 0 <= head.reach.to_padding <= 1
        assert 0 < head.reach.entropy_bits < result.encoder.uniform.entropy_bits
        shares = [mass.share for mass in head.reach.mass]
        assert shares == sorted(shares) and shares[-1] <= 1.0001
