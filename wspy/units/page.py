"""The page of a unit: what a person sees and hears of it."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np

from wspy.blocks import Audio, Block, Cell, Column, Figure, Table, Text
from wspy.figures import bars, histogram, spectrogram, stacked_bars
from wspy.units.result import Example, Neighbour, SignResult, UnitResult

_DIRECTION = {"positive": "highest", "negative": "lowest"}
_COLUMNS = (
    Column(name="#", description="Rank by the height of the clip's peak."),
    Column(name="activation", description="Activation at the peak.", decimals=3),
    Column(name="peak", unit="s", description="Time of the peak from the clip's start."),
    Column(name="phone", description="Phone that is heard at the peak, the site's lag allowed for."),
    Column(name="word", description="Word that is heard there."),
    Column(name="speaker", description="Who speaks."),
    Column(name="clip", description="Id of the clip in the corpus."),
    Column(name="listen", description="The clip with its peak amplified, in the run folder."),
)


def page(result: UnitResult) -> list[Block]:
    """Summary and tables first, then the sounds, strongest first."""
    with np.load(result.file(result.pictures)) as stored:
        pictures = dict(stored)
    blocks: list[Block] = [_summary(result)]
    for found in result.signs:
        blocks += _one_sign(result, found, pictures)
    if result.promoted:
        blocks.append(_effects(result))
    if result.near_direction or result.near_phones:
        blocks.append(_neighbours(result))
    return blocks


def _effects(result: UnitResult) -> Table:
    pairs = zip(result.promoted, result.suppressed, strict=True)
    return Table(
        title="Logit effects: the tokens that it speaks for and against",
        columns=(
            Column(name="#"),
            Column(name="for", description="Token whose logit rises most where the neuron is above zero."),
            Column(name="effect for", decimals=1, description="In standard deviations over all tokens of text."),
            Column(name="against", description="Token whose logit falls most."),
            Column(name="effect against", decimals=1, description="In standard deviations over all tokens of text."),
        ),
        rows=tuple(
            (rank, f"“{up.token}”", up.effect, f"“{down.token}”", down.effect)
            for rank, (up, down) in enumerate(pairs, 1)
        ),
    )


def _neighbours(result: UnitResult) -> Table:
    def cells(found: Neighbour | None) -> tuple[Cell, Cell]:
        return (found.unit, found.similarity) if found else (None, None)

    pairs = itertools.zip_longest(result.near_direction, result.near_phones)
    return Table(
        title="Nearest units of the site",
        columns=(
            Column(name="#"),
            Column(name="by direction", description="Unit that writes most alike into the residual stream."),
            Column(name="cosine", decimals=3, description="Of what the two write."),
            Column(name="by phones", description="Unit whose mean activations at each phone are most alike."),
            Column(name="r", decimals=3, description="Pearson's r of the two units' means, over phones."),
        ),
        rows=tuple((rank, *cells(one), *cells(other)) for rank, (one, other) in enumerate(pairs, 1)),
    )


def _name(result: UnitResult) -> str:
    return f"{'Neuron' if result.site.endswith('.mlp.1') else 'Unit'} {result.idx} of {result.site}"


def _reaches(found: SignResult) -> bool:
    """Whether the neuron goes beyond zero in this direction at all."""
    return any(shown.examples for shown in found.ranges)


def _summary(result: UnitResult) -> Text:
    what = "frames of 20 ms" if result.position == "frame" else "tokens of text"
    lines = [
        f"# {_name(result)} in {result.model}",
        f"Heard over {result.n_clips:,} clips of corpus {result.corpus!r}, {result.n_positions:,} {what}, padding left "
        f"out. Activation: mean {result.mean:.3f}, standard deviation {result.std:.3f}, from {result.minimum:.3f} to "
        f"{result.maximum:.3f}; above zero in {result.density:.1%} of them.",
    ]
    for found in result.signs:
        if found.phones:
            best, n = found.phones[0], sum(phone.count for phone in found.phones)
            lines.append(
                f"At the {_DIRECTION[found.sign]} peaks: **{best.phone}** in {best.count} of {n} clips "
                f"({best.share:.0%}, 95 % interval {best.low:.0%} to {best.high:.0%}); {best.phone} takes "
                f"{best.base:.0%} of the corpus' time."
            )
        elif found.examples:
            words = Counter(example.word for example in found.examples if example.word)
            listed = ", ".join(word if n == 1 else f"{word} ({n})" for word, n in words.most_common())
            lines.append(f"At the {_DIRECTION[found.sign]} peaks: {listed or 'no known word'}.")
        if not _reaches(found):
            side = "rises above" if found.sign == "positive" else "falls below"
            lines.append(f"**It never {side} zero on this corpus**, so the clips below are only those nearest to it.")
    if result.alignment:
        lines.append(f"Words and phones: {result.alignment}.")
    else:
        lines.append("This corpus has no alignment, so words and phones are unknown: `wspy corpus align`.")
    return Text(markdown="\n\n".join(lines))


def _one_sign(result: UnitResult, found: SignResult, pictures: dict[str, np.ndarray]) -> list[Block]:
    direction = _DIRECTION[found.sign]
    blocks: list[Block] = [
        Table(
            title=f"Clips with the {direction} peaks",
            columns=_COLUMNS,
            rows=tuple(_row(rank, example) for rank, example in enumerate(found.examples, 1)),
        )
    ]
    if found.phones:
        blocks += [_phone_table(found), _phone_figure(found)]
    if _reaches(found):
        blocks.append(_range_table(found))
    blocks.append(_peak_histogram(result, found))
    blocks.append(Text(markdown=f"## Listen: the {direction} peaks"))
    for rank, example in enumerate(found.examples, 1):
        blocks += _players(f"{rank}. {_heading(example)}", example, pictures, result.position)
    if _reaches(found):
        blocks.append(Text(markdown="## Listen: ten activation ranges, strongest first"))
    if any(mixed.frames for mixed in found.mix):
        blocks += [_mix_figure(found), _mix_table(found)]
    for shown in found.ranges:
        for example in shown.examples:
            title = f"{shown.low:.2f} to {shown.high:.2f}: {_heading(example)}"
            blocks += _players(title, example, pictures, result.position)
    return blocks


def _row(rank: int, example: Example) -> tuple[Cell, ...]:
    return (
        rank,
        example.activation,
        example.peak_s,
        example.phone,
        example.word,
        example.speaker,
        example.clip,
        example.audio.path,
    )


def _heading(example: Example) -> str:
    parts = [f"“{example.word}”" if example.word else "", example.phone or ""]
    return f"{' '.join(part for part in parts if part) or example.clip}, activation {example.activation:.3f}"


def _players(title: str, example: Example, pictures: dict[str, np.ndarray], position: str) -> list[Block]:
    key = example.audio.path.removesuffix(".wav")
    picture = spectrogram(
        title,
        pictures[f"{key}.mel"],
        duration_s=example.duration_s,
        activation=pictures[f"{key}.activation"],
        activation_s=pictures[f"{key}.times"],
        activation_label="activation",
        words=example.words,
        phones=example.phones,
        peak_s=example.peak_s,
    )
    who = f", {example.speaker}" if example.speaker else ""
    said = f": {example.text}" if example.text else ""
    return [
        Audio(title=title, path=example.audio.path, caption=f"{example.clip}{who}{said}", figure=picture),
        Audio(
            title="Half a second around the peak" if position == "frame" else f"The word “{example.word}” by itself",
            path=example.excerpt.path,
        ),
    ]


def _phone_table(found: SignResult) -> Table:
    return Table(
        title=f"Phones at the {_DIRECTION[found.sign]} peaks",
        columns=(
            Column(name="phone"),
            Column(name="clips", description="Top clips with this phone at the peak."),
            Column(name="share", unit="%", description="Of the top clips.", decimals=0),
            Column(name="from", unit="%", description="Lower end of the 95 % interval (Wilson).", decimals=0),
            Column(name="to", unit="%", description="Upper end of the 95 % interval.", decimals=0),
            Column(name="chance", unit="%", description="Share of the corpus' aligned time.", decimals=1),
        ),
        rows=tuple((p.phone, p.count, 100 * p.share, 100 * p.low, 100 * p.high, 100 * p.base) for p in found.phones),
    )


def _phone_figure(found: SignResult) -> Figure:
    return bars(
        f"Phones at the {_DIRECTION[found.sign]} peaks",
        [phone.phone for phone in found.phones],
        [100 * phone.share for phone in found.phones],
        lower=[100 * phone.low for phone in found.phones],
        upper=[100 * phone.high for phone in found.phones],
        x_title="share of top clips (%)",
        y_title="phone",
        caption="Whiskers: 95 % interval. Few clips make wide intervals.",
    )


def _range_table(found: SignResult) -> Table:
    def heard(examples: tuple[Example, ...]) -> str:
        counts = Counter(example.phone or example.word or "?" for example in examples)
        return ", ".join(label if n == 1 else f"{label} x{n}" for label, n in counts.most_common())

    return Table(
        title="What is heard in ten activation ranges",
        columns=(
            Column(name="from", description="Activation.", decimals=3),
            Column(name="to", description="Activation.", decimals=3),
            Column(name="at the peak", description="Phone (or word) at the peak of a sample of clips."),
            Column(name="in the words", description="Word at each of those peaks."),
        ),
        rows=tuple(
            (
                shown.low,
                shown.high,
                heard(shown.examples) or None,
                ", ".join(example.word or "?" for example in shown.examples) or None,
            )
            for shown in found.ranges
        ),
    )


def _mix_figure(found: SignResult) -> Figure:
    names = dict.fromkeys(name for mixed in found.mix for name in mixed.shares)
    return stacked_bars(
        "What all frames hold, in ten activation ranges",
        [f"{mixed.low:.2f} to {mixed.high:.2f}" for mixed in found.mix],
        {name: [100 * mixed.shares.get(name, 0.0) for mixed in found.mix] for name in names},
        x_title="share of the frames in the range (%)",
        y_title="activation",
        caption="All frames of the corpus, at the site's best lag, not only the peaks of clips. A neuron for one sound "
        "keeps its colour down the page.",
    )


def _mix_table(found: SignResult) -> Table:
    over = f" Below the top, these take over: {', '.join(found.takes_over)}." if found.takes_over else ""
    return Table(
        title=f"How mixed each activation range is.{over}",
        columns=(
            Column(name="from", description="Activation.", decimals=3),
            Column(name="to", description="Activation.", decimals=3),
            Column(name="frames", decimals=0, description="Frames of 20 ms in the range."),
            Column(name="entropy", unit="bits", description="Of the phones: 0 for a single one."),
            Column(name="mostly", description="What takes the largest share of the frames."),
        ),
        rows=tuple(
            (
                mixed.low,
                mixed.high,
                round(mixed.frames),
                mixed.entropy_bits,
                max(mixed.shares, key=lambda name: mixed.shares[name], default=None),
            )
            for mixed in found.mix
        ),
    )


def _peak_histogram(result: UnitResult, found: SignResult) -> Figure:
    """Bins from the first to the last that holds a clip; the lowest one reaches down to zero."""
    filled = np.flatnonzero(found.bin_counts)
    first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, 0)
    sign = 1 if found.sign == "positive" else -1
    edges = sign * np.array(found.bin_edges[first : last + 2])
    counts = np.array(found.bin_counts[first : last + 1])
    if sign < 0:
        edges, counts = edges[::-1], counts[::-1]
    which = "Highest" if sign > 0 else "Lowest"
    return histogram(
        f"{which} activation within each clip",
        edges,
        counts,
        x_title=f"{which.lower()} activation of {_name(result)} in a clip",
        marks=[(example.activation, str(rank)) for rank, example in enumerate(found.examples, 1)],
        caption="Triangles mark the examples by rank. Bins widen by powers of two, so a wide bin collects more clips.",
    )
