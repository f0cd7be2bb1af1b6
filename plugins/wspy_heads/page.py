"""What a person sees of the heads: tables sorted by what matters, and layers by heads as pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

import wspy
from wspy.blocks import Cell
from wspy.figures import Axis, heatmap
from wspy_heads import Decoder, DecoderHead, Encoder, EncoderHead, Heads, Reach

SHOWN_HEADS = 40
ROW_PX, MARGINS_PX = 36, 70


def page(result: Heads.Result) -> list[wspy.Block]:
    """The encoder, then the decoder."""
    opening = [
        f"# The attention heads of {result.model}",
        f"Heard {result.n_clips} clips of corpus {result.corpus!r}, padding left out.",
        *(f"Note: {note}" for note in result.notes),
    ]
    blocks: list[wspy.Block] = [wspy.Text(markdown="\n\n".join(opening))]
    if result.encoder:
        blocks += _encoder(result.encoder)
    if result.decoder:
        blocks += _decoder(result.decoder)
    return blocks


# --- encoder ----------------------------------------------------------------------------------------------


def _encoder(found: Encoder) -> list[wspy.Block]:
    blocks: list[wspy.Block] = [_encoder_summary(found), _encoder_table(found)]
    if found.together:
        blocks.append(_together_table(found))
        blocks.append(
            _picture(
                "WER with one head masked",
                found.heads,
                lambda head: head.wer,
                "WER",
                f"Each head alone masked to {found.k} frames on either side; the brighter, the more words change.",
            )
        )
    blocks.append(
        _picture(
            f"Attention within {found.k} frames",
            found.heads,
            lambda head: _within(head.reach, found.k),
            "share",
            f"Share of a head's attention to the clip that stays within {found.k} frames; evenly spread attention: "
            f"{_within(found.uniform, found.k):.2f}.",
        )
    )
    return blocks


def _within(reach: Reach, k: int) -> float:
    return next(mass.share for mass in reach.mass if mass.k == k)


def _encoder_summary(found: Encoder) -> wspy.Text:
    lines = ["## Encoder: self-attention"]
    near = sum(_within(head.reach, found.k) >= 0.5 for head in found.heads)
    lines.append(
        f"{near} of {len(found.heads)} heads have at least half of their attention within {found.k} frames "
        f"({found.k * 20} ms). Evenly spread attention would have {_within(found.uniform, found.k):.0%} there, a mean "
        f"distance of {found.uniform.distance_frames:.0f} frames, and {found.uniform.to_padding:.0%} on padding."
    )
    if found.together:
        counts = Counter(head.effect for head in found.heads)
        listed = ", ".join(f"{counts[effect]} {effect}" for effect in ("harmless", "undecided", "needed"))
        by_layer = Counter(head.layer for head in found.heads if head.effect == "harmless")
        layers = sorted({head.layer for head in found.heads})
        each = ", ".join(f"layer {layer}: {by_layer[layer]}" for layer in layers)
        lines.append(
            f"Each masked alone to {found.k} frames, over {found.n_words} words: {listed} (harmless by layer: {each})."
        )
    return wspy.Text(markdown="\n\n".join(lines))


def _encoder_table(found: Encoder) -> wspy.Table:
    ordered = sorted(found.heads, key=lambda head: (-(head.wer or 0.0), -head.reach.distance_frames))
    columns = (
        wspy.Column(name="layer", description="Encoder layer."),
        wspy.Column(name="head", description="Head within the layer."),
        wspy.Column(
            name="verdict",
            description=f"near: at least half of its attention lies within {found.k} frames, else far. harmless, "
            "needed or undecided: whether words change when it is masked. In result.json as a sentence.",
        ),
        wspy.Column(
            name="distance", unit="frames", description="Mean distance from query to key; a frame is 20 ms.", decimals=1
        ),
        wspy.Column(name="entropy", unit="bits", description="Mean entropy of a frame's attention."),
        wspy.Column(name=f"within {found.k}", description=f"Share of attention within {found.k} frames."),
        wspy.Column(name="to padding", description="Share of the clip's attention that goes to padding."),
        wspy.Column(name="from padding", description="Share of the padding's attention that goes to the clip."),
        wspy.Column(name="WER", description="With this head alone masked, against unmasked.", decimals=3),
        wspy.Column(name="from", description="Lower end of the 95 % interval.", decimals=3),
        wspy.Column(name="to", description="Upper end of the 95 % interval.", decimals=3),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            head.layer,
            head.head,
            _verdict(head),
            head.reach.distance_frames,
            head.reach.entropy_bits,
            _within(head.reach, found.k),
            head.reach.to_padding,
            head.reach.from_padding,
            head.wer,
            head.wer_low,
            head.wer_high,
        )
        for head in ordered
    ]
    return wspy.Table(title="Encoder heads, the most needed first", columns=columns, rows=tuple(rows))


def _verdict(head: EncoderHead) -> str:
    """The verdict in a word or two."""
    where = head.verdict.partition(":")[0]
    return where if head.effect == "not tested" else f"{where}, {head.effect}"


def _together_table(found: Encoder) -> wspy.Table:
    return wspy.Table(
        title=f"Heads masked at once, to {found.k} frames",
        columns=(
            wspy.Column(name="heads", description="Which heads."),
            wspy.Column(name="count", description="How many they are."),
            wspy.Column(name="WER", description="Against the unmasked transcripts.", decimals=3),
            wspy.Column(name="from", description="Lower end of the 95 % interval over clips.", decimals=3),
            wspy.Column(name="to", description="Upper end of that interval.", decimals=3),
        ),
        rows=tuple(
            (group.name, len(group.heads), group.wer, group.wer_low, group.wer_high) for group in found.together
        ),
    )


# --- decoder ----------------------------------------------------------------------------------------------


def _decoder(found: Decoder) -> list[wspy.Block]:
    return [
        _decoder_summary(found),
        _timing_table(found),
        _decoder_table(found),
        _picture(
            "Cross-attention heads as aligners",
            found.heads,
            lambda head: head.hits,
            "hits",
            "Share of words within which a head's attention peaks.",
        ),
    ]


def _decoder_summary(found: Decoder) -> wspy.Text:
    listed = json.dumps([list(name) for name in found.alignment_heads])
    lines = [
        "## Decoder: cross-attention",
        f"{found.n_words} words of {found.n_clips} clips, timed by {found.alignment}. A head hits a word if it peaks "
        f"within it, give or take {found.tolerance_s * 1000:.0f} ms.",
        f"**Alignment heads found: {len(found.alignment_heads)}**, for `generation_config.json`:",
        f"    {listed}",
        "and for `whisper.model.Whisper.set_alignment_heads`:",
        f"    {found.dump.encode()!r}",
    ]
    if found.published is not None:
        lines.append(
            f"The checkpoint names {len(found.published)} itself; {found.shared} of them are among those found "
            f"({found.shared_by_chance:.1f} by chance)."
            + (
                f" A published head hits more words than one that is not in {found.published_auroc:.0%} of the pairs."
                if found.published_auroc is not None
                else ""
            )
        )
    else:
        lines.append("The checkpoint itself names none, so there is nothing to compare with.")
    if not found.held_out:
        lines.append("**Fewer than four clips: the errors below are from the clips that the heads were chosen on.**")
    return wspy.Text(markdown="\n\n".join(lines))


def _timing_table(found: Decoder) -> wspy.Table:
    where = "on clips that had no part in the choice" if found.held_out else "on the same clips"
    return wspy.Table(
        title=f"Errors of word starts and ends, {where}",
        columns=(
            wspy.Column(name="heads", description="Which heads openai-whisper's word timing was given."),
            wspy.Column(name="count", description="How many."),
            wspy.Column(name="mean", unit="ms", description="Mean absolute error.", decimals=0),
            wspy.Column(name="median", unit="ms", description="Median absolute error.", decimals=0),
            wspy.Column(name="within 100 ms", description="Share of starts and ends that are less than 100 ms off."),
        ),
        rows=tuple(
            (timing.name, timing.n_heads, timing.mean_ms, timing.median_ms, timing.within_100_ms)
            for timing in found.timings
        ),
    )


def _decoder_table(found: Decoder) -> wspy.Table:
    ordered = sorted(found.heads, key=lambda head: -head.hits)
    left = len(ordered) - SHOWN_HEADS
    return wspy.Table(
        title="Decoder heads, the best aligners first" + (f" (and {left} more in result.json)" if left > 0 else ""),
        columns=(
            wspy.Column(name="layer", description="Decoder layer."),
            wspy.Column(name="head", description="Head within the layer."),
            wspy.Column(name="hits", description="Share of words within which it peaks."),
            wspy.Column(name="from", description="Lower end of the 95 % interval over clips."),
            wspy.Column(name="to", description="Upper end of that interval."),
            wspy.Column(name="chance", description="The same for another word of the clip."),
            wspy.Column(name="found", description="Among the alignment heads found here."),
            wspy.Column(name="published", description="Among the checkpoint's own alignment heads."),
        ),
        rows=tuple(
            (
                head.layer,
                head.head,
                head.hits,
                head.hits_low,
                head.hits_high,
                head.shuffled,
                head.chosen,
                head.published,
            )
            for head in ordered[:SHOWN_HEADS]
        ),
    )


def _picture(
    title: str,
    heads: Sequence[EncoderHead] | Sequence[DecoderHead],
    value: Callable[[EncoderHead], float | None] | Callable[[DecoderHead], float | None],
    unit: str,
    caption: str,
) -> wspy.Figure:
    """Layers by heads."""
    layers, columns = sorted({head.layer for head in heads}), sorted({head.head for head in heads})
    cells = np.full((len(layers), len(columns)), np.nan)
    for head in heads:
        found = value(head)  # type: ignore[arg-type]  # the caller pairs heads and value
        if found is not None:
            cells[layers.index(head.layer), columns.index(head.head)] = found
    picture = heatmap(
        title,
        cells,
        x=Axis("head", labels=[str(head) for head in columns]),
        y=Axis("layer", labels=[str(layer) for layer in layers]),
        value=unit,
        low=0.0,
        caption=caption,
    )
    layout = picture.spec["layout"]
    assert isinstance(layout, dict)  # as `heatmap` makes it
    layout["height"] = MARGINS_PX + ROW_PX * max(len(layers), 4)  # a scale with a title needs four rows
    return picture
