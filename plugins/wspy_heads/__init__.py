"""What every attention head does by itself.

Questions: how far does each encoder head look, and which of them does the transcript need for looking far? Which
decoder heads follow the audio word by word?

Method, encoder: over the valid frames of every clip, from the attention weights after the softmax: the mean distance
|i - j| between query and key, the entropy in bits, and the mass within k frames, each with the rows made to sum to
one over the clip's own frames; what was left out so is the share that goes to padding; and the share of the padding's
attention that goes to the clip. Then the causal test: this head alone is masked to k frames on either side (minus
infinity before the softmax, everything else untouched), and the transcripts are compared with the unmasked ones by
the word error rate, with a 95 % bootstrap interval over clips. A head is `harmless` where the upper end is at most
0.05, `needed` where the lower end is above that, else `undecided`. Harmless heads are at last masked all together,
and so are the others.

Method, decoder: the decoder reads the words of the alignment in one pass. Each cross-attention head is sharpened as
in openai-whisper's word timing (counted in standard deviations over the tokens, median over seven frames); its peak
for a word is a hit if it lies within the word, give or take the tolerance. The control asks whether it lies within
another word of the same clip. On every other clip heads are ranked by hits, and as many of the best are taken as give
the least error of the word boundaries by openai-whisper's own dynamic time warping; on the remaining clips that
choice is compared with the checkpoint's own heads. So `alignment_heads` can be had for any checkpoint.

How it can mislead: a head masked alone may be replaced by others that do the same, so harmless does not mean idle.
The mask hides padding too, and heads that store something there suffer for that, not for speech. With few clips the
interval is wide, and zero wide where nothing changed. Hits depend on how exact the alignment is: forced alignment
errs by 10 to 50 ms.

Example: `wspy analyze heads --limit 24`, or `wspy.analyze("heads", side="decoder")`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import Count, Head, Layer, Seconds

Effect = Literal["harmless", "needed", "undecided", "not tested"]
WITHIN = (5, 10, 25, 50, 100)
"""Frames on either side for which the mass is given."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mass(_Part):
    """How much of the attention stays near."""

    k: int = Field(description="Frames of 20 ms on either side.")
    share: float = Field(description="Mean share of a frame's attention to the clip that lies within them.")


class Reach(_Part):
    """How far attention goes, from the clip's frames to the clip's frames."""

    distance_frames: float = Field(description="Mean distance between query and key in frames of 20 ms.")
    distance_ms: float = Field(description="The same in milliseconds.")
    entropy_bits: float = Field(description="Mean entropy of a frame's attention in bits.")
    mass: tuple[Mass, ...] = Field(description="Share within some windows, the narrowest first.")
    to_padding: float = Field(description="Share of the clip's attention that goes to padding.")
    from_padding: float | None = Field(
        description="Share of the padding's attention on the clip; null without padding."
    )


class EncoderHead(_Part):
    """One head of the encoder's self-attention."""

    layer: int = Field(description="Encoder layer.")
    head: int = Field(description="Head within the layer.")
    reach: Reach = Field(description="How far it looks.")
    wer: float | None = Field(description="WER against unmasked, this head alone masked; null: not tested.")
    wer_low: float | None = Field(description="Lower end of its 95 % bootstrap interval.")
    wer_high: float | None = Field(description="Upper end of that interval.")
    changed: float | None = Field(description="Share of clips whose transcript has any word error.")
    effect: Effect = Field(description="What the interval says; see the method.")
    verdict: str = Field(description="Reach and effect in one line.")


class Together(_Part):
    """Several heads masked at once."""

    heads: tuple[tuple[int, int], ...] = Field(description="Layer and head of each.")
    name: str = Field(description="Which they are.")
    wer: float | None = Field(description="WER against the unmasked transcripts; null without words.")
    wer_low: float | None = Field(description="Lower end of its 95 % bootstrap interval.")
    wer_high: float | None = Field(description="Upper end of that interval.")


class Encoder(_Part):
    """The encoder's side."""

    k: int = Field(description="Window of the causal test: frames on either side.")
    n_words: int = Field(description="Words of the unmasked transcripts, normalized.")
    heads: tuple[EncoderHead, ...] = Field(description="Every head that was looked at, by layer and head.")
    uniform: Reach = Field(description="What a head that spreads evenly over all 1,500 frames would have.")
    together: tuple[Together, ...] = Field(description="Groups of heads masked at once; empty without causal test.")


class DecoderHead(_Part):
    """One head of the decoder's cross-attention, as an aligner."""

    layer: int = Field(description="Decoder layer.")
    head: int = Field(description="Head within the layer.")
    hits: float = Field(description="Share of words within which its attention peaks.")
    hits_low: float | None = Field(description="Lower end of the 95 % bootstrap interval over clips.")
    hits_high: float | None = Field(description="Upper end of that interval.")
    shuffled: float = Field(description="Control: the same for another word of the clip.")
    chosen: bool = Field(description="Among the alignment heads that were found here.")
    published: bool | None = Field(description="Among those that come with the checkpoint; null where none do.")


class Timing(_Part):
    """How well a set of heads times words, on clips that had no part in the choice."""

    name: str = Field(description="Which heads.")
    n_heads: int = Field(description="How many.")
    mean_ms: float = Field(description="Mean absolute error of word starts and ends in milliseconds.")
    median_ms: float = Field(description="Median of the same.")
    within_100_ms: float = Field(description="Share of starts and ends that are less than 100 ms off.")


class Decoder(_Part):
    """The decoder's side."""

    alignment: str = Field(description="Who timed the words of the corpus.")
    n_words: int = Field(description="Words that were looked for.")
    n_clips: int = Field(description="Clips with timed words.")
    tolerance_s: float = Field(description="How far outside the word a peak still counts, in seconds.")
    heads: tuple[DecoderHead, ...] = Field(description="Every head, by layer and head.")
    alignment_heads: tuple[tuple[int, int], ...] = Field(description="The heads found: layer and head of each.")
    dump: str = Field(description="The same as `Whisper.set_alignment_heads` takes it: base85 of gzipped booleans.")
    published: tuple[tuple[int, int], ...] | None = Field(description="The checkpoint's own; null where it has none.")
    shared: int | None = Field(description="Heads in both lists.")
    shared_by_chance: float | None = Field(description="Heads that lists of these lengths share by chance.")
    published_auroc: float | None = Field(
        None,
        description="Chance that a published head hits more words than one that is not; 0.5: hits tell nothing of it.",
    )
    timings: tuple[Timing, ...] = Field(description="Errors of the word boundaries, for several sets of heads.")
    held_out: bool = Field(description="Whether the errors are from clips that had no part in the choice.")


class Heads(wspy.Analysis["Heads.Inputs", "Heads.Result"]):
    """Reach, effect and alignment of attention heads."""

    api = 1
    name = "heads"
    summary = "How far every attention head looks, which are needed, and which follow the words."

    class Inputs(wspy.Inputs):
        side: Literal["encoder", "decoder", "both"] = Field(
            "both", description="Self-attention of the encoder, cross-attention of the decoder, or both."
        )
        k: Annotated[int, Field(ge=1, le=1500)] = Field(
            10, description="Window of the causal test: frames of 20 ms that the head may see on either side."
        )
        layers: list[Layer] = Field([], description="Encoder layers to look at; all if left out.")
        heads: list[Head] = Field([], description="Heads to look at in these layers; all if left out.")
        causal: bool = Field(True, description="Mask each encoder head by itself and transcribe: the slow part.")
        limit: Count = Field(24, description="Clips of the corpus to hear, spread evenly over it.")
        tolerance: Seconds = Field(0.05, description="How far outside a word, in seconds, a decoder head may peak.")

    class Result(wspy.Result):
        model: str = Field(description="Name of the model.")
        corpus: str = Field(description="Name of the corpus.")
        n_clips: int = Field(description="Clips that were heard.")
        encoder: Encoder | None = Field(description="Encoder heads; null where they were not asked for.")
        decoder: Decoder | None = Field(description="Decoder heads; null where not asked for, or no word has a time.")
        notes: tuple[str, ...] = Field(description="What to keep in mind about this run, one line each.")

    def run(self, inputs: Heads.Inputs, context: wspy.Context) -> Heads.Result:
        from wspy_heads.study import study

        return study(inputs, context)

    def view(self, result: Heads.Result) -> list[wspy.Block]:
        from wspy_heads.page import page

        return page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Heads)
