"""The chop plugin: a model that copies its frames to words loses exactly the words that are cut."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from whisper.model import AudioEncoder, TextDecoder

import wspy
from wspy.audio import FRAMES_PER_SECOND, SAMPLE_RATE, write_wav
from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.errors import AudioSilent, AudioTooLong, BadCut, BadInput, EmptyCut, NothingHeard, WordNotHeard
from wspy.model import Model
from wspy.testing import tiny_whisper
from wspy_chop import Chop, locality
from wspy_chop.chop import FILLINGS, fill, span, span_of_time
from wspy_chop.compare import compare, exactly_gone, find_words

WORDS = ("one", "two", "three", "two", "four")
WORD_FRAMES = 20


class CopyingEncoder(AudioEncoder):
    """Frames carry the number of their word, counted from 1; silence carries nothing."""

    def forward(self, mel: Tensor) -> Tensor:
        features = torch.zeros(len(mel), 1500, 64)
        for clip, picture in enumerate(mel):
            if float(picture.max()) > float(picture.min()):
                for word in range(len(WORDS)):
                    features[clip, word * WORD_FRAMES : (word + 1) * WORD_FRAMES, 0] = word + 1
        return features


class CopyingDecoder(TextDecoder):
    """Writes the word of each run of frames, one token each, and attends to the run that it writes."""

    def forward(self, x: Tensor, xa: Tensor, kv_cache: dict[torch.nn.Module, Tensor] | None = None) -> Tensor:
        # openai-whisper gives the newest token only, once there is a cache.
        begins = int(x[0, 0]) == self.tokenizer.sot
        self.seen = x if begins else torch.cat([self.seen, x], dim=1)
        first_new = self.seen.shape[1] - x.shape[1]
        logits = torch.full((*x.shape, self.token_embedding.num_embeddings), -20.0)
        weights = torch.full((*x.shape, 1500), 1e-6)
        for clip, tokens in enumerate(self.seen.tolist()):
            runs = [int(number) for number in xa[clip, :, 0].round().unique_consecutive() if 0 < number <= len(WORDS)]
            for at in range(first_new, len(tokens)):
                count = sum(token < self.tokenizer.eot for token in tokens[: at + 1])
                if tokens[at] == self.tokenizer.sot:
                    following = self.tokenizer.timestamp_begin
                elif count < len(runs):
                    following = self.words[runs[count] - 1]
                    weights[clip, at - first_new, xa[clip, :, 0].round() == runs[count]] = 1.0
                else:
                    following = self.tokenizer.eot
                    weights[clip, at - first_new, len(WORDS) * WORD_FRAMES : 1500] = 1.0
                logits[clip, at - first_new, following] = 20.0
        for block in self.blocks:
            block.cross_attn.pattern(weights[:, None].expand(-1, block.cross_attn.n_head, -1, -1))
        return logits


@pytest.fixture(scope="module")
def copying() -> Model:
    model = tiny_whisper(seed=4)
    tokenizer = model.tokenizer()
    model.whisper.encoder.__class__ = CopyingEncoder
    decoder = model.whisper.decoder
    decoder.__class__ = CopyingDecoder
    decoder.tokenizer, decoder.words = tokenizer, [tokenizer.encode(f" {word}")[0] for word in WORDS]
    return replace(model, reference=replace(model.reference, sha256="copying" + model.sha256[7:]))


def noise(duration_s: float, seed: int = 0) -> np.ndarray:
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(duration_s * SAMPLE_RATE))
    return samples.astype(np.float32)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "words.wav"
    write_wav(path, noise((len(WORDS) + 2) * WORD_FRAMES / FRAMES_PER_SECOND))
    return path


@pytest.mark.parametrize(
    ("asked", "spans", "left"),
    [
        ({"word": "three"}, [(40, 60)], "one two two four"),
        ({"word": "Two,"}, [(20, 40), (60, 80)], "one three four"),
        ({"word": "two", "occurrence": 2}, [(60, 80)], "one two three four"),
        ({"word": "three two"}, [(40, 80)], "one two four"),
        ({"start": 0, "stop": 40}, [(0, 40)], "three two four"),
        ({"start_s": 0.4, "stop_s": 0.8}, [(20, 40)], "one three two four"),
    ],
)
def test_exactly_the_words_that_are_cut_disappear(copying, recording, asked, spans, left):
    result = wspy.analyze("chop", audio=recording, model=copying, **asked)
    assert isinstance(result, Chop.Result) and result.recording is not None
    assert result.recording.text == " ".join(WORDS)
    assert [(word.start, word.stop) for word in result.recording.words[:-1]] == [
        (i * 20, i * 20 + 20) for i in range(4)
    ]
    (cut,) = result.recording.cuts
    assert [(one.start, one.stop) for one in cut.spans] == spans
    assert cut.text == left
    assert cut.exact is (True if "word" in asked else None)
    command = json.loads((result.folder / "result.json").read_text())["provenance"]["command"]
    assert command.startswith(f"wspy analyze chop {recording}")  # by position
    assert {pair.outcome for pair in cut.pairs} == {"kept", "removed"}
    assert [pair.after for pair in cut.pairs if pair.after] == left.split()


def test_each_word_in_turn_and_its_margin(copying, recording):
    found = wspy.analyze("chop", audio=recording, model=copying).recording
    assert [cut.label for cut in found.cuts] == list(WORDS) and all(cut.exact for cut in found.cuts)
    wider = wspy.analyze("chop", audio=recording, model=copying, margin_s=0.4).recording
    assert not any(cut.exact for cut in wider.cuts)
    assert wider.cuts[1].text == "two four"


@pytest.fixture
def few(monkeypatch):
    """Fewer kinds of cuts over a corpus, to be quick."""
    monkeypatch.setattr(locality, "AMOUNTS_S", (("margin", (0.0, 0.4)), ("width", (0.1,))))


def test_over_a_corpus_words_are_local_and_random_cuts_are_not(copying, few):
    corpus = Corpus.in_memory("noises", [(noise(2.8, seed), Clip(f"clip-{seed}"), None) for seed in range(7)])
    found = wspy.analyze("chop", model=copying, corpus=corpus, clips=6).locality
    rates = {(rate.by, rate.amount_s, rate.placed): rate for rate in found.rates}
    assert (found.n_clips, found.n_silent, len(rates), len(found.cases)) == (6, 0, 6, 6)
    on_word = rates["margin", 0.0, "word"]
    assert on_word.exact == on_word.gone == on_word.others == 1.0 and on_word.unchanged == 0.0
    assert on_word.low < 0.7 and on_word.high == pytest.approx(1.0)  # six clips are few
    assert rates["margin", 0.0, "random"].exact < 0.5
    assert rates["margin", 0.4, "word"].gone == 1.0 and rates["margin", 0.4, "word"].exact == 0.0
    assert rates["width", 0.1, "word"].gone == 0.0  # both ends of the word remain, and are copied
    assert all(case.exact for case in found.cases)
    again = wspy.analyze("chop", model=copying, corpus=corpus, clips=6).locality
    assert again == found


def test_the_words_of_an_alignment_are_cut_where_it_has_them(copying, few):
    intervals = (Interval(0.0, 0.4, "one"), Interval(0.4, 0.8, "too"), Interval(0.8, 1.2, "three"))
    alignment = Alignment(intervals, (), "none", "hand")
    corpus = Corpus.in_memory("a", [(noise(2.8), Clip("a"), alignment), (noise(2.8, 1), Clip("b"), None)])
    found = wspy.analyze("chop", model=copying, corpus=corpus, timing="alignment").locality
    assert (found.n_clips, found.n_silent) == (1, 1)
    (case,) = found.cases
    assert (case.word, case.start_s, case.end_s) in {("one", 0.0, 0.4), ("three", 0.8, 1.2)} and case.exact


def test_the_fillings_are_what_they_are_called():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(3, 2, (1500, 64)).astype(np.float32))
    padding = torch.from_numpy(rng.normal(0, 1, (1500, 64)).astype(np.float32))
    kept = features.clone()
    cuts = {
        name: fill(features, [span(100, 900, "")], name, padding=padding, n_valid=1000, rng=np.random.default_rng(1))
        for name in FILLINGS
    }
    assert torch.equal(features, kept)
    expected = kept.clone()
    expected[100:900] = padding[100:900]  # the post's line
    assert torch.equal(cuts["padding"], expected)
    assert torch.allclose(cuts["mean"][100:900], kept[:1000].mean(0))
    assert cuts["noise"][100:900].std(0).numpy() == pytest.approx(kept[:1000].std(0).numpy(), rel=0.15)
    line = cuts["linear"]
    steps = np.linspace(0, 1, 802)[:, None]
    assert line[99:901].numpy() == pytest.approx((1 - steps) * kept[99].numpy() + steps * kept[900].numpy(), abs=1e-4)
    for cut in cuts.values():
        assert torch.equal(cut[:100], kept[:100]) and torch.equal(cut[900:], kept[900:])


def test_a_line_at_the_ends_of_the_window():
    features = torch.arange(1500.0)[:, None].expand(1500, 2)
    rng = np.random.default_rng(0)

    def line(start: int, stop: int) -> list[float]:
        spans = [span(start, stop, "")]
        cut = fill(features, spans, "linear", padding=features, n_valid=1500, rng=rng)
        return cut[start:stop, 0].tolist()

    assert set(line(0, 50)) == {50.0}
    assert set(line(1450, 1500)) == {1449.0}
    assert set(line(0, 1500)) == {749.5}


def test_times_become_the_frames_that_they_touch():
    assert [(s.start, s.stop) for s in (span_of_time(0.58, 0.6, ""), span_of_time(1.0, 1.0, ""))] == [
        (29, 30),
        (50, 51),
    ]
    assert (span_of_time(-1, 31, "").start, span_of_time(-1, 31, "").stop) == (0, 1500)


def test_words_are_told_apart_by_alignment():
    pairs = compare(["The", "hot", "questions,", "-", "asked"], ["the", "questions", "asked.", "were"])
    assert [(pair.before, pair.after, pair.outcome) for pair in pairs] == [
        ("The", "the", "kept"),
        ("hot", "", "removed"),
        ("questions,", "questions", "kept"),
        ("asked", "asked.", "kept"),
        ("", "were", "invented"),
    ]
    assert [pair.outcome for pair in compare(["a", "b"], ["a", "c"])] == ["kept", "changed"]
    assert [pair.outcome for pair in compare(["a"], [])] == ["removed"]
    assert [pair.outcome for pair in compare([], ["a"])] == ["invented"] and compare([], []) == ()
    assert exactly_gone(["a", "the", "the"], ["A", "the."], {1}) and not exactly_gone(["a", "b"], ["a", "b"], {1})
    assert find_words(["no,", "no", "No", "no"], "no no") == [range(2), range(2, 4)]
    assert find_words(["a"], "?") == []


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"start": 50, "stop": 50}, EmptyCut, "frame 50 to frame 50"),
        ({"start": 60, "stop": 50}, EmptyCut, "stop after the start"),
        ({"start": 0, "stop": 1501}, BadInput, "1500"),
        ({"start": -1, "stop": 5}, BadInput, "start"),
        ({"start_s": 1, "stop_s": 31}, BadInput, "30"),
        ({"start_s": 1, "stop_s": 0.5}, EmptyCut, "1 s to 0.5 s"),
        ({"start": 5}, BadCut, "Only one"),
        ({"stop_s": 5}, BadCut, "Only one"),
        ({"start": 5, "stop": 9, "word": "one"}, BadCut, "several ways"),
        ({"occurrence": 2}, BadCut, "without a word"),
        ({"word": " ?"}, BadCut, "word to cut is empty"),
        ({"start": 5, "stop": 9, "margin_s": 0.1}, BadCut, "margin"),
        ({"word": "seven"}, WordNotHeard, "'seven' here. It hears: one, two, three, two, four"),
        ({"word": "two", "occurrence": 3}, WordNotHeard, "3. time"),
    ],
)
def test_cuts_that_make_no_sense_are_refused(copying, recording, asked, error, said):
    with pytest.raises(error, match=said):
        wspy.analyze("chop", audio=recording, model=copying, **asked)


def test_recordings_without_words_and_inputs_without_a_recording(copying, tmp_path, monkeypatch):
    write_wav(tmp_path / "silence.wav", np.zeros(SAMPLE_RATE, np.float32))
    with pytest.raises(AudioSilent):
        wspy.analyze("chop", audio=tmp_path / "silence.wav", model=copying)
    write_wav(tmp_path / "long.wav", noise(31))
    with pytest.raises(AudioTooLong, match=r"31\.0 s"):
        wspy.analyze("chop", audio=tmp_path / "long.wav", model=copying)
    corpus = Corpus.in_memory("noise", [(noise(1), Clip("a"), None)])
    with pytest.raises(BadCut, match="no recording to which word"):
        wspy.analyze("chop", word="one", model=copying, corpus=corpus)
    monkeypatch.setattr(CopyingEncoder, "forward", lambda self, mel: torch.zeros(len(mel), 1500, 64))
    write_wav(tmp_path / "noise.wav", noise(1))
    with pytest.raises(NothingHeard, match="this recording"):
        wspy.analyze("chop", audio=tmp_path / "noise.wav", model=copying)
    with pytest.raises(WordNotHeard, match="no word"):
        wspy.analyze("chop", audio=tmp_path / "noise.wav", word="one", model=copying)
    with pytest.raises(NothingHeard, match="1 clips"):
        wspy.analyze("chop", model=copying, corpus=corpus)
    found = wspy.analyze("chop", audio=tmp_path / "noise.wav", start=0, stop=5, model=copying).recording
    assert found.text == found.cuts[0].text == ""


def test_the_page_shows_before_and_after(copying, recording, few):
    result = wspy.analyze("chop", audio=recording, word="three", filling="all", model=copying)
    blocks = Chop().view(result)
    assert [block.kind for block in blocks] == ["text", "table", "audio", "table"]
    assert [row[3] for row in blocks[1].rows] == ["", *FILLINGS]
    assert [row[-1] for row in blocks[1].rows[:2]] == [" ".join(WORDS), "one two two four"]
    assert blocks[3].rows[2][:2] == ("three", "–")
    shapes = blocks[2].figure.spec["layout"]["shapes"]
    assert (shapes[0]["x0"], shapes[0]["x1"]) == (0.8, 1.2)
    in_turn = wspy.analyze("chop", audio=recording, model=copying)
    turns = Chop().view(in_turn)
    assert [block.kind for block in turns] == ["text", "table", "audio", "table"] and "5 of 5" in turns[0].markdown
    assert turns[1].rows[2] == ("three", 0.8, 1.2, "padding", "yes", "three", "", "")
    assert [row[-1] for row in turns[3].rows[:2]] == [" ".join(WORDS), "two three two four"] and len(turns[3].rows) == 6
    shapes = turns[2].figure.spec["layout"]["shapes"]
    assert [(shape["x0"], shape["x1"]) for shape in shapes[:5]] == [
        (one.start_s, one.end_s) for cut in in_turn.recording.cuts for one in cut.spans
    ]
    corpus = Corpus.in_memory("noises", [(noise(2.8, seed), Clip(f"clip-{seed}"), None) for seed in range(2)])
    blocks = Chop().view(wspy.analyze("chop", model=copying, corpus=corpus))
    assert [block.kind for block in blocks] == ["text", "table", "figure", "figure", "table"]
    assert len(blocks[1].rows) == 3 and "100%" in blocks[0].markdown
