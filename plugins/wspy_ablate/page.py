"""The page of an ablation: summary, the table with controls, figures, words and transcripts."""

from __future__ import annotations

from collections.abc import Sequence

from wspy.blocks import Block, Cell, Column, Figure, Table, Text
from wspy.figures import bars
from wspy_ablate.result import AblateResult, Change, Effect, WordChange

_INTERVAL = "95 % interval (bootstrap over clips)."


def page(result: AblateResult) -> list[Block]:
    """What a person sees of the result."""
    blocks: list[Block] = [_summary(result), _table(result)]
    if result.phone:
        blocks += [_difference_figure(result), _groups_figure(result)]
    else:
        blocks.append(_overall_figure(result))
    blocks.append(_words("Words that suffer most without the neuron", result, result.words))
    blocks.append(_words("Words that gain most without the neuron", result, result.eased))
    if result.transcripts:
        blocks.append(_transcripts(result))
    return blocks


def _summary(result: AblateResult) -> Text:
    unit, *controls = result.effects
    how = "zero" if result.mode == "zero" else f"its mean, {unit.value:.3f},"
    lines = [
        f"# Neuron {result.idx} of {result.site} in {result.model}, switched off",
        f"{how.capitalize()} in place of its activation, in {result.n_clips:,} clips of corpus {result.corpus!r} "
        f"({result.n_tokens:,} tokens, clean loss {result.loss:.3f} nats per token). That takes {unit.removed:.2%} of "
        f"the residual stream away. Change of the loss: {_said(unit.overall)} nats per token.",
    ]
    if result.phone and unit.difference and unit.with_phone and unit.without_phone:
        beaten = sum(c.difference is not None and c.difference.value < unit.difference.value for c in controls)
        lines.append(
            f"Words with **{result.phone}** ({_phone_from(result)}; {result.n_words_with:,} words): "
            f"{_said(unit.with_phone)}. Words without ({result.n_words_without:,}): {_said(unit.without_phone)}. "
            f"**Difference: {_said(unit.difference)}** nats per token, more than that of {beaten} of {len(controls)} "
            f"random neurons. {_verdict(unit.difference)}"
        )
        share = result.n_words_with / (result.n_words_with + result.n_words_without)
        suffer, gain = (sum(bool(word.has_phone) for word in words) for words in (result.words, result.eased))
        lines.append(
            f"Of the {len(result.words)} words that suffer most, {suffer} have {result.phone}, of the "
            f"{len(result.eased)} that gain most {gain}; of all words {share:.0%} have it."
        )
    elif result.phone:
        lines.append(f"The clips hold no words with, or none without {result.phone}, so there is nothing to compare.")
    else:
        lines.append(
            "No phone to tell words apart by: the corpus has no phones (`wspy corpus align`), or the neuron answers to "
            "silence. With phones, `--phone` names one."
        )
    if result.n_transcribed:
        wer = ""
        if result.wer is not None and unit.wer is not None:
            wer = f" Word error rate: {result.wer:.1%} before, {unit.wer:.1%} after."
        lines.append(f"{unit.n_changed} of {result.n_transcribed} transcripts change a word.{wer}")
    if result.n_own_text:
        lines.append(
            f"{result.n_own_text:,} clips have no text: the model's own transcript stood in for it, which makes the "
            "clean loss too low."
        )
    if result.n_words_unplaced and result.phone:
        lines.append(f"{result.n_words_unplaced:,} words are not in the alignment and count in neither group.")
    return Text(markdown="\n\n".join(lines))


def _phone_from(result: AblateResult) -> str:
    if result.phone_from == "label":
        return f"the neuron's label, AUROC {result.phone_auroc:.3f}"
    return "asked for" if result.phone_from == "input" else "most common at its highest peaks; it has no label"


def _said(change: Change) -> str:
    return f"{change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f})"


def _verdict(difference: Change) -> str:
    if difference.low > 0:
        return "The interval lies above zero."
    if difference.high < 0:
        return "The interval lies below zero: words without the phone suffer more."
    return "The interval holds zero: no effect of the phone is shown."


def _table(result: AblateResult) -> Table:
    columns = [
        Column(name="neuron", description="Within the layer; the first is the one in question."),
        Column(name="role", description="control: a random neuron of the same layer."),
        Column(name="removed", unit="%", description="Of the size of the residual stream after the block.", decimals=2),
        Column(name="loss", unit="nats", description="Change of the loss per token, over all tokens.", decimals=4),
    ]
    if result.phone:
        columns += [
            Column(name="with", unit="nats", description=f"The same over words with {result.phone}.", decimals=4),
            Column(name="without", unit="nats", description=f"Over words without {result.phone}.", decimals=4),
            Column(name="difference", unit="nats", description="With minus without.", decimals=4),
            Column(name="from", unit="nats", description=f"Lower end of the difference's {_INTERVAL}", decimals=4),
            Column(name="to", unit="nats", description="Upper end.", decimals=4),
        ]
    if result.n_transcribed:
        of = f"of {result.n_transcribed} transcripts"
        columns += [
            Column(name="changed", description=f"How many {of} have another word than the clean model's."),
            Column(name="WER", unit="%", description="Word error rate against the texts.", decimals=1),
            Column(name="drift", unit="%", description="Word error rate against the clean transcripts.", decimals=1),
        ]
    return Table(
        title="The neuron and random others, switched off",
        columns=tuple(columns),
        rows=(_clean_row(result), *(_row(result, effect) for effect in result.effects)),
    )


def _clean_row(result: AblateResult) -> tuple[Cell, ...]:
    row: list[Cell] = [None, "clean", 0.0, 0.0]
    if result.phone:
        row += [0.0, 0.0, 0.0, None, None]
    if result.n_transcribed:
        row += [0, _percent(result.wer), 0.0]
    return tuple(row)


def _row(result: AblateResult, effect: Effect) -> tuple[Cell, ...]:
    row: list[Cell] = [effect.idx, effect.role, 100 * effect.removed, effect.overall.value]
    if result.phone:
        changes = (effect.with_phone, effect.without_phone, effect.difference)
        row += [change.value if change else None for change in changes]
        row += [effect.difference.low, effect.difference.high] if effect.difference else [None, None]
    if result.n_transcribed:
        row += [effect.n_changed, _percent(effect.wer), _percent(effect.drift)]
    return tuple(row)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _name(effect: Effect) -> str:
    return f"neuron {effect.idx}" if effect.role == "unit" else f"random {effect.idx}"


def _figure(title: str, named: list[tuple[str, Change]], x_title: str, caption: str) -> Figure:
    return bars(
        title,
        [name for name, _ in named],
        [change.value for _, change in named],
        lower=[change.low for _, change in named],
        upper=[change.high for _, change in named],
        x_title=x_title,
        y_title="switched off",
        caption=caption,
    )


def _difference_figure(result: AblateResult) -> Figure:
    return _figure(
        f"How much more words with {result.phone} suffer",
        [(_name(effect), effect.difference) for effect in result.effects if effect.difference],
        "difference of the changes of the loss (nats per token)",
        f"Right of zero: words with {result.phone} lose more than words without. Whiskers: {_INTERVAL}",
    )


def _groups_figure(result: AblateResult) -> Figure:
    named = [
        (f"{_name(effect)}: {what}", change)
        for effect in result.effects
        for what, change in ((f"with {result.phone}", effect.with_phone), ("without", effect.without_phone))
        if change
    ]
    return _figure(
        f"Change of the loss over words with and without {result.phone}",
        named,
        "change of the loss (nats per token)",
        f"Right of zero: the ablation does harm. Whiskers: {_INTERVAL}",
    )


def _overall_figure(result: AblateResult) -> Figure:
    return _figure(
        "Change of the loss over all tokens",
        [(_name(effect), effect.overall) for effect in result.effects],
        "change of the loss (nats per token)",
        f"Right of zero: the ablation does harm. Whiskers: {_INTERVAL}",
    )


def _words(title: str, result: AblateResult, words: Sequence[WordChange]) -> Table:
    return Table(
        title=title,
        columns=(
            Column(name="word"),
            Column(name="phone", description=f"Whether it contains {result.phone or 'the phone'}."),
            Column(name="loss", unit="nats", description="Change per token.", decimals=3),
            Column(name="clip", description="Id of the clip in the corpus."),
        ),
        rows=tuple(
            (word.word, None if word.has_phone is None else "yes" if word.has_phone else "no", word.change, word.clip)
            for word in words
        ),
    )


def _transcripts(result: AblateResult) -> Table:
    return Table(
        title="Transcripts that change without the neuron",
        columns=(
            Column(name="text", description="What is said, where known."),
            Column(name="clean", description="What the model writes."),
            Column(name="ablated", description="Without the neuron; [was → is] at words that changed."),
            Column(name="clip", description="Id of the clip in the corpus."),
        ),
        rows=tuple((changed.text, changed.clean, changed.marked, changed.clip) for changed in result.transcripts),
    )
