"""Cutting a word out of the encoder's output, and reading what is left.

Question: how local is a word? Does the transcript lose exactly that word whose frames are taken away?

Method: frames [start, stop) of the encoder's output (`encoder.ln_post`, what the decoder attends to) are replaced by
the same frames of pure padding, the encoder's output for 30 seconds of silence, and the decoder transcribes the rest
(section 2.3 of the post). The encoder does not run again: neighbours keep what they know of the word. A word is where
openai-whisper's own cross-attention timing puts it in the transcript before the cut. Words before and after are told
apart by alignment (jiwer), without case and punctuation: kept, removed, changed, invented. Without a recording, one
word of each of some clips of the corpus is cut with several margins and widths, and each cut is repeated with the same
number of frames at a random place of the clip: what a cut that knows nothing of words would do.

How it can mislead: the timing is off by a tenth of a second and more, so a cut may miss its word or take its neighbour
along; the rates over margins show how much of that is in the number. Padding is not "nothing": it is what Whisper sees
after the end of speech, and a long stretch of it may end the transcript. A word that stays may have been guessed from
its neighbours, by the decoder's knowledge of language rather than by sound.

Example: `wspy analyze chop speech.wav --word questions`, `wspy analyze chop` over the corpus, or
`wspy.analyze("chop", audio="speech.wav", word="questions")`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import AudioInput, Count, Frame, Seconds

Filling = Literal["padding", "mean", "noise", "linear"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Span(_Part):
    """A stretch of frames, and what stands there."""

    start: int = Field(description="First frame.")
    stop: int = Field(description="The frame after the last.")
    start_s: float = Field(description="Start in seconds.")
    end_s: float = Field(description="End in seconds.")
    label: str = Field(description="The word, or the frames.")


class Pair(_Part):
    """A place in the alignment of the transcripts before and after."""

    before: str = Field(description="The word before the cut; empty where one was invented.")
    after: str = Field(description="The word after the cut; empty where it was removed.")
    outcome: Literal["kept", "removed", "changed", "invented"] = Field(description="What became of it.")


class Cut(_Part):
    """One cut with one filling, and what it did to the transcript."""

    label: str = Field(description="What was cut.")
    filling: Filling = Field(description="What was put in its place.")
    spans: tuple[Span, ...] = Field(description="The stretches that were replaced.")
    text: str = Field(description="The transcript after the cut.")
    pairs: tuple[Pair, ...] = Field(description="The words before and after, aligned.")
    exact: bool | None = Field(description="Whether the cut words disappeared and nothing else; None: cut by frames.")


class Recording(_Part):
    """What cutting did in one recording."""

    name: str = Field(description="Name of the file.")
    duration_s: float = Field(description="Length in seconds.")
    language: str = Field(description="Code of the language.")
    text: str = Field(description="The transcript before any cut.")
    words: tuple[Span, ...] = Field(description="Its words, where the cross-attention timing puts them.")
    cuts: tuple[Cut, ...] = Field(description="One for each cut and filling.")
    audio: wspy.Media = Field(description="The recording as WAV.")
    picture: wspy.Media = Field(description=".npz with `mel`, the log-mel spectrogram, bands by frames of 10 ms.")


class Rate(_Part):
    """How often cuts of one kind did what, over the clips, with 95 % intervals (Wilson)."""

    filling: Filling = Field(description="What was put in place of the frames.")
    by: Literal["margin", "width"] = Field(
        description="margin: the word's own length and so much on either side; width: so much around its middle."
    )
    amount_s: float = Field(description="The margin or the width, in seconds.")
    placed: Literal["word", "random"] = Field(description="word: on the word; random: as many frames, anywhere.")
    width_s: float = Field(description="Mean length of the cuts, in seconds.")
    n: int = Field(description="How many clips, one cut in each.")
    exact: float = Field(description="Share of cuts after which the target word is gone and every other word stays.")
    low: float = Field(description="Lower end of the interval of `exact`.")
    high: float = Field(description="Upper end of the interval of `exact`.")
    gone: float = Field(description="Share of cuts after which the target word is removed or changed.")
    gone_low: float = Field(description="Lower end of the interval of `gone`.")
    gone_high: float = Field(description="Upper end of the interval of `gone`.")
    others: float = Field(description="Share of cuts after which all other words stay, and none is added.")
    unchanged: float = Field(description="Share of cuts after which every word stays.")


class Case(_Part):
    """The cut of one clip, on the word and without a margin, by the first filling."""

    clip: str = Field(description="Id of the clip.")
    word: str = Field(description="The target, as the model wrote it.")
    start_s: float = Field(description="Start of the cut, in seconds.")
    end_s: float = Field(description="End of the cut, in seconds.")
    before: str = Field(description="The transcript before.")
    after: str = Field(description="The transcript after, up to twice the length of the longest before.")
    exact: bool = Field(description="Whether the target is gone and every other word stays.")


class Locality(_Part):
    """How local words are, over a corpus."""

    corpus: str = Field(description="Name of the corpus.")
    n_clips: int = Field(description="Clips in which a word was cut.")
    n_silent: int = Field(description="Clips that were drawn and left out: no word written, or none as aligned.")
    timing: str = Field(description="Where the words are, by cross-attention or by the corpus' alignment.")
    rates: tuple[Rate, ...] = Field(description="For each filling, margin or width, and placement.")
    cases: tuple[Case, ...] = Field(description="The clips one by one.")


class Chop(wspy.Analysis["Chop.Inputs", "Chop.Result"]):
    """Replace a stretch of the encoder's output by padding, and compare the transcripts."""

    api = 1
    name = "chop"
    summary = "Cut words out of what the decoder hears, and read what is left."

    class Inputs(wspy.Inputs):
        audio: AudioInput | None = Field(
            None, description="A recording of up to 30 s; without it, clips of the corpus are cut to measure locality."
        )
        start: Frame | None = Field(None, description="First frame to replace.")
        stop: Frame | None = Field(None, description="The frame after the last to replace.")
        start_s: Seconds | None = Field(None, le=30, description="The same in seconds: where the cut starts.")
        stop_s: Seconds | None = Field(None, le=30, description="The same in seconds: where the cut stops.")
        word: str | None = Field(
            None, description="Word or words to cut, wherever they are heard; with no cut given, each word in turn."
        )
        occurrence: Count | None = Field(None, description="Which of several, counted from 1; all if left out.")
        margin_s: Seconds = Field(0.0, le=30, description="Seconds to cut on either side of a word, too.")
        filling: Literal["padding", "mean", "noise", "linear", "all"] = Field(
            "padding",
            description="padding: of a silent window; mean: the clip's mean frame; noise: Gaussian of the clip's mean "
            "and spread in each dimension; linear: a line between the neighbours; all: each of them.",
        )
        language: str | None = Field(None, description="Code or English name; found out if left out.")
        clips: Count = Field(24, le=5000, description="Without a recording: how many clips of the corpus, at random.")
        timing: Literal["attention", "alignment"] = Field(
            "attention",
            description="Without a recording: where words are, by cross-attention or by the corpus' alignment.",
        )

    class Result(wspy.Result):
        model: str = Field(description="Name of the model.")
        recording: Recording | None = Field(description="What cutting did in the recording; None over a corpus.")
        locality: Locality | None = Field(description="What cutting did over the corpus; None for a recording.")

    def run(self, inputs: Chop.Inputs, context: wspy.Context) -> Chop.Result:
        from wspy_chop.locality import measure
        from wspy_chop.recording import cut_recording

        if inputs.audio is None:
            return Chop.Result(model=context.model.name, recording=None, locality=measure(inputs, context))
        return Chop.Result(model=context.model.name, recording=cut_recording(inputs, context), locality=None)

    def view(self, result: Chop.Result) -> list[wspy.Block]:
        from wspy_chop.page import page

        return page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Chop)
