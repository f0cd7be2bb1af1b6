"""From which frames of audio the encoder's outputs, and the words, draw what they are.

Question: how local is the encoder? Which frames does an output of the encoder draw on, where do the frames after the
audio's end look, and which frames did a word come from?

Method: the rules of Chefer, Gur and Wolf 2021 (arXiv 2103.15679, section 3), as in the post's section 2.1. A map R
starts as the identity. Layer by layer A' = mean over heads of the positive part of (gradient of a target times
attention), equation 5, and R = R + A' R, equation 6. The target is the encoder's output, summed over frames and
directions as in the post, or the logit of a token, or of every token in turn. For a token, the decoder's rules follow:
self-attention passes on what the tokens gathered (7), cross-attention adds to it with both sides normalised (8 to 10),
and the row of the place that predicts the token is its relevance over the frames. A word is the sum of its tokens, and
the map of several tokens that of their logits' sum. Beside it the plain rollout of Abnar
and Zuidema 2020 (arXiv 2005.00928), which asks for no gradient: the product of half the mean attention and half the
identity. All numbers leave the identity out of both maps.

How it can mislead: relevance is not effect. The rules follow attention only, and take what the MLPs and the norms do
for the identity; positive parts are kept, so what works against the target is invisible. The sum of the encoder's
output is an odd target: before the weights of the last norm it is zero for every input, so its gradient shows how
unevenly those weights treat the directions, not what the model needs; a word is a better one. Frames with large
gradients dominate a map's mass. And sound itself is local, and a short clip near to itself: compare with the uniform
map and the one that is even over the audio, and mask attention
(`wspy analyze window`) to learn what the model needs.

Example: `wspy analyze rollout speech.wav`, or `wspy.analyze("rollout", audio="speech.wav")`.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

import wspy
from wspy.fields import AudioInput, Count
from wspy_rollout.result import RolloutResult, Target


class Rollout(wspy.Analysis["Rollout.Inputs", RolloutResult]):
    """Relevance through the encoder, and from words back to frames."""

    api = 1
    name = "rollout"
    summary = "Which frames the encoder's outputs and the words draw on."

    class Inputs(wspy.Inputs):
        audio: AudioInput = Field(description="A recording of up to 30 s.")
        target: Target = Field(
            "encoder",
            description="encoder: the summed output of the encoder; word: the logits of one word or token (--word); "
            "words: every token of the transcript in turn, added up for each word, and their sum for the map.",
        )
        word: str | None = Field(
            None, description="With target word: a word of the transcript, or one of its tokens; case and marks aside."
        )
        occurrence: Count = Field(1, description="Which one, where the word occurs several times, counted from 1.")
        language: str | None = Field(
            None, description="Language of a multilingual model, as a code or an English name; found out if left out."
        )

    Result = RolloutResult

    def run(self, inputs: Rollout.Inputs, context: wspy.Context) -> RolloutResult:
        from wspy_rollout.run import run

        return run(context, inputs.audio, inputs.target, inputs.word, inputs.occurrence, inputs.language)

    def view(self, result: RolloutResult) -> list[wspy.Block]:
        from wspy_rollout.page import page

        return page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Rollout)
