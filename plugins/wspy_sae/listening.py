"""Which features of a dictionary fire in one's own recording, and when.

Question: what does a dictionary make of this very recording, moment by moment?

Formulas: with x the activations of the dictionary's site in a frame, f its features are

    f = active(W_enc' (x - b_dec) + b_enc)        x_hat = W_dec' f + b_dec

Features are ranked by how much of the reconstruction's coming and going is theirs: with w the length of a feature's row
of W_dec,

    strength = w^2 sum over frames of (f - mean of f)^2

as a share of the sum of all features' strengths. So a feature that is on all the time, whatever is said, ranks low.
Only frames of the recording count, never padding. FVU, the fraction of the variance that is not explained, says how
much of this recording the dictionary does not show at all (predicting the mean scores 1).

Labels come from an atlas of the features, where one has been built (`wspy atlas build --sites sae:NAME`): the phone
that is most common at the peaks of the feature's strongest clips in that corpus, and in how many of them it is.

Paper: Bricken et al. 2023, "Towards Monosemanticity" (features as what fires, and where). Mozilla's FREUD has shown
features of Whisper along a recording.

How it can mislead: the strongest features are not the only ones; the table says how many others fired. A label is what
a feature answered to elsewhere, mostly in other voices; listen whether it holds here. Random directions fire on real
speech in long, plausible stretches, too: `wspy sae random --like NAME` makes a dictionary of them, to be looked at in
the same way. A feature in a later layer may answer a frame or two after its sound.

Example: `wspy analyze features recording.wav --sae demo`, or
`wspy.analyze("features", audio="recording.wav", sae="demo")`.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import AudioInput, Count, Unit


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Span(_Part):
    """A word of the transcript."""

    start_s: float = Field(description="Start in seconds from the recording's start.")
    end_s: float = Field(description="End in seconds.")
    label: str = Field(description="The word, as Whisper writes it.")


class Label(_Part):
    """What a feature answered to in a corpus."""

    phone: str = Field(description="The most common phone at the peaks of its strongest clips.")
    count: int = Field(description="Those of its strongest clips with this phone at the peak.")
    of: int = Field(description="Strongest clips that have a phone at the peak.")
    density: float = Field(description="Share of the corpus' frames in which the feature fires.")

    @property
    def share(self) -> float:
        return self.count / self.of


class Fired(_Part):
    """One feature that fires in the recording."""

    feature: int = Field(description="Its number within the dictionary.")
    strength: float = Field(description="Share of the features' coming and going that is its own, 0 to 1.")
    peak: float = Field(description="Its highest activation here.")
    peak_s: float = Field(description="When that is, in seconds.")
    active: float = Field(description="Share of the recording's frames in which it fires.")
    start_s: float = Field(description="Start of the stretch around its peak, in seconds.")
    end_s: float = Field(description="End of that stretch.")
    word: str | None = Field(description="Whisper's word at the peak; null where it writes none.")
    label: Label | None = Field(description="What it answered to in the atlas' corpus; null without an atlas.")
    audio: wspy.Media = Field(description="The stretch around its peak, a tenth of a second more on either side.")


class Features(wspy.Analysis["Features.Inputs", "Features.Result"]):
    """The features that fire in a recording, over time, with the sound of each."""

    api = 1
    name = "features"
    summary = "Which features of a sparse dictionary fire in your recording, and when."

    class Inputs(wspy.Inputs):
        audio: AudioInput = Field(description="A recording of up to 30 s.")
        sae: str = Field(description="The dictionary: a name that `wspy sae list` lists.")
        top: Count = Field(16, le=60, description="How many of the strongest features to show, 1 to 60.")
        only: list[Unit] = Field([], description="Show these features instead of the strongest ones.")

    class Result(wspy.Result):
        sae: str = Field(description="The dictionary.")
        site: str = Field(description="Module path of its activations.")
        model: str = Field(description="Name of the model.")
        d_sae: int = Field(description="Features of the dictionary.")
        name: str = Field(description="The recording's file name.")
        duration_s: float = Field(description="Its length in seconds.")
        n_frames: int = Field(description="Its frames of 20 ms.")
        text: str = Field(description="What Whisper writes for it.")
        words: tuple[Span, ...] = Field(description="Its words and their times.")
        fvu: float | None = Field(description="Fraction of variance unexplained here; null where nothing varies.")
        l0: float = Field(description="Features that fire in a frame, on average.")
        n_fired: int = Field(description="Features that fire in any frame.")
        labels_from: str | None = Field(description="Corpus of the atlas that labels come from; null for none.")
        features: tuple[Fired, ...] = Field(description="The strongest first, or those that were asked for.")
        audio: wspy.Media = Field(description="The recording.")
        arrays: wspy.Media = Field(
            description="`features` (those numbers), `activations` (feature x frame of the same), `mel`."
        )

    def run(self, inputs: Features.Inputs, context: wspy.Context) -> Features.Result:
        from wspy_sae.hearing import hear_recording

        return hear_recording(inputs, context)

    def view(self, result: Features.Result) -> list[wspy.Block]:
        from wspy_sae.listening_page import page

        return page(result)
