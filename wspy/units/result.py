"""What a unit of any site responds to: its examples as data, cut from a corpus."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from wspy.analysis import Media, Result

Sign = Literal["positive", "negative"]
SignChoice = Literal["positive", "negative", "both"]
"""What an analysis offers as its input `sign`."""
CHOSEN_SIGNS: dict[SignChoice, tuple[Sign, ...]] = {
    "positive": ("positive",),
    "negative": ("negative",),
    "both": ("positive", "negative"),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Span(_Part):
    """A labelled stretch of a clip."""

    start_s: float = Field(description="Start in seconds from the clip's start.")
    end_s: float = Field(description="End in seconds.")
    label: str = Field(description="Word or phone.")


class Example(_Part):
    """One clip that the unit responds to."""

    clip: str = Field(description="Id of the clip in the corpus.")
    activation: float = Field(description="Activation at the peak, in the site's own units.")
    peak_s: float = Field(
        description="Time of the peak in seconds: the centre of the frame, or when the token is heard."
    )
    word: str | None = Field(
        description="Word that is heard at the peak, the site's lag allowed for; null where nothing is aligned there."
    )
    phone: str | None = Field(description="Phone that is heard there; null where nothing is aligned.")
    speaker: str | None = Field(description="Speaker, where known.")
    text: str | None = Field(description="What is said in the clip, where known.")
    around: tuple[str, str, str] | None = Field(
        description="For tokens of text: the text before the word at the peak, the word in brackets, the text after it."
    )
    duration_s: float = Field(description="Length of the clip in seconds.")
    words: tuple[Span, ...] = Field(description="Words of the clip with their times.")
    phones: tuple[Span, ...] = Field(description="Phones of the clip with their times.")
    audio: Media = Field(description="The clip, the sound around the peak amplified, the rest quieter.")
    excerpt: Media = Field(description="The half second around the peak; for tokens of text, the word.")


class PhoneShare(_Part):
    """How often a phone is heard at the peaks of the top examples."""

    phone: str = Field(description="In the phone set of the corpus' alignment.")
    count: int = Field(description="Top examples with this phone at the peak.")
    share: float = Field(description="`count` over all top examples that have a phone.")
    low: float = Field(description="Lower end of the 95 % Wilson interval of the share.")
    high: float = Field(description="Upper end of the 95 % Wilson interval of the share.")
    base: float = Field(description="Share of the corpus' aligned time that is this phone: what chance would give.")


class Range(_Part):
    """Clips whose peak falls into one tenth of the way from zero to the highest peak."""

    low: float = Field(description="Lower end, as activation.")
    high: float = Field(description="Upper end, as activation.")
    examples: tuple[Example, ...] = Field(description="A sample of the clips that peak in the range.")


class RangeMix(_Part):
    """What is heard in the frames whose activation falls into one tenth of the way from zero to the extreme."""

    low: float = Field(description="Lower end, as activation.")
    high: float = Field(description="Upper end, as activation.")
    frames: float = Field(description="Frames in the range; a fraction where a histogram's bin straddles its end.")
    entropy_bits: float | None = Field(description="Entropy of the phones; 0 for a single one, null without frames.")
    shares: dict[str, float] = Field(
        description="Share of the frames per broad class of phones, or per phone where the alphabet has no classes."
    )


class SignResult(_Part):
    """What the unit responds to in one direction."""

    sign: Sign = Field(description="positive: the highest activations; negative: the lowest.")
    examples: tuple[Example, ...] = Field(description="Clips with the most extreme peaks, strongest first.")
    phones: tuple[PhoneShare, ...] = Field(description="Phones at the peaks of `examples`, most frequent first.")
    ranges: tuple[Range, ...] = Field(description="Examples from ten activation ranges, strongest range first.")
    mix: tuple[RangeMix, ...] = Field(
        description="What all frames of ten activation ranges hold, strongest range first; empty without phones."
    )
    takes_over: tuple[str, ...] = Field(
        description="Broad classes that lead in a lower range, other than the one that leads at the top."
    )
    bin_edges: tuple[float, ...] = Field(description="Edges of the histogram's bins, as magnitude of the peak.")
    bin_counts: tuple[int, ...] = Field(description="Clips that peak within each bin.")


class Neighbour(_Part):
    """Another unit of the same site that resembles this one."""

    unit: int = Field(description="Unit within the site.")
    similarity: float = Field(description="Cosine or correlation, -1 to 1.")


class TokenEffect(_Part):
    """What a decoder neuron does to the logit of one token."""

    token: str = Field(description="The token's text.")
    effect: float = Field(description="Direct effect, in standard deviations over all tokens of text.")


class UnitResult(Result):
    """What one unit responds to, with sound; analyses that show units extend it."""

    site: str = Field(description="Module path of the unit's site.")
    idx: int = Field(description="Unit within the site.")
    position: Literal["frame", "token"] = Field(description="What activations run over.")
    model: str = Field(description="Name of the model.")
    corpus: str = Field(description="Name of the corpus.")
    alignment: str | None = Field(description="Where words and phones come from; null without alignment.")
    n_clips: int = Field(description="Clips that were heard.")
    n_positions: int = Field(description="Frames of sound, or tokens of text, that were heard; no padding.")
    mean: float = Field(description="Mean activation over all frames or tokens.")
    std: float = Field(description="Standard deviation of the activation.")
    minimum: float = Field(description="Lowest activation.")
    maximum: float = Field(description="Highest activation.")
    density: float = Field(description="Share of frames or tokens with an activation above zero.")
    signs: tuple[SignResult, ...] = Field(description="One per direction that was asked for.")
    near_direction: tuple[Neighbour, ...] = Field(
        (), description="Units that write most alike into the residual stream, by cosine; empty where that is unknown."
    )
    near_phones: tuple[Neighbour, ...] = Field(
        (), description="Units whose mean activations at each phone correlate most (r); empty without phones."
    )
    promoted: tuple[TokenEffect, ...] = Field(
        (), description="Tokens whose logits a decoder neuron raises most, by what it writes; empty for other sites."
    )
    suppressed: tuple[TokenEffect, ...] = Field((), description="Tokens whose logits it lowers most.")
    pictures: Media = Field(description="Arrays by name of the audio: log-mel, activation, its times.")
