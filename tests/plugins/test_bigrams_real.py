"""What real decoders expect when they hear nothing."""

from __future__ import annotations

import pytest

import wspy
from wspy.model import Model, load_model
from wspy_bigrams import Prediction

pytestmark = [pytest.mark.real, pytest.mark.session_home]


@pytest.fixture(scope="module", params=["tiny.en", "base"])
def model(request: pytest.FixtureRequest) -> Model:
    return load_model(request.param, device="cpu")


def words(found: Prediction) -> list[str]:
    """The likely tokens that begin a word."""
    return [following.token.text for following in found.next if following.token.text[:1] == " "]


def test_known_bigrams(model):
    result = wspy.analyze("bigrams", prompt=[" thank", " New", " United", " traffic"], model=model)
    thank, new, united, traffic = result.predictions
    assert thank.next[0].token.text == " you" and thank.next[0].probability > 0.9
    assert thank.next[0].probability > 1.5 * thank.next[0].unprompted
    assert " York" in words(new)[:3]
    assert words(united)[:2] == [" States", " Nations"]
    for found in (new, united, traffic):
        assert found.kl > 2 * thank.kl > 1  # " you" is what silence brings forth anyway
    if model.name == "base":
        ranked = [word for word in words(traffic) if word in (" lights", " light", " jam", " police")]
        assert ranked == [" lights", " light", " jam", " police"]
    else:  # tiny.en has the word far down, below function words
        assert " lights" in words(traffic)[:20]


def test_the_prompt_may_follow_the_posts_own_start(model):
    result = wspy.analyze("bigrams", prompt=[" thank"], timestamps=True, model=model)
    start = ["<|startoftranscript|>"] + (["<|en|>", "<|transcribe|>"] if model.is_multilingual else [])
    assert [token.text for token in result.start] == start
    assert result.predictions[0].next[0].token.text == " you"
