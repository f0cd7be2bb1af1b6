"""The bigrams plugin: a bigram planted in the unembedding is found, and the logits are those of a bare decoder."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from whisper.audio import log_mel_spectrogram
from whisper.model import ModelDimensions, Whisper

import wspy
from wspy.audio import WINDOW_SAMPLES
from wspy.errors import BadInput, EmptyPrompt, EnglishOnly, TooManyTokens, UnknownLanguage, UnknownToken
from wspy.model import Model, TokenSequence, capture, padding_features, teacher_force
from wspy.testing import tiny_whisper
from wspy_bigrams import Bigrams
from wspy_bigrams.page import shown
from wspy_bigrams.predict import next_logits, prompt_tokens


def hidden(model: Model, prompt: str) -> torch.Tensor:
    """What the decoder holds after the start tokens and a prompt, before the unembedding."""
    tokenizer = model.tokenizer()
    ids = (*tokenizer.sot_sequence_including_notimestamps, *tokenizer.encode(prompt))
    with capture(model, "decoder.ln") as cache:
        teacher_force(model, padding_features(model), [TokenSequence(ids, len(ids))])
    return cache["decoder.ln"][0, -1]


@pytest.fixture(scope="module")
def planted() -> Model:
    """After " red" comes " apple", after " blue" comes " sky", as the rows of the unembedding say."""
    model = tiny_whisper(seed=6)
    tokenizer = model.tokenizer()
    states = {prompt: hidden(model, prompt) for prompt in (" red", " blue", "")}
    basis = torch.stack(list(states.values())).double()
    # Rows that score 300 on their own state and nothing on the others; a token's own row scores about 64 on itself.
    rows = torch.linalg.pinv(basis).T * 300
    for row, word in zip(rows, (" apple", " sky"), strict=False):
        (token,) = tokenizer.encode(word)
        model.whisper.decoder.token_embedding.weight.data[token] = row.float()
    return replace(model, reference=replace(model.reference, sha256="planted" + model.sha256[7:]))


@pytest.fixture(scope="module")
def multilingual() -> Model:
    return tiny_whisper(seed=7, n_vocab=51865)


def test_the_planted_bigram_is_given_back(planted):
    result = wspy.analyze("bigrams", prompt=[" red", " blue"], top=5, model=planted)
    assert isinstance(result, Bigrams.Result)
    assert [found.next[0].token.text for found in result.predictions] == [" apple", " sky"]
    first = result.predictions[0].next[0]
    assert first.logit == pytest.approx(300, rel=1e-3) and first.probability > 0.99
    assert first.unprompted < 1e-3
    assert first.difference == pytest.approx(np.log(first.probability) - np.log(first.unprompted), abs=1e-6)
    assert first.difference > 5 and result.predictions[0].kl > 5
    assert result.unprompted.kl == 0 and result.unprompted.shared == 5
    assert {found.difference for found in result.unprompted.next} == {0.0}


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("n_vocab", [51864, 51865])
def test_logits_are_those_of_a_bare_decoder(n_vocab, timestamps):
    model = tiny_whisper(seed=7, n_vocab=n_vocab)
    options = {"language": "de", "task": "translate"} if n_vocab == 51865 else {}
    prompts = [" hot questions", " a"]
    result = wspy.analyze("bigrams", prompt=prompts, timestamps=timestamps, suppress=False, model=model, **options)
    # openai-whisper alone, with start tokens written by hand.
    bare = Whisper(ModelDimensions(**asdict(model.dims)))
    bare.load_state_dict(model.whisper.state_dict())
    bare.eval()
    start = [50257] if n_vocab == 51864 else [50258, 50261, 50358]
    start += [] if timestamps else [50362 if n_vocab == 51864 else 50363]
    assert [token.id for token in result.start] == start
    with torch.no_grad():
        features = bare.encoder(log_mel_spectrogram(torch.zeros(WINDOW_SAMPLES))[None])
        for found, prompt in zip([result.unprompted, *result.predictions], ["", *prompts], strict=True):
            ids = model.tokenizer().encode(prompt)
            logits = bare.decoder(torch.tensor([start + ids]), features)[0, -1]
            best = logits.topk(20)
            assert [following.token.id for following in found.next] == best.indices.tolist()
            assert [following.logit for following in found.next] == pytest.approx(best.values.tolist(), abs=1e-4)
            p = logits.softmax(-1)
            assert [following.probability for following in found.next] == pytest.approx(
                p[best.indices].tolist(), rel=1e-3
            )
            end = 50256 if n_vocab == 51864 else 50257
            assert found.end == pytest.approx(float(p[end]), rel=1e-3)


def test_special_tokens_are_left_out_and_the_rest_sums_to_one(multilingual):
    loud = replace(multilingual, reference=multilingual.reference)
    bare = wspy.analyze("bigrams", prompt=[" a"], suppress=False, top=200, model=loud)
    kept = wspy.analyze("bigrams", prompt=[" a"], suppress=True, top=200, model=loud)
    assert all(following.token.id < 50257 for following in kept.predictions[0].next)
    assert any(following.token.id >= 50257 for following in bare.predictions[0].next)
    logits = next_logits(loud, [[50258, 50259, 50359, 50363, 257]])[0]
    p = logits[:50257].softmax(-1)
    assert kept.predictions[0].next[0].probability == pytest.approx(float(p.max()), rel=1e-4)
    ranked = {following.token.id: following.logit for following in bare.predictions[0].next}
    for following in kept.predictions[0].next:
        if following.token.id in ranked:
            assert following.logit == pytest.approx(ranked[following.token.id])


def test_several_tokens_and_special_ones_are_shown(multilingual):
    result = wspy.analyze("bigrams", prompt=[" traffic lights<|notimestamps|>"], model=multilingual, top=3)
    tokens = result.predictions[0].tokens
    assert [token.text for token in tokens] == [" traffic", " lights", "<|notimestamps|>"]
    blocks = Bigrams().view(result)
    assert [block.kind for block in blocks] == ["text", "text", "table", "figure", "text", "table", "figure"]
    assert "3 tokens" in blocks[1].markdown
    assert len(blocks[2].rows) == 3 and len(blocks[2].columns) == 7 and len(blocks[5].columns) == 5
    assert shown(" a\n") == "' a\\n'"
    # A piece of a character has no text of its own.
    pieces = wspy.analyze("bigrams", prompt=["𐍈"], model=multilingual).predictions[0].tokens
    assert "".join(token.text for token in pieces) == "\\xf0\\x90\\x8d\\x88"


def test_a_chain_follows_the_planted_bigrams_and_chance_is_seeded(planted):
    greedy = wspy.analyze("bigrams", prompt=[" red", " blue sky"], steps=3, model=planted)
    for found, prompt in zip(greedy.predictions, (" red", " blue sky"), strict=True):
        ids = list(planted.tokenizer().sot_sequence_including_notimestamps) + planted.tokenizer().encode(prompt)
        for token in found.chain:
            logits = next_logits(planted, [ids])[0]
            logits[50256:] = -torch.inf
            assert token.id == int(logits.argmax())
            ids.append(token.id)
    assert greedy.predictions[0].text.startswith(" red apple") and len(greedy.predictions[0].chain) == 3
    asked = {"prompt": [" green"], "steps": 4, "decoding": "sampled", "temperature": 10.0, "model": planted}
    one, two, other = (wspy.analyze("bigrams", seed=seed, **asked).predictions[0].chain for seed in (1, 1, 2))
    assert one == two != other


def test_a_chain_ends_at_the_end_of_the_text():
    model = tiny_whisper(seed=8)
    model.whisper.decoder.token_embedding.weight.data[model.tokenizer().eot] = hidden(model, " a") * 10
    ended = wspy.analyze("bigrams", prompt=[" a"], steps=5, suppress=False, model=model).predictions[0]
    assert [token.text for token in ended.chain] == ["<|endoftext|>"] and ended.end > 0.99
    babble = wspy.analyze("bigrams", prompt=[" a"], steps=5, model=model).predictions[0]
    assert len(babble.chain) == 5


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"prompt": []}, EmptyPrompt, "with the space before it"),
        ({"prompt": [""]}, EmptyPrompt, "prompt is empty"),
        ({"prompt": [" a", "<|nosuch|>"]}, UnknownToken, r"no token <\|nosuch\|>"),
        ({"prompt": [" a" * 500]}, TooManyTokens, "takes 448"),
        ({"prompt": [" a" * 300], "steps": 200}, TooManyTokens, "with 200 steps"),
        ({"prompt": [" a"], "language": "klingon"}, UnknownLanguage, "klingon"),
        ({"prompt": [" a"], "language": "de"}, UnknownLanguage, "de"),
        ({"prompt": [" a"], "task": "translate"}, EnglishOnly, "English-only"),
        ({"prompt": [" a"], "top": 0}, BadInput, "top"),
        ({"prompt": [" a"], "temperature": 0}, BadInput, "temperature"),
    ],
)
def test_what_cannot_be_predicted_is_refused(planted, asked, error, said):
    with pytest.raises(error, match=said):
        wspy.analyze("bigrams", model=planted, **asked)


def test_the_tokens_of_a_prompt_are_the_tokenizers_own(multilingual):
    tokenizer = multilingual.tokenizer("en")
    assert prompt_tokens(tokenizer, " thank you") == tokenizer.encode(" thank you")
    assert prompt_tokens(tokenizer, "<|de|> a")[0] == tokenizer.to_language_token("de")
