"""Words of decoder neurons: counted by hand, compared with random words of equal frequency."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf
import torch

import wspy
from wspy.audio import SAMPLE_RATE
from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.errors import OutOfRange
from wspy.model import Model
from wspy.testing import tiny_whisper
from wspy_semantic import Semantic, SemanticLayer, SemanticLayerResult, SemanticResult
from wspy_semantic.alike import DRAWS, Similarities, equally_frequent

pytestmark = pytest.mark.session_home  # one atlas for all

LAYER, IDX = 0, 7
COLOURS = ("red", "blue", "green", "yellow", "brown", "black")
OTHERS = ("table", "seven", "walking", "tomorrow", "engine", "paper", "music", "river", "doctor", "window", "kettle")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    rng = np.random.default_rng(0)
    items = []
    for n in range(18):
        words = [COLOURS[n % 6], *rng.choice(OTHERS, size=4, replace=False)]
        text = " ".join(str(word) for word in rng.permutation(words)).capitalize() + "."
        items.append((rng.normal(scale=0.1, size=SAMPLE_RATE).astype(np.float32), Clip(f"clip-{n}", text=text), None))
    return Corpus.in_memory("colours", items)


@pytest.fixture(scope="module")
def model() -> Model:
    """A decoder in which one neuron of the first block answers to the tokens of colours, and to nothing else."""
    model = tiny_whisper(seed=2)
    tokenizer = model.tokenizer()
    decoder = model.whisper.decoder
    block = decoder.blocks[0]
    for attention in (block.attn, block.cross_attn):
        attention.out.weight.data.zero_()
        attention.out.bias.data.zero_()
    decoder.positional_embedding.data.zero_()
    block.mlp_ln.weight.data.fill_(1.0)
    block.mlp_ln.bias.data.zero_()
    marks = [tokenizer.encode(form)[0] for word in COLOURS for form in (f" {word}", f" {word.capitalize()}")]
    direction = torch.zeros(64)
    direction[:2] = torch.tensor([1.0, -1.0])
    embedding = decoder.token_embedding.weight.data
    embedding[:, :2] = embedding[:, :2].mean(dim=1, keepdim=True)  # nothing else points that way
    embedding[marks] += 20 * direction
    block.mlp[0].weight.data[IDX] = direction
    block.mlp[0].bias.data[IDX] = -1.0
    return model


def analyze(model: Model, corpus: Corpus, **inputs: object) -> SemanticResult:
    result = wspy.analyze("semantic", layer=LAYER, idx=IDX, model=model, corpus=corpus, **inputs)
    assert isinstance(result, SemanticResult)
    return result


def test_the_planted_concept_is_found_word_by_word(model, corpus):
    result = analyze(model, corpus, words=6)
    assert {word.word for word in result.top_words} == set(COLOURS)
    assert [word.count for word in result.top_words] == [3] * 6
    assert result.n_words == len(COLOURS) + len(OTHERS) and result.texts == "corpus"
    for word in result.top_words:
        assert word.minimum <= word.mean <= word.maximum
    for shown in result.mean_words:
        assert shown.count >= 2
    alike = {found.measure: found for found in result.alike}
    assert alike["meaning"].p < 0.05
    assert alike["meaning"].top_words > alike["meaning"].high > alike["meaning"].random_words


def test_both_directions_have_words_of_their_own(model, corpus):
    both = analyze(model, corpus, words=6)
    assert both.opposite is not None and not {word.word for word in both.opposite.top_words} & set(COLOURS)
    lowest = [word.minimum for word in both.opposite.top_words]
    assert lowest == sorted(lowest)
    negative = analyze(model, corpus, words=6, sign="negative")
    assert negative.top_words == both.opposite.top_words and negative.opposite is None
    blocks = Semantic().view(both)
    titles = [getattr(block, "title", "") for block in blocks]
    for direction in ("highest", "lowest"):
        assert f"Words with the {direction} activation" in titles
        assert f"Transcripts at the {direction} activations" in titles
    assert "**" in blocks[0].markdown or blocks[0].markdown.startswith("# Neuron 7")


@pytest.mark.parametrize("aligned", [True, False])
def test_the_word_at_the_peak_can_be_heard_by_itself(model, aligned):
    text = ["paper", "river", "blue", "engine", "music"]
    samples = np.random.default_rng(1).normal(scale=0.1, size=2 * SAMPLE_RATE).astype(np.float32)
    intervals = tuple(Interval(0.4 * n, 0.4 * (n + 1), word) for n, word in enumerate(text))
    alignment = Alignment(intervals, (), "none", "hand") if aligned else None
    heard = Corpus.in_memory(f"one-{aligned}", [(samples, Clip("one", text=" ".join(text)), alignment)])
    result = analyze(model, heard, top=1, sign="positive")
    (example,) = result.signs[0].examples
    assert example.word == "blue"
    said, rate = sf.read(result.file(example.excerpt))
    assert rate == SAMPLE_RATE
    if aligned:  # from 0.8 to 1.2 s, and a little around it
        expected = samples[round(0.77 * rate) : round(1.23 * rate)]
        assert len(said) == round(0.48 * rate) and np.corrcoef(said[160:-160], expected)[0, 1] > 0.99
    else:  # cross-attention of a random model says nothing, but it is longer than a word and within the clip
        assert 0.6 * rate <= len(said) <= 2 * rate


def test_a_layer_has_the_planted_neuron_and_little_else(model, corpus):
    result = wspy.analyze("semantic-layer", words=6, model=model, corpus=corpus)
    assert isinstance(result, SemanticLayerResult)
    units = {unit.idx: unit for unit in result.units}
    assert set(units[IDX].words) == set(COLOURS)
    one = analyze(model, corpus, words=6, sign="positive")
    for survey, single in zip(units[IDX].alike, one.alike, strict=True):
        assert survey.top_words == single.top_words and survey.measure == single.measure
    assert sum(result.kinds.values()) == len(units) == result.counts[0].n
    (meaning,) = (count for count in result.random_weights if count.measure == "meaning")
    assert result.counts[0].n_beyond <= result.counts[0].n_found and meaning.n_beyond is None
    assert meaning.n > 100 and meaning.n_p05 < 0.25 * meaning.n  # shuffled weights know no meaning
    # Colours point far away from all other words, so many neurons answer to them; the planted one does it purely.
    blocks = SemanticLayer().view(result)
    assert [block.kind for block in blocks] == ["text", "table", "table", "figure", "table", "table"]
    assert blocks[0].markdown.count("shuffled weights") == 4 and len(blocks[1].rows) == 6  # of both measures
    assert blocks[3].search and any(str(IDX) == row[0] or row[0] == IDX for row in blocks[4].rows)
    few = wspy.analyze("semantic-layer", words=6, neurons=IDX + 1, random_weights=False, model=model, corpus=corpus)
    assert [unit.idx for unit in few.units][-1] == IDX and few.random_weights == () and len(few.units) <= IDX + 1
    assert units[IDX].alike[0].p < 1e-3 and units[IDX].kind in ("meaning", "both")


def test_random_words_are_as_frequent_and_never_the_same_twice():
    rng = np.random.default_rng(0)
    counts = np.sort(rng.integers(1, 2000, size=3000))
    known = rng.random(3000) < 0.9
    chosen = np.flatnonzero(known)[[0, 5, 900, 1500, -1]]
    drawn = equally_frequent(counts, chosen, known, DRAWS, rng)
    assert drawn.shape == (DRAWS, 5) and known[drawn].all()
    assert all(len(set(row)) == 5 for row in drawn.tolist())
    # Each draw has one word near each chosen one; in which column does not matter.
    assert np.abs(np.sort(counts[drawn], axis=1) - counts[chosen]).max() < 100
    many = equally_frequent(counts, np.flatnonzero(known)[:60], known, 20, rng)  # more than one choice of fifty holds
    assert all(len(set(row)) == 60 for row in many.tolist())
    # Where all words are equally frequent, none is favoured for its place in the alphabet.
    equal = np.ones(1000, np.int64)
    near = [equally_frequent(equal, np.array([500]), equal > 0, 5, np.random.default_rng(n)).ravel() for n in range(60)]
    assert np.ptp(near) > 800


def test_alike_words_are_told_from_random_ones():
    """The first ten words are alike; any ten others are not."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(0, 0.1, size=(400, 400)).astype(np.float32)
    matrix = (matrix + matrix.T) / 2
    matrix[:10, :10] += 0.5
    likeness = Similarities("meaning", matrix, np.arange(400) != 3, rng.integers(1, 5, size=400))
    found = likeness.compare(np.arange(10), rng)
    assert found is not None and found.n_words == 9 and found.p == pytest.approx(1 / (1 + DRAWS))
    kept = [0, 1, 2, *range(4, 10)]
    pairs = [matrix[a, b] for a in kept for b in kept if a < b]
    assert found.top_words == pytest.approx(np.mean(pairs), abs=1e-5)
    p = [likeness.compare(rng.choice(np.arange(10, 400), 10, replace=False), rng).p for _ in range(40)]
    assert 0.3 < np.mean(p) < 0.7
    assert likeness.compare(np.array([3, 5, 6]), rng) is None  # two that are known make one pair


def test_transcripts_stand_around_the_word_in_brackets(model, corpus):
    result = analyze(model, corpus)
    for example in result.signs[0].examples[:5]:
        before, word, after = example.around
        assert word.strip("[]").lower() in COLOURS
        assert before + word.strip("[]") + after == example.text


def test_a_corpus_without_text_is_read_by_whisper_and_the_result_says_so(model, corpus, monkeypatch):
    from wspy.model import Transcription, text

    said = {clip.duration_s: clip.text for clip in corpus.clips}
    silent = Corpus.in_memory("silent", [(corpus.audio(clip), Clip(clip.id), None) for clip in corpus.clips])

    def heard(_model: Model, features: torch.Tensor, languages: list[str | None], *, ends_s: list[float]):
        assert all(end in said for end in ends_s)
        return [Transcription("Red paper.", (), "en", 0.0, 0.0, ())] * len(languages)

    monkeypatch.setattr(text, "transcribe_mixed", heard)
    result = analyze(model, silent)
    assert result.texts == "whisper" and result.n_words == 2 and result.alike == ()
    assert result.top_words[0].word == "red" and result.top_words[0].count == 18


def test_a_layer_out_of_range_names_the_range(model, corpus):
    with pytest.raises(OutOfRange, match=r"Layer 5 .* choose 0 to 1"):
        wspy.analyze("semantic", layer=5, idx=0, model=model, corpus=corpus)
