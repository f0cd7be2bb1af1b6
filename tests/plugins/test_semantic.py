"""Words of decoder neurons: counted by hand, compared with random words of equal frequency."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import wspy
from wspy.audio import SAMPLE_RATE
from wspy.corpus import Clip, Corpus
from wspy.errors import OutOfRange
from wspy.model import Model
from wspy.testing import tiny_whisper
from wspy_semantic import SemanticResult

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
    alike = {found.measure: found for found in result.alike}
    assert alike["meaning"].p < 0.05
    assert alike["meaning"].top_words > alike["meaning"].high > alike["meaning"].random_words


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
