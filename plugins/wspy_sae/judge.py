"""How good a dictionary is: what it reconstructs, what that costs the transcript, and what its features tell.

Questions: how much of a site's activations does a dictionary explain, with how many features at a time? Does the model
still write the same when the site is replaced by the reconstruction? Do features tell phones better than neurons of the
same layer, or than random directions? Would another seed have found the same features?

Formulas, with x the activations of frames, x_hat their reconstruction, x_mean the mean over all frames:

    FVU = sum |x - x_hat|^2 / sum |x - x_mean|^2        0 is perfect; predicting the mean scores exactly 1
    loss recovered = (CE_ablated - CE_dictionary) / (CE_ablated - CE_clean)

CE is the cross-entropy of the clip's own text in nats per token, read by the decoder in one pass (teacher forcing).
The ablations replace the site by zero or by x_mean. Only frames of the clip are replaced; padding stays as the model
computes it. The word error rate (WER) is that of free transcripts. A feature is stable if the other dictionary has one
whose row of the decoder has a cosine above 0.7 with its own.

Frames are those of clips that training has not heard, where the corpus is the one that it was trained on. The control
is a dictionary of random directions whose features fire as often as the dictionary's own.

How it can mislead: FVU is dominated by the directions with the most variance, and the transcript may hang on others.
CE forgives more than free transcription, since the decoder is told the words so far. Zero is a value that the model
may never see, so recovering loss from it is easy; the mean is the harder one. A corpus of one voice makes every number
too good. AUROC counts ties one half, so a feature that is silent in most frames of its phone stays near 0.5 however
clear it is when it fires; average precision does not have this flaw. Random directions can tell phones too: compare
with them, not with zero.

Papers: Gao et al. 2024 (loss recovered, dead features), Rajamanoharan et al. 2024 (bias), Paulo and Belrose 2025
(stability).

Example: `wspy analyze sae-eval --sae demo` (or `wspy sae eval --sae demo`), or `wspy.analyze("sae-eval", sae="demo")`.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

import wspy
from wspy.fields import Count


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quality(_Part):
    """What a dictionary reconstructs."""

    name: str = Field(description="The dictionary, or `random directions`.")
    fvu: float = Field(description="Fraction of variance unexplained; predicting the mean scores 1.")
    l0: float = Field(description="Active features per frame.")
    l1: float = Field(description="Sum of a frame's features.")
    cosine: float = Field(description="Between input and reconstruction, mean over frames.")
    l2_ratio: float = Field(description="Length of the reconstruction over that of the input, mean over frames.")
    bias: float = Field(description="Relative reconstruction bias: below 1, reconstructions are too short.")
    dead: float = Field(description="Share of the features that fire in none of the frames.")
    densities: tuple[int, ...] = Field(description="Features that never fire, then per bin of `density_edges`.")


class Replaced(_Part):
    """What the model makes of a site that is replaced."""

    by: str = Field(description="nothing, the dictionary, random directions, the mean or zero.")
    cross_entropy: float = Field(description="Of the clips' texts, in nats per token.")
    recovered_zero: float | None = Field(description="Share of the loss of zero ablation that is saved; 1 is all.")
    recovered_mean: float | None = Field(description="The same of mean ablation; null where that costs nothing.")
    wer: float | None = Field(description="Word error rate of free transcripts, 1 is 100 %.")
    wer_low: float | None = Field(description="Lower end of its 95 % bootstrap interval over clips.")
    wer_high: float | None = Field(description="Upper end of it.")


class PhoneRow(_Part):
    """How many units of one kind tell a phone."""

    units: str = Field(description="features, random directions, or the site of the neurons.")
    n_units: int = Field(description="How many there are.")
    n_live: int = Field(description="Those that are not the same in all frames.")
    n_labelled: int = Field(description="Live ones whose AUROC beats that of shuffled labels.")
    n_precise: int = Field(description="Live ones with an average precision of at least one half.")
    median_auroc: float = Field(description="Over live units, of each one's best phone.")
    median_precision: float = Field(description="Average precision for that phone, median over live units.")
    n_phones: int = Field(description="Different phones among the labelled.")


class Stability(_Part):
    """How many features another dictionary has, too."""

    against: str = Field(description="The other dictionary.")
    n_features: int = Field(description="Features of this one that fire.")
    share: float = Field(description="Share of them with a partner of cosine above the limit.")
    share_random: float = Field(description="The same for random directions instead of this dictionary's.")
    limit: float = Field(description="That cosine.")
    median_cosine: float = Field(description="Of each feature with its best partner.")
    histogram: tuple[int, ...] = Field(description="Features per tenth of the cosine, from 0 to 1.")


class SaeEval(wspy.Analysis["SaeEval.Inputs", "SaeEval.Result"]):
    """Reconstruction, downstream cost, phones and stability of one dictionary, with its controls."""

    api = 1
    name = "sae-eval"
    summary = "How good a sparse dictionary is: reconstruction, transcripts, phones, stability."

    class Inputs(wspy.Inputs):
        sae: str = Field(description="The dictionary: a name that `wspy sae list` lists.")
        clips: Count = Field(40, description="At most so many clips are read and transcribed, drawn at random.")
        against: str | None = Field(None, description="Another dictionary to find partners in, as of another seed.")
        phones: bool = Field(True, description="Also label features, random directions and neurons by phones.")

    class Result(wspy.Result):
        sae: str = Field(description="The dictionary.")
        site: str = Field(description="Module path of its activations.")
        trained_as: str = Field(description="How it was trained.")
        d_sae: int = Field(description="Its features.")
        model: str = Field(description="Name of the model.")
        corpus: str = Field(description="Name of the corpus.")
        held_out: bool = Field(description="Whether the clips are those of its own corpus that training has not heard.")
        n_clips: int = Field(description="Clips whose frames were reconstructed.")
        n_frames: int = Field(description="Frames in them.")
        n_read: int = Field(description="Clips that were read and transcribed.")
        n_own_text: int = Field(description="Those without a text: compared with what the untouched model writes.")
        density_edges: tuple[float, ...] = Field(description="Decimal logarithms of shares of the frames.")
        quality: tuple[Quality, ...] = Field(description="Of the dictionary, then of random directions.")
        replaced: tuple[Replaced, ...] = Field(description="By nothing, the dictionary, random directions, mean, zero.")
        phones: tuple[PhoneRow, ...] = Field(description="Empty where they were not wanted, or the corpus has none.")
        stability: Stability | None = Field(description="Null where no other dictionary was named.")

    def run(self, inputs: SaeEval.Inputs, context: wspy.Context) -> SaeEval.Result:
        from wspy_sae.judging import judge

        return judge(inputs, context)

    def view(self, result: SaeEval.Result) -> list[wspy.Block]:
        from wspy_sae.judge_page import page

        return page(result)
