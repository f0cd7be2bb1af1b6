"""What the decoder writes when it hears nothing.

Question: which tokens does the decoder expect after a prompt, from what it knows of language alone?

Method: the encoder is given padding only (30 seconds of zeros), and the decoder the start tokens, then the prompt. What
it predicts next owes nothing to sound (section 3.1 of the post). The same without a prompt tells the unigrams: what the
decoder would write anyway. Their difference in log-probability, log p(token | prompt) - log p(token), is what the
prompt adds. With `--steps` the prediction is appended and the decoder asked again, so that it babbles on.

How it can mislead: silence is not the absence of input. Whisper has learned what people write under silence ("you",
"Thank you"), so the unigrams are those of silence, not of language. The start tokens matter: with timestamps allowed,
much of the probability goes to them; leaving special tokens out divides what is left among the words. A token is often
a part of a word: " j" may be the beginning of " jam". And every prompt is the beginning of a sentence here.

Example: `wspy analyze bigrams --prompt " traffic"`, or `wspy.analyze("bigrams", prompt=[" traffic"])`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import Count, Prompt


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Token(_Part):
    """A token of the vocabulary."""

    id: int = Field(description="Place in the vocabulary.")
    text: str = Field(description="What it writes; bytes that are no whole character are shown as \\xNN.")


class Next(_Part):
    """A token that may follow, and how likely it is with the prompt and without."""

    token: Token = Field(description="The token.")
    logit: float = Field(description="The decoder's score after the prompt, before the softmax.")
    probability: float = Field(description="Of the token after the prompt.")
    unprompted: float = Field(description="Probability of the token with no prompt: the unigram.")
    difference: float = Field(description="Log-probability with the prompt minus that without, in nats.")


class Prediction(_Part):
    """What follows one prompt."""

    prompt: str = Field(description="As typed; empty for the prediction without a prompt.")
    tokens: tuple[Token, ...] = Field(description="The tokens that the prompt is made of.")
    timestamps: float = Field(description="Probability that a timestamp follows, among all tokens.")
    end: float = Field(description="Probability that the end of the text follows, among all tokens.")
    next: tuple[Next, ...] = Field(description="The most likely tokens, most likely first.")
    kl: float = Field(description="Kullback-Leibler divergence from the unigrams, in nats; 0: the prompt adds nothing.")
    shared: int = Field(description="How many of the most likely tokens are also the most likely without a prompt.")
    chain: tuple[Token, ...] = Field(description="What the decoder writes on its own after the prompt.")
    text: str = Field(description="The prompt with the chain behind it.")


class Bigrams(wspy.Analysis["Bigrams.Inputs", "Bigrams.Result"]):
    """The decoder as a language model: next tokens from padding and a prompt alone."""

    api = 1
    name = "bigrams"
    summary = "What the decoder expects after a prompt when it hears nothing."

    class Inputs(wspy.Inputs):
        prompt: list[Prompt] = Field(
            description="Text to predict after, kept as typed: ' traffic' begins a word. <|...|> is a special token."
        )
        top: Count = Field(20, le=200, description="How many of the most likely tokens to show, 1 to 200.")
        suppress: bool = Field(
            True, description="Leave out timestamps, the end of the text and the other special tokens."
        )
        timestamps: bool = Field(
            False, description="Start without <|notimestamps|>, as the post writes it, so that timestamps may follow."
        )
        language: str | None = Field(None, description="Code or English name; English if left out.")
        task: Literal["transcribe", "translate"] = Field("transcribe", description="What the decoder is told to do.")
        steps: int = Field(0, ge=0, le=200, description="How many tokens to write on after each prompt.")
        decoding: Literal["greedy", "sampled"] = Field(
            "greedy", description="greedy: the most likely token at each step; sampled: drawn by its probability."
        )
        temperature: float = Field(1.0, gt=0, le=10, description="For sampled: below 1 surer, above 1 wilder.")

    class Result(wspy.Result):
        model: str = Field(description="Name of the model.")
        language: str = Field(description="Code of the language.")
        task: str = Field(description="What the decoder was told to do.")
        start: tuple[Token, ...] = Field(description="The start tokens before each prompt.")
        suppressed: bool = Field(description="Whether special tokens were left out, and the rest made to sum to 1.")
        decoding: str = Field(description="How the chains were continued; empty where there are none.")
        unprompted: Prediction = Field(description="What follows the start tokens alone: the unigrams of silence.")
        predictions: tuple[Prediction, ...] = Field(description="One for each prompt, in the order given.")

    def run(self, inputs: Bigrams.Inputs, context: wspy.Context) -> Bigrams.Result:
        from wspy_bigrams.predict import predict

        return predict(inputs, context)

    def view(self, result: Bigrams.Result) -> list[wspy.Block]:
        from wspy_bigrams.page import page

        return page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Bigrams)
