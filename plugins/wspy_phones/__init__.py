"""Which phone each unit of a site tells best from all other sounds, and how many of them beat chance.

Question: what would a table of labels say if all units were labelled by one rule, with what chance gives next to it?

Method: the atlas has, for every unit and phone, a histogram of activations at the site's best lag. From it follows the
AUROC: the chance that a random frame of the phone has a higher activation than a random frame of anything else (0.5
for a unit that does not care). The phone with the highest AUROC is chosen on one half of the speakers (or clips), and
AUROC, average precision and a 95 % bootstrap interval over speakers (or clips) are reported on the other half. Purity
is the share of the clips with the highest peaks that have the same phone at the peak: what a person hears who listens
to the top examples, as the post's author did (section 1.1). For a label by listening, the most common phone at the
peaks is chosen among the top clips of one half, and its share among those of the other half is reported.

Controls go through the same choices: the labels of each clip's phones shuffled, the same model with its weights
shuffled, and the 80 mel bands of the spectrogram as units. A unit counts as labelled if its AUROC, or its share of the
top clips, beats shuffled labels and shuffled weights; each of the two ways has half of the false discovery rate of 5 %
(Benjamini and Hochberg 1995), and silence is compared with silence, sounds with sounds. The second way is for units
that are almost always zero, as in the last layer and in dictionaries: AUROC counts ties half, so it stays near 0.5 for
them, however clear they are when they fire. Since there are only 80 bands, a false discovery rate says little about
them; so each unit also stands next to the one band that tells its phone best.

How it can mislead: AUROC looks at all frames, most of which lie in the flat tail below zero, so the label is often not
the phone at which the unit fires; `heard` counts where it is. A label is the best of about forty phones, not a
definition: units that answer to several sounds get one all the same (`wspy analyze neuron` shows the mix). A high AUROC
with a low average precision means that a rare phone is one of several that the unit likes. The alignment's errors
lower every number. With one speaker, the interval says nothing about other speakers.

Example: `wspy analyze phones --layer 2`, or `wspy.analyze("phones", layer=2)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import Count, Layer, SiteName

Evidence = Literal["all frames", "strongest clips", "both"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RangeSummary(_Part):
    """How mixed the frames of each activation range are."""

    n_units: int = Field(description="Units that are above zero at all.")
    entropy_bits: tuple[float | None, ...] = Field(
        description="Median entropy of the phones in each of ten ranges from a unit's maximum down to zero."
    )
    share_changing: float | None = Field(
        description="Share of the units in whose five upper ranges more than one class of phones leads."
    )


class LabelledUnit(_Part):
    """One unit and its label; numbers are of the half on which it was not chosen."""

    unit: int = Field(description="Unit within the site.")
    label: str | None = Field(description="Its phone, if it beats its controls at the false discovery rate, else null.")
    label_class: str | None = Field(description="Manner class of the label; null in alphabets other than ARPABET.")
    evidence: Evidence | None = Field(
        description="What the label rests on: AUROC over all frames, the clips with the "
        "highest peaks, or both (then it is the phone of AUROC)."
    )
    phone: str = Field(description="The phone that it tells best from the rest, by AUROC.")
    auroc: float = Field(description="Chance that a frame of the phone has a higher activation than any other frame.")
    low: float | None = Field(description="Lower end of the 95 % bootstrap interval of `auroc`; null with one group.")
    high: float | None = Field(description="Upper end of it.")
    average_precision: float = Field(description="Precision averaged over the phone's frames.")
    base_rate: float = Field(description="Share of frames with the phone: the average precision of chance.")
    count: int = Field(description="Frames of the phone.")
    own_lag_s: float = Field(
        description="From `label`, or without one from `phone`, to this unit's highest mean activation, in seconds; "
        "all other numbers are at the site's lag."
    )
    peak_phone: str | None = Field(
        description="The most common phone at the peaks of the top clips of the other half; "
        "null where either half has fewer than four."
    )
    peak_share: float = Field(description="Share of this half's top clips with it at the peak; 0 where it is null.")
    peak_count: int = Field(description="Top clips of this half.")
    purity: float | None = Field(description="Share of the top clips with the most common phone at the peak.")
    purity_phone: str | None = Field(description="That phone.")
    purity_count: int = Field(description="Top clips that have a phone at the peak.")
    p_shuffled_labels: float = Field(description="Share of units with shuffled labels with such an AUROC.")
    p_random_weights: float | None = Field(description="Share of units of the model with shuffled weights with such.")
    p_mel: float = Field(description="Share of mel bands with such an AUROC.")
    band_auroc: float = Field(description="AUROC of the mel band that tells `phone` best, by the same choice.")
    p_peaks_shuffled_labels: float = Field(description="Share of units with shuffled labels with such a peak share.")
    p_peaks_random_weights: float | None = Field(description="The same with shuffled weights.")
    p_peaks_mel: float = Field(description="The same of mel bands.")
    entropy_bits: tuple[float | None, ...] = Field(
        description="Entropy of the phones in each of ten ranges from the unit's maximum down to zero, strongest "
        "first; null without frames."
    )
    leading: tuple[str | None, ...] = Field(
        description="The class of phones that most frames of each of these ranges have; null without frames, and in "
        "alphabets other than ARPABET."
    )
    takes_over: tuple[str, ...] = Field(description="Classes that lead below the top and not at it.")


class Control(_Part):
    """What units without knowledge reach by the same choice."""

    name: str = Field(description="shuffled labels, shuffled weights or mel bands.")
    n_units: int = Field(description="How many units the control has.")
    median_auroc: float = Field(description="Median of their AUROC.")
    highest_auroc: float = Field(description="The highest of them.")
    n_peaking: int = Field(description="Units with enough strongest clips to compare by peaks.")
    median_peak_share: float = Field(description="Median over these of the share of the half that is reported.")
    median_purity: float | None = Field(description="Median purity of their top clips; null for shuffled labels.")
    share_pure: float | None = Field(description="Share of them with a purity of at least 60 %; null like it.")
    n_beaten: int = Field(description="Units of the site that beat this control at the false discovery rate.")
    ranges: RangeSummary | None = Field(description="How mixed their activation ranges are; null for shuffled labels.")


class SiteLabels(_Part):
    """The labels of one site."""

    site: str = Field(description="Module path.")
    speed: str = Field(description="How the atlas was made: exact or condensed.")
    lag_s: float = Field(description="From the sound to the activation, in seconds: the site's best lag.")
    own_lag_s: float | None = Field(description="Median over the labelled units of the lag of each; null without.")
    n_units: int = Field(description="Units of the site.")
    n_labelled: int = Field(description="Units that beat shuffled labels and, where heard, shuffled weights.")
    n_by_frames: int = Field(description="Those that do by AUROC over all frames.")
    n_by_peaks: int = Field(description="Those that do by the clips with the highest peaks.")
    n_heard: int = Field(description="Labelled units whose label is also the most common phone at their highest peaks.")
    n_above_bands: int = Field(
        description="Labelled units whose interval lies above the mel band that tells their phone best."
    )
    median_auroc: float = Field(description="Median over all units.")
    highest_auroc: float = Field(description="The highest of all units.")
    median_peak_share: float = Field(description="Median share of the top clips, on the half that is reported.")
    median_purity: float | None = Field(description="Median purity over all units.")
    share_pure: float | None = Field(description="Share of units with a purity of at least 60 %.")
    ranges: RangeSummary = Field(description="How mixed the activation ranges are.")
    controls: tuple[Control, ...] = Field(description="What chance gives.")
    best: tuple[LabelledUnit, ...] = Field(description="The clearest of the labelled units.")
    phones: dict[str, int] = Field(description="How many labelled units each phone has.")


class Phones(wspy.Analysis["Phones.Inputs", "Phones.Result"]):
    """Labels of all units of some sites, with their controls."""

    api = 1
    name = "phones"
    summary = "Which phone each unit tells best, for whole layers, with controls."

    class Inputs(wspy.Inputs):
        layer: Layer | None = Field(None, description="Block of the encoder whose neurons to label; all without it.")
        site: SiteName | None = Field(None, description="A site over frames to label instead of neurons.")
        top: Count = Field(25, le=25, description="Clips with the highest peaks that purity is measured on, 1 to 25.")
        fdr: float = Field(0.05, gt=0, lt=1, description="False discovery rate at which a unit counts as labelled.")
        random_weights: bool = Field(
            True, description="Also hear the model with shuffled weights, which takes a pass of its own."
        )

    class Result(wspy.Result):
        model: str = Field(description="Name of the model.")
        corpus: str = Field(description="Name of the corpus.")
        alignment: str = Field(description="Where the phones come from.")
        n_clips: int = Field(description="Clips that were heard.")
        n_frames: int = Field(description="Frames of 20 ms that were heard; no padding.")
        groups: str = Field(description="speakers or clips: what was split into halves and drawn for the intervals.")
        n_groups: int = Field(description="Groups of them in the half that is reported.")
        fdr: float = Field(description="False discovery rate.")
        sites: tuple[SiteLabels, ...] = Field(description="One per site.")
        labels: wspy.Media = Field(description="All units as CSV, one row each.")
        table: wspy.Media = Field(description="All labelled units as a Markdown table.")
        arrays: wspy.Media = Field(description="Per site the AUROC of all units and controls, for the figures.")

    def run(self, inputs: Phones.Inputs, context: wspy.Context) -> Phones.Result:
        from wspy_phones.labelling import label_sites

        return label_sites(inputs, context)

    def view(self, result: Phones.Result) -> list[wspy.Block]:
        from wspy_phones.page import page

        return page(result)


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Phones)
