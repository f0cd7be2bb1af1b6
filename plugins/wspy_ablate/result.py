"""What an ablation did: losses, transcripts, and the same for random neurons."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Change(_Part):
    """A change of the loss, with its 95 % interval (bootstrap over clips)."""

    value: float = Field(description="Nats per token, ablated minus clean; above zero, the ablation does harm.")
    low: float = Field(description="Lower end, nats per token.")
    high: float = Field(description="Upper end, nats per token.")


class Effect(_Part):
    """What the ablation of one neuron changes."""

    idx: int = Field(description="Neuron within the layer.")
    role: Literal["unit", "control"] = Field(description="unit: the neuron in question; control: a random one.")
    value: float = Field(description="What replaced its activation in every frame.")
    removed: float = Field(
        description="Size of what this takes from the residual stream, over the size of the stream after the block "
        "(root of the mean square over the clips' frames), 0 to 1."
    )
    overall: Change = Field(description="Over all tokens of the texts, punctuation and end included.")
    with_phone: Change | None = Field(description="Over words with the phone; null without a phone.")
    without_phone: Change | None = Field(description="Over words without it; null without a phone.")
    difference: Change | None = Field(description="`with_phone` minus `without_phone`; null without a phone.")
    n_changed: int = Field(description="Transcripts in which a word differs from the clean model's.")
    wer: float | None = Field(description="Word error rate against the texts, 1 is 100 %; null without texts.")
    drift: float | None = Field(description="Word error rate against the clean model's transcripts; null for none.")


class WordChange(_Part):
    """A word of a clip and what the ablation does to it."""

    word: str = Field(description="As in the clip's text.")
    has_phone: bool | None = Field(description="Whether it contains the phone; null where that is unknown.")
    change: float = Field(description="Change of its loss, nats per token.")
    clip: str = Field(description="Id of the clip.")


class ChangedTranscript(_Part):
    """A clip that is written otherwise without the neuron."""

    clip: str = Field(description="Id of the clip.")
    text: str | None = Field(description="What is said, where known.")
    clean: str = Field(description="What the model writes.")
    ablated: str = Field(description="What it writes without the neuron.")
    marked: str = Field(description="The ablated transcript, with [was → is] at each word that changed.")


class AblateResult(wspy.Result):
    """What is lost when one neuron is switched off."""

    site: str = Field(description="Module path of the layer's neurons.")
    idx: int = Field(description="Neuron within the layer.")
    model: str = Field(description="Name of the model.")
    corpus: str = Field(description="Name of the corpus.")
    mode: Literal["zero", "mean"] = Field(description="What replaced the activation.")
    phone: str | None = Field(description="Whose words are compared with the others; null: none.")
    phone_from: Literal["input", "label", "peaks", "none"] = Field(
        description="input: asked for; label: the neuron's label; peaks: it has no label, and this phone is the most "
        "common at its highest peaks; none: the corpus has no phones, or the neuron answers to silence."
    )
    phone_auroc: float | None = Field(
        description="For a label, how well the activation tells the phone from the rest: 0.5 is chance, 1 is perfect."
    )
    n_clips: int = Field(description="Clips that were read.")
    n_own_text: int = Field(description="Those among them without a text: the model's own transcript stood in for it.")
    n_words_with: int = Field(description="Words with the phone.")
    n_words_without: int = Field(description="Words without it.")
    n_words_unplaced: int = Field(description="Words that could not be found in the alignment: in neither group.")
    n_tokens: int = Field(description="Tokens of all texts, punctuation and end included.")
    loss: float = Field(description="Loss of the clean model over these tokens, nats per token.")
    loss_with: float | None = Field(description="Over words with the phone, nats per token; null without a phone.")
    loss_without: float | None = Field(description="Over words without it, nats per token; null without a phone.")
    n_transcribed: int = Field(description="Clips that were also transcribed.")
    wer: float | None = Field(description="Word error rate of the clean model against the texts, 1 is 100 %.")
    effects: tuple[Effect, ...] = Field(description="The neuron in question first, then the controls.")
    words: tuple[WordChange, ...] = Field(description="The ten words whose loss the neuron's ablation raises most.")
    eased: tuple[WordChange, ...] = Field(description="The ten words whose loss it lowers most.")
    transcripts: tuple[ChangedTranscript, ...] = Field(description="Those that the neuron's ablation changes.")
