"""What the rollout analysis finds."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy

Target = Literal["encoder", "word", "words"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reach(_Part):
    """How much of what the frames of the audio draw on lies near to them."""

    frames: int = Field(description="At most this many frames of 20 ms away.")
    relevance: float | None = Field(description="Share of the relevance map's mass; null where the map is empty.")
    rollout: float | None = Field(description="Share of the plain rollout's mass.")
    uniform: float = Field(description="The control: the share in a map that is the same everywhere.")
    even: float | None = Field(
        None,
        description="A stricter control: the share in a map that is the same over the audio's frames, and zero beyond; "
        "null in runs that were made before there was one.",
    )


class Ending(_Part):
    """How much of what the frames after the audio draw on lies in one second before an end."""

    of: Literal["audio", "speech"] = Field(
        description="audio: the last second of the audio; speech: the second before the last word's end."
    )
    start_s: float = Field(description="Start of that second, in seconds.")
    end_s: float = Field(description="Its end, in seconds.")
    relevance: float | None = Field(description="Share of the relevance map's mass; null where the map is empty.")
    rollout: float | None = Field(description="Share of the plain rollout's mass.")
    uniform: float = Field(description="The control: the share in a map that is the same everywhere.")


class WordTime(_Part):
    """A word of the transcript."""

    label: str = Field(description="The word as the model wrote it, with its punctuation.")
    start_s: float = Field(description="Start by the model's own timing, in seconds from the clip's start.")
    end_s: float = Field(description="End by the model's own timing, in seconds.")


class WordRelevance(_Part):
    """Which frames a word came from."""

    word: WordTime = Field(description="The word, and when the model itself says it is heard.")
    tokens: tuple[str, ...] = Field(description="The tokens that were explained, as written.")
    peak_s: float | None = Field(description="Start of the audio's most relevant frame; null for no relevance at all.")
    half_from_s: float | None = Field(description="Start of the shortest stretch with half of the audio's relevance.")
    half_to_s: float | None = Field(description="End of that stretch, in seconds.")
    inside: float | None = Field(
        description="Share of the audio's relevance that lies in the word's own time, 0.2 s more on either side."
    )
    chance: float = Field(description="That stretch's share of the audio: what relevance spread evenly would give.")
    others: float | None = Field(
        description="Mean share of the other words' relevance in that stretch; null where no other word was explained."
    )
    padding: float | None = Field(description="Share of all relevance that lies after the audio's end.")


class RolloutResult(wspy.Result):
    """How relevance moves between the frames, and from the frames to the words."""

    model: str = Field(description="Name of the model.")
    audio: str = Field(description="Name of the file.")
    target: Target = Field(description="What was explained.")
    duration_s: float = Field(description="Length of the audio, in seconds.")
    end_frame: int = Field(description="First frame after the audio, counted from 0; 1500 for a full window.")
    text: str = Field(description="What the model wrote, up to the audio's end.")
    words: tuple[WordTime, ...] = Field(description="Its words, in order.")
    no_speech_prob: float = Field(description="The model's own probability that nobody speaks.")
    avg_logprob: float = Field(description="Mean natural logarithm of the probability of what it wrote, per token.")
    doubtful: str = Field(description="Why the text may be made up; empty where nothing says so.")
    reach: tuple[Reach, ...] = Field(description="Over the frames of the audio, for each distance.")
    to_padding: float | None = Field(
        None,
        description="Share of what the audio's frames draw on that lies in the padding; null where the map is empty.",
    )
    endings: tuple[Ending, ...] = Field(description="Over the frames after the audio; none for a full window.")
    explained: tuple[WordRelevance, ...] = Field(description="One for each word that was explained, in order.")
    sound: wspy.Media = Field(description="The audio at 16 kHz.")
    arrays: wspy.Media = Field(
        description="`map`: the relevance map [query, key] without the identity; `rollout`: the plain one likewise, in "
        "half precision; `tokens`: [explained token, frame], word after word; `words`: their sums, [explained word, "
        "frame]; `mel`: log-mel spectrogram [band, mel frame of 10 ms]."
    )
