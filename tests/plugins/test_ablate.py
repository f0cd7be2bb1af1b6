"""The ablate plugin on small random models whose neurons are wired to matter, or not to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import wspy
from wspy.atlas import ensure_atlas
from wspy.audio import FRAME_S, SAMPLE_RATE, log_mel
from wspy.blocks import Figure, Table, Text
from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.errors import NoText, OutOfRange, PhoneNeedsAlignment, UnknownPhone
from wspy.model import Model, forced_tokens
from wspy.testing import tiny_whisper
from wspy_ablate import Ablate
from wspy_ablate.result import AblateResult
from wspy_ablate.summarise import ALL, WITH, WITHOUT, Heard, _Losses
from wspy_ablate.words import Word, marked, place_words, word_error_rate, words_of

IDX = 7
TEXTS = ("She sells, seashells!", "Ten men ran", "A shy moth.", "Wish me luck")
SAID = {
    "she": "SH IY",
    "sells": "S EH L Z",
    "seashells": "S IY SH EH L Z",
    "ten": "T EH N",
    "men": "M EH N",
    "ran": "R AE N",
    "a": "AH",
    "shy": "SH AY",
    "moth": "M AO TH",
    "wish": "W IH SH",
    "me": "M IY",
    "luck": "L AH K",
}
WITH_SH = {"She", "seashells!", "shy", "Wish"}


def aligned(words: list[str], phones: dict[str, str] = SAID) -> Alignment:
    """Words of a quarter of a second each, their phones in equal parts."""
    intervals, sounds = [], []
    for at, word in enumerate(words):
        intervals.append(Interval(at / 4, (at + 1) / 4, word))
        parts = phones[word].split()
        borders = np.linspace(at / 4, (at + 1) / 4, len(parts) + 1)
        sounds += [Interval(a, b, phone) for a, b, phone in zip(borders, borders[1:], parts, strict=False)]
    return Alignment(tuple(intervals), tuple(sounds), "ARPABET", "made up")


def noise_corpus(texts: tuple[str | None, ...] = TEXTS, *, align: bool = True) -> Corpus:
    rng = np.random.default_rng(5)
    items = []
    for at, text in enumerate(texts):
        samples = rng.normal(scale=0.1, size=SAMPLE_RATE).astype(np.float32)
        words = [word.strip("!,.").lower() for word in (text or "").split()]
        items.append((samples, Clip(f"clip-{at}", text=text), aligned(words) if align and words else None))
    return Corpus.in_memory("noise", items)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_whisper(seed=11)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return noise_corpus()


def ablate(model: Model, corpus: Corpus, **inputs: object) -> AblateResult:
    result = wspy.analyze(
        "ablate", **{"transcripts": 0, "idx": IDX, "phone": "SH", **inputs}, model=model, corpus=corpus
    )
    assert isinstance(result, AblateResult)
    return result


# --- the numbers ------------------------------------------------------------------------------------------


def losses_by_hand(model: Model, corpus: Corpus) -> tuple[float, float, float]:
    """Mean cross-entropy over words with SH, words without, and everything, by openai-whisper alone, clip by clip."""
    sums, counts = np.zeros(3), np.zeros(3)
    tokenizer = model.tokenizer()
    for clip in corpus.clips:
        sequence = forced_tokens(model, clip.text or "")
        mel = torch.from_numpy(log_mel(corpus.audio(clip)))[None]
        with torch.no_grad():
            logits = model.whisper(mel, torch.tensor([sequence.ids]))[0].log_softmax(-1)
        word = -1
        words = (clip.text or "").split()
        for place in range(sequence.n_prompt, len(sequence.ids)):
            loss = -float(logits[place - 1, sequence.ids[place]])
            text = tokenizer.decode([sequence.ids[place]])
            word += text.startswith(" ")
            groups = [2]
            if any(char.isalpha() for char in text) and sequence.ids[place] != tokenizer.eot:
                groups.append(0 if words[word] in WITH_SH else 1)
            sums[groups] += loss
            counts[groups] += 1
    with_phone, without, everything = (sums / counts).tolist()
    return with_phone, without, everything


@pytest.mark.parametrize("mode", ["zero", "mean"])
@pytest.mark.parametrize("layer", [0, 1])
def test_losses_are_those_of_openai_whisper_with_the_weights_changed_by_hand(corpus, layer, mode):
    model = tiny_whisper(seed=12)
    model.whisper.encoder.blocks[layer].mlp[2].weight.data[:, IDX] *= 30
    model = replace(model, reference=replace(model.reference, sha256=f"scaled-{layer}-{model.sha256}"))
    result = ablate(model, corpus, layer=layer, mode=mode)
    clean = losses_by_hand(model, corpus)
    assert (result.loss_with, result.loss_without, result.loss) == pytest.approx(clean, abs=1e-4)

    unit = result.effects[0]
    assert unit.value != 0 if mode == "mean" else unit.value == 0
    last = model.whisper.encoder.blocks[layer].mlp[2]
    last.bias.data += unit.value * last.weight.data[:, IDX]
    last.weight.data[:, IDX] = 0
    changes = np.array(losses_by_hand(model, corpus)) - clean
    assert abs(changes[2]) > 1e-3  # the neuron matters
    assert unit.with_phone and unit.without_phone and unit.difference
    assert (unit.with_phone.value, unit.without_phone.value, unit.overall.value) == pytest.approx(changes, abs=2e-4)
    assert unit.difference.value == pytest.approx(changes[0] - changes[1], abs=4e-4)
    assert unit.overall.low <= unit.overall.value <= unit.overall.high
    assert (result.n_words_with, result.n_words_without, result.n_words_unplaced) == (4, 8, 0)


def test_it_does_what_a_patch_of_the_neuron_does(model, corpus):
    result = ablate(model, corpus, layer=0, controls=1)

    def switched_off(activations: torch.Tensor) -> torch.Tensor:
        activations[..., IDX] = 0
        return activations

    with wspy.patch(model, {"encoder.blocks.0.mlp.1": switched_off}):
        ablated = losses_by_hand(model, corpus)[2]
    assert result.loss + result.effects[0].overall.value == pytest.approx(ablated, abs=1e-4)


def test_a_wired_neuron_matters_and_dead_ones_change_nothing_at_all(corpus):
    model = tiny_whisper(seed=13)
    write = model.whisper.encoder.blocks[1].mlp[2].weight.data
    wired = write[:, IDX] * 40
    write.zero_()
    write[:, IDX] = wired
    result = ablate(model, corpus, layer=1, controls=1, transcripts=1)
    unit, *controls = result.effects
    assert result.words[0].change > 0.05 and unit.removed > 0.1
    assert unit.overall.low < unit.overall.value < unit.overall.high
    assert [control.role for control in controls] == ["control"]
    assert controls[0].idx != IDX
    for control in controls:
        assert control.removed == 0 and control.n_changed == 0 and control.drift in (0, None)
        for change in (control.overall, control.with_phone, control.without_phone, control.difference):
            assert change and (change.value, change.low, change.high) == (0, 0, 0)
    # The other way round: a dead neuron, whatever the others do.
    dead, *_ = ablate(model, corpus, layer=1, idx=IDX + 1, controls=1).effects
    assert dead.overall.value == 0 and dead.removed == 0


def test_the_same_seed_gives_the_same_numbers_and_another_other_controls(model, corpus):
    def run(seed: int) -> AblateResult:
        result = wspy.analyze(
            "ablate", layer=1, idx=IDX, phone="SH", transcripts=0, clips=3, model=model, corpus=corpus, seed=seed
        )
        assert isinstance(result, AblateResult)
        return result

    assert run(1).model_dump() == run(1).model_dump()
    assert [effect.idx for effect in run(1).effects[1:]] != [effect.idx for effect in run(2).effects[1:]]
    assert run(1).n_clips == 3


def heard(rng: np.random.Generator, with_phone: float, without: float) -> Heard:
    """A clip of eight tokens, three with the phone, whose losses rise by so much on average."""
    masks = np.array([[1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1, 0], [1] * 8], float)
    rise = (
        with_phone * masks[WITH] + without * masks[WITHOUT] + rng.normal(scale=0.3, size=8) * (masks[WITH] + masks[1])
    )
    clean = rng.uniform(0, 3, size=8)
    return Heard(Clip("x"), "x", [Word("x", (0,))], [True], masks, [clean, clean + rise])


def test_a_known_difference_is_found_and_its_interval_covers_it_as_often_as_it_says():
    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        losses = _Losses([heard(rng, 0.5, 0.1) for _ in range(40)], rng, True)
        difference = losses.difference(1)
        covered.append(difference.low <= 0.4 <= difference.high)
        assert losses.change(1, WITH).value == pytest.approx(0.5, abs=0.15)
        assert losses.change(1, WITHOUT).value == pytest.approx(0.1, abs=0.15)
        assert losses.change(1, ALL).value == pytest.approx((3 * 0.5 + 4 * 0.1) / 8, abs=0.15)
    assert 0.88 <= np.mean(covered) <= 0.99


# --- words ------------------------------------------------------------------------------------------------


def test_tokens_make_words_and_punctuation_counts_for_none(model):
    sequence = forced_tokens(model, "Don't  say “seashells”, well-known - 42!")
    words = words_of(model, sequence, None)
    assert [word.text for word in words] == ["Don't", "say", "“seashells”,", "well-known", "-", "42!"]
    tokenizer = model.tokenizer()
    said = [tokenizer.decode([sequence.ids[sequence.n_prompt + at] for at in word.tokens]) for word in words]
    assert [text.strip() for text in said] == ["Don't", "say", "seashells", "wellknown", "", "42"]


def test_words_of_letters_that_take_several_tokens():
    model = tiny_whisper(n_vocab=51865)
    words = words_of(model, forced_tokens(model, "Жук ぴょん", "ru"), "ru")
    assert [word.text for word in words] == ["Жук", "ぴょん"]
    assert all(word.tokens for word in words)


def test_written_words_find_their_phones():
    spoken = ["mister", "smith", "paid", "forty", "two", "well", "known", "men", "men"]
    phones = dict(zip(spoken, ["M", "S", "P", "F", "T UW1", "W", "N", "EH", "EH"], strict=False))
    written = ["Mr.", "Smith", "paid", "42", "well-known", "men,", "surprisingly", "good", "men."]
    placed = place_words(written, aligned(spoken, phones))
    assert placed == [{"M"}, {"S"}, {"P"}, {"F", "T", "UW1", "UW"}, {"W", "N"}, {"EH"}, None, None, {"EH"}]


def test_changed_words_are_marked_and_case_and_punctuation_are_not_changes():
    assert marked("She had your suit.", "she had your suit") == (False, "she had your suit")
    assert marked("She had a dark suit, now.", "She had dark soot") == (
        True,
        "She had [a → ∅] dark [suit, → soot] [now. → ∅]",
    )
    assert marked("", "") == (False, "")
    assert marked("Hello", "...") == (True, "[Hello → ]")


def test_word_error_rates_are_of_all_words_together():
    assert word_error_rate(["a b c", "D, e"], ["a x c", "d e"], english=True) == pytest.approx(1 / 5)
    assert word_error_rate(["", "a b"], ["noise", ""], english=True) == 1
    assert word_error_rate(["", "..."], ["a", "b"], english=False) is None


# --- which phone, which clips -----------------------------------------------------------------------------


def test_without_a_phone_the_most_common_one_at_the_peaks_is_taken(model, corpus):
    result = ablate(model, corpus, layer=1, phone=None)
    # The same by hand, from the atlas.
    site = ensure_atlas("encoder.blocks.1.mlp.1", model.reference, corpus, model=lambda: model)
    top = site.unit(IDX).top[1]
    phones = []
    for at, frame in zip(top.clip, top.frame, strict=True):
        alignment = corpus.alignment(corpus.clips[at])
        assert alignment
        phones.append(alignment.phone_at((frame - (site.lag_frames or 0)) * FRAME_S))
    known = [phone for phone in phones if phone]
    assert result.phone_from == "peaks" and result.phone_auroc is None
    assert result.phone in known and known.count(result.phone) == max(known.count(phone) for phone in known)


def test_half_of_the_clips_have_the_phone():
    corpus = noise_corpus(("Ten men ran",) * 9 + ("Wish me luck",))
    for seed in range(3):
        result = wspy.analyze(
            "ablate", layer=1, idx=0, phone="SH", clips=2, transcripts=0, model=tiny_whisper(), corpus=corpus, seed=seed
        )
        assert isinstance(result, AblateResult)
        assert (result.n_clips, result.n_words_with) == (2, 1)


def test_layers_neurons_and_phones_that_do_not_exist(model, corpus):
    with pytest.raises(OutOfRange, match="Layer 2"):
        ablate(model, corpus, layer=2)
    with pytest.raises(OutOfRange, match="Neuron 256"):
        ablate(model, corpus, layer=0, idx=256)
    with pytest.raises(UnknownPhone, match=r"no.*'XX'.* AE, AH, .*SH"):
        ablate(model, corpus, layer=0, phone="XX")
    with pytest.raises(PhoneNeedsAlignment, match="wspy corpus align noise"):
        ablate(model, noise_corpus(align=False), layer=0)
    with pytest.raises(NoText):
        ablate(model, noise_corpus(("", "")), layer=0, phone=None)


def test_without_an_alignment_the_whole_text_counts_and_without_a_text_whispers_own(model):
    result = ablate(model, noise_corpus(("Ten men ran", None), align=False), layer=1, phone=None, controls=1)
    assert (result.phone, result.phone_from, result.n_own_text) == (None, "none", 1)
    unit = result.effects[0]
    assert unit.difference is None and unit.with_phone is None and result.loss_with is None
    page = "\n".join(block.markdown for block in Ablate().view(result) if isinstance(block, Text))
    assert "own transcript" in page and "No phone" in page


# --- the page ---------------------------------------------------------------------------------------------


def test_the_page_has_the_neuron_and_its_controls_in_one_table_and_figures_with_intervals(model, corpus):
    result = ablate(model, corpus, layer=1, controls=2)
    blocks = Ablate().view(result)
    table = next(block for block in blocks if isinstance(block, Table))
    assert [row[1] for row in table.rows] == ["clean", "unit", "control", "control"]
    assert all(len(row) == len(table.columns) for row in table.rows)
    figures = [block for block in blocks if isinstance(block, Figure)]
    assert len(figures) == 2
    for figure, bars in zip(figures, (3, 6), strict=True):
        (trace,) = figure.spec["data"]
        assert len(trace["x"]) == bars and "error_x" in trace
        assert "nats per token" in figure.spec["layout"]["xaxis"]["title"]["text"]
    suffer, gain = (block for block in blocks if isinstance(block, Table) and block.title.startswith("Words"))
    worse, better = ([row[2] for row in table.rows] for table in (suffer, gain))
    assert worse == sorted(worse, reverse=True) and better == sorted(better)
    assert len(worse) + len(better) == 12 and min(worse) > 0 > max(better)  # all words: each text has three
