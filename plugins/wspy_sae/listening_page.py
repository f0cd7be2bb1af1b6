"""What a person sees and hears of the features in a recording."""

from __future__ import annotations

import numpy as np

import wspy
from wspy.figures import activity
from wspy_sae.listening import Features, Fired


def page(result: Features.Result) -> list[wspy.Block]:
    """The summary, the recording with all rows, the table, then each feature's own stretch."""
    with np.load(result.file(result.arrays)) as stored:
        activations, mel = stored["activations"], stored["mel"]
    blocks: list[wspy.Block] = [_summary(result)]
    if not result.features:
        blocks.append(wspy.Audio(title="The recording", path=result.audio.path))
        return blocks
    figure = activity(
        f"Features of {result.sae} in {result.name}",
        mel,
        activations,
        [_row_label(fired) for fired in result.features],
        duration_s=result.duration_s,
        y_title="feature",
        words=result.words,
        caption="Each row from black, where the feature is silent, to its own highest activation. "
        + ("After the number: the phone of its label." if result.labels_from else ""),
    )
    blocks.append(wspy.Audio(title="The recording", path=result.audio.path, caption=result.text, figure=figure))
    blocks.append(_table(result))
    blocks.append(wspy.Text(markdown="## Listen: each feature's stretch"))
    blocks += [_player(fired) for fired in result.features]
    return blocks


def _row_label(fired: Fired) -> str:
    return f"{fired.feature} {fired.label.phone}" if fired.label else str(fired.feature)


def _summary(result: Features.Result) -> wspy.Text:
    shown = sum(fired.strength for fired in result.features)
    explained = ""
    if result.fvu is not None and result.fvu < 1:
        explained = f" They explain {1 - result.fvu:.1%} of how {result.site} varies here."
    elif result.fvu is not None:
        explained = (
            f"\n\n**They explain nothing of how {result.site} varies here** (FVU {result.fvu:.2f}; predicting the mean "
            "scores 1): the recording is unlike what the dictionary was trained on. Trust nothing below, and train a "
            "dictionary on such speech."
        )
    labels = (
        f"Labels are those of the atlas over corpus {result.labels_from!r}."
        if result.labels_from
        else f"There is no atlas of these features yet, so they have no labels: "
        f"`wspy atlas build --sites sae:{result.sae}`."
    )
    listed = f" The {len(result.features)} features below make {shown:.0%} of the features' coming and going."
    listed = listed if result.features else ""
    nothing = "" if result.features else "\n\n**No feature fires in this recording.**"
    return wspy.Text(
        markdown=f"# {result.n_fired:,} of {result.d_sae:,} features of {result.sae} fire in {result.name}\n\n"
        f"{result.l0:.1f} at a time, over {result.n_frames:,} frames of 20 ms, in {result.model}."
        f"{listed}{explained}\n\n{labels}{nothing}"
    )


def _table(result: Features.Result) -> wspy.Table:
    labelled = (
        wspy.Column(name="phone", description="Most common at the peaks of its strongest clips in the atlas' corpus."),
        wspy.Column(name="in", unit="%", decimals=0, description="Share of those clips with this phone at the peak."),
        wspy.Column(name="elsewhere", unit="%", decimals=2, description="Share of that corpus' frames it fires in."),
    )
    return wspy.Table(
        title="The features, strongest first",
        columns=(
            wspy.Column(name="feature"),
            wspy.Column(name="strength", unit="%", decimals=1, description="Of the features' coming and going."),
            wspy.Column(name="peak", decimals=3, description="Its highest activation here."),
            wspy.Column(name="at", unit="s", description="Time of the peak."),
            wspy.Column(name="word", description="Whisper's word at the peak."),
            wspy.Column(name="active", unit="%", decimals=1, description="Share of the recording it fires in."),
            *(labelled if result.labels_from else ()),
        ),
        rows=tuple(
            (
                fired.feature,
                100 * fired.strength,
                fired.peak,
                fired.peak_s,
                fired.word,
                100 * fired.active,
                *(_label_cells(fired) if result.labels_from else ()),
            )
            for fired in result.features
        ),
    )


def _label_cells(fired: Fired) -> tuple[str | float | None, ...]:
    label = fired.label
    return (label.phone, 100 * label.share, 100 * label.density) if label else (None, None, None)


def _player(fired: Fired) -> wspy.Audio:
    said = f", in “{fired.word}”" if fired.word else ""
    label = ""
    if fired.label:
        label = f"{fired.label.phone} in {fired.label.count} of its {fired.label.of} strongest clips elsewhere. "
    return wspy.Audio(
        title=f"Feature {fired.feature}: {fired.start_s:.2f} to {fired.end_s:.2f} s{said}",
        path=fired.audio.path,
        caption=f"{label}Peak {fired.peak:.3f} at {fired.peak_s:.2f} s.",
    )
