"""What a person sees of the cuts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wspy.blocks import Audio, Block, Cell, Column, Table, Text
from wspy.figures import spectrogram
from wspy.figures.curves import Curve, curves
from wspy_chop import Chop, Cut, Locality, Rate, Recording

_CUT_COLUMNS = (
    Column(name="cut", description="What was replaced."),
    Column(name="from", unit="s", description="Start of the cut; of the first, where there are several."),
    Column(name="to", unit="s", description="End of the cut; of the last, where there are several."),
    Column(name="filling", description="What was put in its place."),
    Column(name="exactly", description="Whether the cut words disappeared and nothing else changed."),
)
_TRANSCRIPT = Column(name="transcript", description="What the model writes.")
_DIFFERENCES = (
    Column(name="removed", description="Words that are gone."),
    Column(name="changed", description="Words that became others."),
    Column(name="invented", description="Words that were not there before."),
)
_RATE_COLUMNS = (
    Column(name="filling", description="What was put in place of the frames."),
    Column(name="cut", description="The word with a margin on either side, or so much around its middle."),
    Column(name="width", unit="s", description="Mean length of the cuts."),
    Column(name="exactly", unit="%", description="The word is gone, all others stay, none is added.", decimals=0),
    Column(name="interval", unit="%", description="95 % interval (Wilson) over clips."),
    Column(name="at random", unit="%", description="The same for as many frames at random.", decimals=0),
    Column(name="interval ", unit="%", description="95 % interval (Wilson) of the cuts at random."),
    Column(name="gone", unit="%", description="The word is removed or changed.", decimals=0),
    Column(name="others stay", unit="%", description="All other words stay, none is added.", decimals=0),
    Column(name="unchanged", unit="%", description="Every word stays, this one too.", decimals=0),
)


def page(result: Chop.Result) -> list[Block]:
    """The recording's transcripts before and after, or the corpus' rates."""
    blocks: list[Block] = []
    if result.recording is not None:
        blocks += _recording(result.recording, result)
    if result.locality is not None:
        blocks += _locality(result.locality, result.model)
    return blocks


def _recording(found: Recording, result: Chop.Result) -> list[Block]:
    with np.load(result.file(found.picture)) as stored:
        mel = stored["mel"]
    where = {cut.spans for cut in found.cuts}
    one = len(where) == 1
    heading = f"# {found.cuts[0].label} cut out of {found.name}" if one else f"# Each word cut out of {found.name}"
    # A quotation in code, since a transcript may hold anything.
    said = [heading, f"{result.model} writes without a cut ({found.language}):", f"    {found.text or '(nothing)'}"]
    exact = [cut.exact for cut in found.cuts if cut.exact is not None]
    if len(exact) > 1:
        said.append(f"Exactly what was cut disappears in {sum(exact)} of {len(exact)} cuts.")
    alone = tuple(dict.fromkeys(span for cut in found.cuts if cut.exact for span in cut.spans))
    figure = spectrogram(
        "What was cut",
        mel,
        duration_s=found.duration_s,
        words=[word for word in found.words if word.end_s > word.start_s],
        spans=found.cuts[0].spans if one else alone,
        caption="The words are where cross-attention timing puts them; "
        + ("the shaded stretch was replaced." if one else "shaded are the cuts after which just their words are gone."),
    )
    blocks: list[Block] = [
        Text(markdown="\n\n".join(said)),
        _transcripts(found) if one else _differences(found),
        Audio(
            title=found.name,
            path=found.audio.path,
            caption="The recording as it is: the cut is made in what the encoder gives, not in the sound.",
            figure=figure,
        ),
    ]
    blocks.append(_side_by_side(found.cuts) if one else _written(found))
    return blocks


def _words(cut: Cut, outcome: str) -> str:
    pairs = [pair for pair in cut.pairs if pair.outcome == outcome]
    if outcome == "changed":
        return ", ".join(f"{pair.before} → {pair.after}" for pair in pairs)
    return " ".join(pair.before or pair.after for pair in pairs)


def _transcripts(found: Recording) -> Table:
    """One cut: the transcripts before and after it."""
    rows = [(*_cut_row(cut), cut.text) for cut in found.cuts]
    return Table(
        title="The transcript before and after",
        columns=(*_CUT_COLUMNS, _TRANSCRIPT),
        rows=(("nothing", None, None, "", "", found.text), *rows),
    )


def _differences(found: Recording) -> Table:
    """Many cuts: what each did."""
    return Table(
        title="What each cut did",
        columns=(*_CUT_COLUMNS, *_DIFFERENCES),
        rows=tuple((*_cut_row(cut), *(_words(cut, column.name) for column in _DIFFERENCES)) for cut in found.cuts),
    )


def _written(found: Recording) -> Table:
    """Many cuts: the transcripts after those that changed a word."""
    changed = [cut for cut in found.cuts if any(pair.outcome != "kept" for pair in cut.pairs)]
    return Table(
        title=f"The transcript before, and after the {len(changed)} of {len(found.cuts)} cuts that change a word",
        columns=(_CUT_COLUMNS[0], _CUT_COLUMNS[3], _TRANSCRIPT),
        rows=(("nothing", "", found.text), *((cut.label, cut.filling, cut.text) for cut in changed)),
    )


def _cut_row(cut: Cut) -> tuple[Cell, ...]:
    exact = {True: "yes", False: "no", None: ""}[cut.exact]
    return cut.label, cut.spans[0].start_s, cut.spans[-1].end_s, cut.filling, exact


def _side_by_side(cuts: Sequence[Cut]) -> Table:
    """The words before, and what became of each by every filling; all fillings share the words before."""
    before = [pair.before for pair in cuts[0].pairs if pair.outcome != "invented"]
    columns = [_after(cut, len(before)) for cut in cuts]
    rows = [("", *(column[0] for column in columns))] if any(column[0] for column in columns) else []
    rows += [(word, *(column[at] for column in columns)) for at, word in enumerate(before, 1)]
    return Table(
        title="Before and after: – is gone, → became another, + was invented",
        columns=(
            Column(name="before", description="The words without a cut."),
            *(Column(name=cut.filling, description=f"The words with the filling {cut.filling}.") for cut in cuts),
        ),
        rows=tuple(rows),
    )


def _after(cut: Cut, n_before: int) -> list[str]:
    """What stands after the cut in place of each word, with what was invented behind it; the first: before any."""
    cells = [""] * (n_before + 1)
    at = 0
    for pair in cut.pairs:
        if pair.outcome == "invented":
            cells[at] = f"{cells[at]} + {pair.after}".strip()
            continue
        at += 1
        cells[at] = {"kept": pair.after, "removed": "–", "changed": f"→ {pair.after}"}[pair.outcome]
    return cells


def _locality(found: Locality, model: str) -> list[Block]:
    best = max((rate for rate in found.rates if rate.placed == "word"), key=lambda rate: rate.exact)
    control = _control(found, best)
    silent = f" {found.n_silent} more had no word to cut." if found.n_silent else ""
    timing = "cross-attention" if found.timing == "attention" else "the corpus' alignment"
    blocks: list[Block] = [
        Text(
            markdown=f"# How local is a word?\n\n{model} transcribed {found.n_clips} clips of corpus {found.corpus!r}, "
            f"and one word of each was cut out of the encoder's output in several ways, where {timing} puts it."
            f"{silent}\n\n"
            f"At best (filling {best.filling}, {_kind(best)}) exactly the word disappears in **{best.exact:.0%}** of "
            f"the clips (95 % interval {best.low:.0%} to {best.high:.0%}); cuts of the same {best.width_s:.2f} s at "
            f"random do that in {control.exact:.0%} ({control.low:.0%} to {control.high:.0%}). It is the best of "
            f"{sum(rate.placed == 'word' for rate in found.rates)} kinds of cut, so it flatters a little."
        ),
        Table(
            title="What became of the word and of the others",
            columns=_RATE_COLUMNS,
            rows=tuple(_rate_row(rate, _control(found, rate)) for rate in found.rates if rate.placed == "word"),
        ),
    ]
    blocks += [_figure(found, "margin", "margin on either side of the word (s)")]
    blocks += [_figure(found, "width", "width of the cut around the word's middle (s)")]
    blocks.append(
        Table(
            title=f"The clips, cut on the word without a margin ({found.rates[0].filling})",
            columns=(
                Column(name="word", description="The word that was cut."),
                Column(name="exactly", description="Whether only the word disappeared."),
                Column(name="before", description="The transcript before."),
                Column(name="after", description="The transcript after."),
                Column(name="clip", description="Id of the clip."),
            ),
            rows=tuple(
                (case.word, "yes" if case.exact else "no", case.before, case.after, case.clip) for case in found.cases
            ),
        )
    )
    return blocks


def _kind(rate: Rate) -> str:
    return f"margin {rate.amount_s:g} s" if rate.by == "margin" else f"{rate.amount_s:g} s around the middle"


def _control(found: Locality, rate: Rate) -> Rate:
    """The same cuts at random."""
    return next(
        other
        for other in found.rates
        if (other.filling, other.by, other.amount_s, other.placed) == (rate.filling, rate.by, rate.amount_s, "random")
    )


def _rate_row(rate: Rate, control: Rate) -> tuple[Cell, ...]:
    return (
        rate.filling,
        _kind(rate),
        rate.width_s,
        100 * rate.exact,
        f"{100 * rate.low:.0f} to {100 * rate.high:.0f}",
        100 * control.exact,
        f"{100 * control.low:.0f} to {100 * control.high:.0f}",
        100 * rate.gone,
        100 * rate.others,
        100 * rate.unchanged,
    )


def _figure(found: Locality, by: str, x_title: str) -> Block:
    series: list[Curve] = []
    for filling in dict.fromkeys(rate.filling for rate in found.rates):
        for placed in ("word", "random"):
            rates = [rate for rate in found.rates if (rate.filling, rate.by, rate.placed) == (filling, by, placed)]
            name = f"{filling}, {'on the word' if placed == 'word' else 'at random'}"
            series.append(
                Curve(
                    name,
                    [rate.amount_s for rate in rates],
                    [100 * rate.exact for rate in rates],
                    [100 * rate.low for rate in rates],
                    [100 * rate.high for rate in rates],
                )
            )
    return curves(
        f"Exactly the word disappears, by {by}",
        series,
        x_title=x_title,
        y_title="clips (%)",
        caption="Share of the clips in which the word is gone and every other stays, with its 95 % interval.",
    )
