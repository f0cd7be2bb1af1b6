"""What the transcript becomes when a feature is scaled, clamped or removed, or any direction is added.

Question: does the model use this feature, and for what? What does it write when there is more of it, none of it, or the
opposite of it?

Formulas: x are the activations of a site in a frame, v how much of the handle is in them, d what one unit of it adds:

    handle                            v                             d
    a feature of a dictionary         f, as the dictionary encodes  its row of W_dec
    a unit of a site                  the unit's activation         that unit alone
    a direction (of length 1)         x . d                         the direction

    scale    x' = x + (factor - 1) v d                factor 0 removes it, 1 leaves x exactly as it is, -1 turns it
    clamp    x' = x + (factor peak - v) d             peak: the highest v of all frames that are heard
    add      x' = x + factor size d / |d|             size: root of the mean of |x - mean x|^2 over these frames

x' is x with something added, never the dictionary's reconstruction: what the dictionary does not explain (the error
term) stays. Every frame of the recording is changed, padding stays, and the rest of the model goes on from there.

A direction is said in words, terms at length 1 with a weight before them if you like: `sae:demo:3 - 0.5 * sae:demo:8`
(what features add), `encoder.blocks.2:17` (a unit), `encoder.blocks.2.mlp.1:3` (what a neuron adds to the residual
stream), `phone:S - phone:Z` (means of the site's activations at these phones in the corpus, less the mean of all
frames; the site is `--site`), `random:1`.

Controls change every frame by exactly as much as the handle does: |x' - x| is the same, only along a random direction,
and for a feature also along what another feature of the dictionary, drawn at random, would add. `size` says how large
the change is, as a share of how far activations lie from their mean. WER is against the untouched transcript (words
replaced, added or missing over its words), and where the corpus has texts also against these.

Papers: Turner et al. 2023 (activation addition), Templeton et al. 2024 (clamping features), Aparin et al. 2026 and
AudioSAE 2026 (steering Whisper's features). Mozilla's FREUD scaled features of Whisper by a factor.

How it can mislead: a large enough change of any kind ruins the transcript, so look for factors where the handle changes
words and the controls of the same size do not. A feature that does not fire cannot be scaled. What one feature did,
others may do in its place. Far beyond factors that occur, the model is where it has never been. One changed word is an
anecdote: repeat it over a corpus.

Example: `wspy analyze steer recording.wav --sae demo --idx 3 --factor -1,0,2`, or
`wspy.analyze("steer", audio="recording.wav", sae="demo", idx=3)`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import AudioInput, Count, SiteName, Unit

Factor = Annotated[float, Field(ge=-1000, le=1000)]
Mode = Literal["scale", "clamp", "add"]
By = Literal["handle", "random direction", "random feature"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Changed(_Part):
    """A passage that is written otherwise."""

    before: str = Field(description="Words of the untouched transcript; empty where words were added.")
    after: str = Field(description="What stands there now; empty where words are missing.")
    count: int = Field(description="How often, over all clips.")


class Steered(_Part):
    """What one factor does, of the handle or of a control."""

    factor: float = Field(description="See the mode.")
    by: By = Field(description="handle: what was asked for; the others are controls of the same size.")
    which: int | None = Field(description="For a random feature its number, for a random direction the how manyth.")
    size: float = Field(description="Root mean square of the change, over that of activations around their mean.")
    wer: float | None = Field(description="Word error rate against the untouched transcripts; null without words.")
    wer_low: float | None = Field(description="Lower end of its 95 % bootstrap interval; null for one clip.")
    wer_high: float | None = Field(description="Upper end of it.")
    text_wer: float | None = Field(description="Word error rate against the corpus' texts; null without texts.")
    substituted: int = Field(description="Words replaced, against the untouched transcripts.")
    inserted: int = Field(description="Words added.")
    deleted: int = Field(description="Words missing.")
    changed: float = Field(description="Share of clips with any word error.")
    words: tuple[Changed, ...] = Field(description="Passages that changed, most frequent first.")
    texts: tuple[str, ...] = Field(description="What was written, clip by clip.")


class HeardClip(_Part):
    """A clip before anything was changed."""

    clip: str = Field(description="Id of the clip in the corpus, or the file's name.")
    language: str = Field(description="Whisper's code of the language that all its transcripts are in.")
    said: str | None = Field(description="The corpus' own text; null where unknown.")
    text: str = Field(description="The untouched transcript.")
    active: float = Field(description="Share of its frames in which the handle is above zero.")


class Steer(wspy.Analysis["Steer.Inputs", "Steer.Result"]):
    """A feature, a unit or a direction changed by a range of factors, next to random changes of the same size."""

    api = 1
    name = "steer"
    summary = "What is written when a feature or direction is scaled, clamped, removed or added."

    class Inputs(wspy.Inputs):
        audio: AudioInput | None = Field(
            None, description="A recording of up to 30 s; without it, clips of the corpus are heard."
        )
        sae: str | None = Field(None, description="A dictionary, of which --idx is a feature.")
        idx: Unit | None = Field(None, description="Feature of the dictionary, or unit of --site, counted from 0.")
        site: SiteName | None = Field(None, description="A site of the encoder, of which --idx is a unit.")
        direction: str | None = Field(
            None, description="Instead: a direction in words, as `sae:demo:3 - sae:demo:8` or `phone:S - phone:Z`."
        )
        mode: Literal["scale", "clamp", "add"] | None = Field(
            None, description="How it is changed. If left out: scale; for --direction add."
        )
        factor: list[Factor] = Field(
            [-2.0, -1.0, 0.0, 1.0, 2.0, 4.0],
            min_length=1,
            max_length=40,
            description="By how much. scale: 0 removes, 1 leaves as it is; clamp: in peaks; add: in the site's size.",
        )
        controls: int = Field(2, ge=0, le=20, description="Random directions (and features) to compare with.")
        limit: Count = Field(24, description="Clips of the corpus to hear, spread evenly over it.")

    class Result(wspy.Result):
        handle: str = Field(description="What was changed.")
        site: str = Field(description="Module path of the activations that were changed.")
        mode: Mode = Field(description="How.")
        model: str = Field(description="Name of the model.")
        corpus: str | None = Field(description="Name of the corpus; null for a recording.")
        n_frames: int = Field(description="Frames of 20 ms that were changed; no padding.")
        n_words: int = Field(description="Words of the untouched transcripts, normalized.")
        active: float = Field(description="Share of these frames in which the handle is above zero.")
        peak: float = Field(description="The handle's highest value in them.")
        site_size: float = Field(description="Root of the mean squared distance of activations from their mean.")
        text_wer: float | None = Field(description="WER of the untouched transcripts to the corpus' texts.")
        clips: tuple[HeardClip, ...] = Field(description="What was heard.")
        steered: tuple[Steered, ...] = Field(description="By factor; the handle first, then its controls.")
        audio: wspy.Media | None = Field(description="The recording; null for a corpus.")

    def run(self, inputs: Steer.Inputs, context: wspy.Context) -> Steer.Result:
        from wspy_sae.steered import steer

        return steer(inputs, context)

    def view(self, result: Steer.Result) -> list[wspy.Block]:
        from wspy_sae.steering_page import page

        return page(result)
