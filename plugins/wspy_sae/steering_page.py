"""What a person sees of a steered transcript: the verdict, the numbers next to their controls, the words."""

from __future__ import annotations

import wspy
from wspy.blocks import escape_markdown
from wspy.figures import Curve, curves
from wspy.model import compare_words, mark_changes
from wspy_sae.steering import By, Steer, Steered

SHOWN_CLIPS = 8
SHOWN_WORDS = 60  # of one transcript: loops go on for hundreds
SHOWN_CHANGES = 6
CONTROLS: tuple[By, ...] = ("random direction", "random feature")
_HOW = {
    "scale": "factor 0 removes it, 1 leaves everything as it is",
    "clamp": "held at the factor times its peak",
    "add": "added to every frame; factor 1 is as large as activations are around their mean",
}


_INTERVAL = (
    wspy.Column(name="from", unit="%", decimals=1, description="Lower end of the 95 % interval over clips."),
    wspy.Column(name="to", unit="%", decimals=1, description="Upper end of it."),
)


def page(result: Steer.Result) -> list[wspy.Block]:
    """The summary; for a recording its transcripts at once, for a corpus after the numbers."""
    blocks: list[wspy.Block] = [_summary(result)]
    if result.audio:
        blocks += [wspy.Audio(title="The recording", path=result.audio.path), _recording(result)]
    blocks += [_table(result), _curve(result)]
    if any(one.words for one in _handles(result)):
        blocks.append(_words(result))
    if not result.audio:
        blocks.append(_clips(result))
    return blocks


def _handles(result: Steer.Result) -> list[Steered]:
    return [one for one in result.steered if one.by == "handle"]


def _controls(result: Steer.Result, factor: float, by: By) -> list[Steered]:
    return [one for one in result.steered if one.factor == factor and one.by == by]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _summary(result: Steer.Result) -> wspy.Text:
    of = "the recording" if result.audio else f"{len(result.clips)} clips of corpus {result.corpus!r}"
    lines = [
        f"# Steering {escape_markdown(result.handle)} in {result.model}",
        f"Heard {of}, {result.n_words} words untouched, {result.n_frames:,} frames of 20 ms. At {result.site}: "
        f"{result.mode}, {_HOW[result.mode]}. It is above zero in {result.active:.1%} of the frames, at most "
        f"{result.peak:.3f}; activations lie {result.site_size:.2f} from their mean.",
    ]
    if result.mode == "scale" and not result.active and result.peak <= 0:
        lines.append("**It is nowhere above zero here, so scaling it changes little or nothing**: give `--mode add`.")
    most = max(_handles(result), key=lambda one: one.wer or 0.0)
    if not result.n_words:
        lines.append("**The model writes nothing untouched**, so there is no word to change.")
    elif not most.wer:
        worst = max((one for one in result.steered if one.by != "handle"), key=lambda one: one.wer or 0.0, default=None)
        other = ""
        if worst is not None and worst.wer:
            other = f" Controls of the same size change up to {100 * worst.wer:.1f} % (factor {worst.factor:g})."
        lines.append(f"**No factor changes a word.**{other}")
    else:
        controls = [
            f"{by} {100 * wer:.1f} %"
            for by in CONTROLS
            if (wer := _mean([one.wer for one in _controls(result, most.factor, by)])) is not None
        ]
        beside = f"; {', '.join(controls)} with a change of the same size" if controls else ""
        lines.append(
            f"Most changes at factor {most.factor:g}: **{100 * most.wer:.1f} % of the words**, with a change of "
            f"{most.size:.1%} of the activations' size{beside}."
        )
    return wspy.Text(markdown="\n\n".join(lines))


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _table(result: Steer.Result) -> wspy.Table:
    texts, several = result.text_wer is not None, len(result.clips) > 1
    by_control = [by for by in CONTROLS if any(one.by == by for one in result.steered)]
    rows = [
        (
            one.factor,
            100 * one.size,
            _percent(one.wer),
            *((_percent(one.wer_low), _percent(one.wer_high)) if several else ()),
            *(_percent(_mean([c.wer for c in _controls(result, one.factor, by)])) for by in by_control),
            one.substituted,
            one.inserted,
            one.deleted,
            100 * one.changed,
            *([_percent(one.text_wer)] if texts else []),
        )
        for one in _handles(result)
    ]
    title = "Words that change, by factor"
    if texts and result.text_wer is not None:
        title += f" (untouched, WER to the texts is {100 * result.text_wer:.1f} %)"
    return wspy.Table(
        title=title,
        columns=(
            wspy.Column(name="factor", decimals=2),
            wspy.Column(name="size", unit="%", decimals=1, description="Of the change, over that of activations."),
            wspy.Column(name="WER", unit="%", decimals=1, description="Against the untouched transcript."),
            *(_INTERVAL if several else ()),
            *(
                wspy.Column(name=by, unit="%", decimals=1, description=f"WER with a {by} of the same size, mean.")
                for by in by_control
            ),
            wspy.Column(name="replaced", description="Words replaced by others."),
            wspy.Column(name="added", description="Words that the untouched transcript does not have."),
            wspy.Column(name="missing", description="Words that only the untouched transcript has."),
            wspy.Column(name="changed", unit="%", decimals=0, description="Share of clips with any word error."),
            *(
                [wspy.Column(name="to text", unit="%", decimals=1, description="WER against the corpus' texts.")]
                if texts
                else []
            ),
        ),
        rows=tuple(rows),
    )


def _curve(result: Steer.Result) -> wspy.Figure:
    handles = sorted(_handles(result), key=lambda one: one.factor)
    series = [
        Curve(
            result.handle,
            [one.factor for one in handles],
            [_percent(one.wer) for one in handles],
            [_percent(one.wer_low) for one in handles],
            [_percent(one.wer_high) for one in handles],
        )
    ]
    for by in CONTROLS:
        found = [(one.factor, [c.wer for c in _controls(result, one.factor, by)]) for one in handles]
        if any(wers for _, wers in found):
            known = [[100 * wer for wer in wers if wer is not None] for _, wers in found]
            series.append(
                Curve(
                    f"{by}, same size",
                    [factor for factor, _ in found],
                    [_mean(list(wers)) for wers in known],
                    [min(wers, default=None) for wers in known],
                    [max(wers, default=None) for wers in known],
                )
            )
    return curves(
        "Word error rate against the factor",
        series,
        x_title=f"factor ({result.mode})",
        y_title="WER against the untouched transcript (%)",
        caption="Shaded: 95 % interval over clips; for controls, from the least to the most of them. What the handle "
        "does beyond its controls is its own.",
    )


def _words(result: Steer.Result) -> wspy.Table:
    """The most frequent changes of each factor, and how often the controls of that size make the same ones."""
    rows = []
    for one in _handles(result):
        controls = [c for by in CONTROLS for c in _controls(result, one.factor, by)]
        for change in one.words[:SHOWN_CHANGES]:
            same = sum(
                other.count
                for control in controls
                for other in control.words
                if (other.before, other.after) == (change.before, change.after)
            )
            rows.append(
                (
                    one.factor,
                    _cut(change.before) or "(nothing)",
                    _cut(change.after) or "(nothing)",
                    change.count,
                    same / len(controls) if controls else None,
                )
            )
    return wspy.Table(
        title="Which words change",
        columns=(
            wspy.Column(name="factor", decimals=2),
            wspy.Column(name="untouched"),
            wspy.Column(name="becomes"),
            wspy.Column(name="times", description="Over all clips."),
            wspy.Column(name="by control", decimals=1, description="How often the same in a control, on average."),
        ),
        rows=tuple(rows),
    )


def _cut(passage: str) -> str:
    words = passage.split()
    return " ".join(words[:12]) + (f" … ({len(words)} words)" if len(words) > 12 else "")


# --- transcripts with their changes marked ----------------------------------------------------------------

_MARKS = "~~Struck through~~: gone. **Bold**: new. Case and punctuation do not count."


def _recording(result: Steer.Result) -> wspy.Text:
    """The handle's transcripts, then those of controls that change a word."""
    clean = result.clips[0].text
    lines = ["| factor | by | transcript |", "| ---: | --- | --- |"]
    lines.append(f"| | untouched | {escape_markdown(_short(clean)) or '(nothing)'} |")
    lines += [
        f"| {one.factor:g} | {escape_markdown(result.handle)} | {_marked(clean, one.texts[0])} |"
        for one in _handles(result)
    ]
    controls = [one for one in result.steered if one.by != "handle"]
    changed = [one for one in controls if one.changed]
    lines += [f"| {one.factor:g} | {one.by} {one.which} | {_marked(clean, one.texts[0])} |" for one in changed]
    said = ["## Transcripts", _MARKS, "\n".join(lines)]
    if len(changed) < len(controls):
        said.append(f"Of {len(controls)} controls of the same size, {len(controls) - len(changed)} change no word.")
    return wspy.Text(markdown="\n\n".join(said))


def _clips(result: Steer.Result) -> wspy.Text:
    """The clips that the handle changes most."""
    handles = _handles(result)

    def n_changed(at: int) -> int:
        return sum(one.texts[at] != result.clips[at].text for one in handles)

    ordered = sorted(range(len(result.clips)), key=lambda at: -n_changed(at))
    shown = [at for at in ordered if n_changed(at)][:SHOWN_CLIPS]
    lines = ["## Transcripts that change", _MARKS] if shown else ["No transcript changes."]
    for at in shown:
        clip = result.clips[at]
        rows = ["| factor | transcript |", "| ---: | --- |"]
        if clip.said is not None:
            rows.append(f"| said | {escape_markdown(_short(clip.said)) or '(nothing)'} |")
        rows.append(f"| untouched | {escape_markdown(_short(clip.text)) or '(nothing)'} |")
        rows += [f"| {one.factor:g} | {_marked(clip.text, one.texts[at])} |" for one in handles]
        lines += [f"### {escape_markdown(clip.clip)}", "\n".join(rows)]
    if len(ordered) > len(shown):
        lines.append("All transcripts are in result.json.")
    return wspy.Text(markdown="\n\n".join(lines))


def _marked(before: str, after: str) -> str:
    if all(passage.change == "same" for passage in compare_words(before, after)):
        return "(the same words)"
    return mark_changes(before, after, SHOWN_WORDS)


def _short(text: str) -> str:
    words = text.split()
    return " ".join(words[:SHOWN_WORDS]) + (" …" if len(words) > SHOWN_WORDS else "")
