"""What a person sees of a dictionary's quality: the verdict, then each question as a table and a picture."""

from __future__ import annotations

import wspy
from wspy.figures import histogram
from wspy_sae.judge import SaeEval


def page(result: SaeEval.Result) -> list[wspy.Block]:
    """Reconstruction, downstream, phones, stability."""
    blocks: list[wspy.Block] = [_summary(result), _quality(result), _replaced(result), _densities(result)]
    if result.phones:
        blocks.append(_phones(result))
    if result.stability is not None:
        blocks.append(_stability(result))
    return blocks


def _summary(result: SaeEval.Result) -> wspy.Text:
    own, random = result.quality
    heard = "clips that training has not heard" if result.held_out else "clips"
    replaced = {row.by: row for row in result.replaced}
    mine = replaced[result.sae]
    texts = f" {result.n_own_text} of them have no text: the model's own stands in for it." if result.n_own_text else ""
    stable = ""
    if result.stability is not None:
        stable = (
            f" {result.stability.share:.0%} of its features have a partner in `{result.stability.against}` with a "
            f"cosine above {result.stability.limit:g}."
        )
    return wspy.Text(
        markdown=f"# {result.sae} explains {1 - own.fvu:.1%} of {result.site} with {own.l0:.1f} features at a time\n\n"
        f"{result.d_sae:,} features, trained as {result.trained_as} on {result.model}; random directions that fire as "
        f"often explain {1 - random.fvu:.1%}. Measured on {result.n_frames:,} frames of {result.n_clips:,} {heard} of "
        f"corpus {result.corpus!r}.\n\n"
        f"With the site replaced, the loss of the clips' texts goes from "
        f"{replaced['nothing'].cross_entropy:.3f} to {mine.cross_entropy:.3f} nats per token"
        f"{_share(', which saves {} of what zero ablation costs', mine.recovered_zero)}"
        f"{_share(' and {} of what mean ablation costs', mine.recovered_mean)}; the word error rate from "
        f"{_percent(replaced['nothing'].wer)} to {_percent(mine.wer)}, on {result.n_read} clips.{texts}{stable}"
    )


def _share(text: str, share: float | None) -> str:
    return "" if share is None else text.format(f"{share:.1%}")


def _percent(value: float | None) -> str:
    return "an unknown rate" if value is None else f"{value:.1%}"


def _quality(result: SaeEval.Result) -> wspy.Table:
    return wspy.Table(
        title="Reconstruction",
        columns=(
            wspy.Column(name="dictionary"),
            wspy.Column(name="FVU", decimals=4, description="Fraction of variance unexplained; the mean scores 1."),
            wspy.Column(name="L0", decimals=1, description="Active features per frame."),
            wspy.Column(name="L1", decimals=1, description="Sum of a frame's features."),
            wspy.Column(name="cosine", decimals=3, description="Between input and reconstruction."),
            wspy.Column(name="L2 ratio", decimals=3, description="Length of the reconstruction over the input's."),
            wspy.Column(name="bias", decimals=3, description="Relative reconstruction bias; 1 is none."),
            wspy.Column(name="dead", unit="%", decimals=1, description="Features that fire in none of the frames."),
        ),
        rows=tuple(
            (one.name, one.fvu, one.l0, one.l1, one.cosine, one.l2_ratio, one.bias, 100 * one.dead)
            for one in result.quality
        ),
    )


def _replaced(result: SaeEval.Result) -> wspy.Table:
    def percent(value: float | None) -> float | None:
        return None if value is None else 100 * value

    return wspy.Table(
        title=f"What the model makes of {result.site}, replaced by ...",
        columns=(
            wspy.Column(name="replaced by"),
            wspy.Column(name="CE", unit="nats", decimals=3, description="Cross-entropy per token of the texts."),
            wspy.Column(name="of zero", unit="%", decimals=1, description="Share saved of what zero ablation costs."),
            wspy.Column(name="of mean", unit="%", decimals=1, description="Share saved of what mean ablation costs."),
            wspy.Column(name="WER", unit="%", decimals=1, description="Word error rate of free transcripts."),
            wspy.Column(name="from", unit="%", decimals=1, description="Lower end of its 95 % interval over clips."),
            wspy.Column(name="to", unit="%", decimals=1, description="Upper end of it."),
        ),
        rows=tuple(
            (
                row.by,
                row.cross_entropy,
                percent(row.recovered_zero),
                percent(row.recovered_mean),
                percent(row.wer),
                percent(row.wer_low),
                percent(row.wer_high),
            )
            for row in result.replaced
        ),
    )


def _densities(result: SaeEval.Result) -> wspy.Figure:
    own = result.quality[0]
    edges, counts = list(result.density_edges), list(own.densities)
    return histogram(
        "How often features fire",
        edges,
        counts[1:],
        x_title="share of the frames, decimal logarithm",
        y_title="features",
        caption=f"{counts[0]} of {result.d_sae} features fire in none of the frames and are left out. Features at the "
        "right edge fire nearly always, and say little by firing.",
    )


def _phones(result: SaeEval.Result) -> wspy.Table:
    return wspy.Table(
        title="Units that tell a phone",
        columns=(
            wspy.Column(name="units"),
            wspy.Column(name="of them live", description="Units that are not the same in all frames."),
            wspy.Column(name="labelled", unit="%", decimals=1, description="Live ones that beat shuffled labels."),
            wspy.Column(name="precise", unit="%", decimals=1, description="With an average precision of one half."),
            wspy.Column(name="median AUROC", decimals=3, description="Of each live unit's best phone."),
            wspy.Column(name="median AP", decimals=3, description="Average precision for that phone."),
            wspy.Column(name="phones", description="Different ones among the labelled."),
        ),
        rows=tuple(
            (
                f"{row.units} ({row.n_units:,})",
                row.n_live,
                100 * row.n_labelled / max(row.n_live, 1),
                100 * row.n_precise / max(row.n_live, 1),
                row.median_auroc,
                row.median_precision,
                row.n_phones,
            )
            for row in result.phones
        ),
    )


def _stability(result: SaeEval.Result) -> wspy.Figure:
    stability = result.stability
    assert stability is not None
    return histogram(
        f"Best partner of each feature in {stability.against}",
        [at / 10 for at in range(11)],
        stability.histogram,
        x_title="cosine of the decoder's rows",
        y_title="features",
        marks=[(stability.limit, "stable")],
        caption=f"{stability.share:.1%} of {stability.n_features} features have one above {stability.limit:g}; of "
        f"random directions, {stability.share_random:.1%}.",
    )
