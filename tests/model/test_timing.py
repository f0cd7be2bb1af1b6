"""Word times: planted attention gives back its frames, and the words are those of openai-whisper's own timing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from whisper.timing import dtw, find_alignment, merge_punctuations

from wspy.errors import BadShape
from wspy.model import Model, Transcription, encode
from wspy.model.timing import CLOSING, OPENING, token_starts, token_times, word_times
from wspy.testing import tiny_whisper


def written(model: Model, text: str, language: str = "en") -> Transcription:
    tokens = tuple(model.tokenizer(language).encode(text))
    return Transcription(text, tokens, language, 0.0, 0.0, ())


def test_planted_attention_gives_back_its_frames() -> None:
    weights = torch.full((1, 5, 40), 1e-4)
    for row, frames in enumerate([slice(0, 3), slice(3, 10), slice(10, 22), slice(22, 34), slice(34, 40)]):
        weights[0, row, frames] = 1.0
    starts = token_starts(weights, 1, 5)
    # Its first row takes up what lies before it, for the path begins at the first frame.
    assert starts.tolist() == pytest.approx([0.0, 0.2, 0.44, 0.68])
    assert token_times(weights, 1, 5) == pytest.approx([0.1, 0.32, 0.56])


@pytest.mark.parametrize(("n_vocab", "language"), [(51864, "en"), (51865, "de")])
def test_words_are_those_of_openai_whisper(mel: torch.Tensor, n_vocab: int, language: str) -> None:
    model = tiny_whisper(seed=5, n_vocab=n_vocab)
    texts = [written(model, " Hello there, my friend.", language), written(model, ' He said "yes".', language)]
    features = encode(model, mel)
    assert features is not None
    found = word_times(model, features, texts, ends_s=[4.0, 2.5])
    for clip, (text, length_s) in enumerate(zip(texts, [4.0, 2.5], strict=True)):
        tokenizer = model.tokenizer(language)
        theirs = find_alignment(model.whisper, tokenizer, list(text.tokens), mel[clip], round(length_s * 100))
        merge_punctuations(theirs, OPENING, CLOSING)
        expected = [(word.word.strip(), word.start, word.end) for word in theirs if word.word]
        assert [word.label for word in found[clip]] == [label for label, _, _ in expected]
        for word, (_, start_s, end_s) in zip(found[clip], expected, strict=True):
            assert (word.start_s, word.end_s) == pytest.approx((start_s, end_s), abs=1e-3)
    assert [word.label for word in found[0]] == ["Hello", "there,", "my", "friend."]
    assert sum(len(word.tokens) for word in found[1]) == len(texts[1].tokens)


def test_nothing_written_and_lists_that_do_not_fit(mel: torch.Tensor) -> None:
    model = tiny_whisper(seed=5)
    features = encode(model, mel)
    assert features is not None
    assert word_times(model, features, [written(model, ""), written(model, " a")], ends_s=[1.0, 0.0])[0] == ()
    assert word_times(model, features[:0], [], ends_s=[]) == []
    with pytest.raises(BadShape, match="one for each"):
        word_times(model, features, [written(model, " a")], ends_s=[1.0])


def test_finding_times_leaves_the_number_of_threads_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba, which runs the path's search, takes all cores for the whole process when it starts."""
    before = torch.get_num_threads()

    def starting(matrix: torch.Tensor) -> np.ndarray:
        torch.set_num_threads(before + 1)
        return dtw(matrix)

    monkeypatch.setattr("whisper.timing.dtw", starting)
    token_starts(torch.rand(2, 4, 9), 0, 4)
    assert torch.get_num_threads() == before
