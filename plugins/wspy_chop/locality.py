"""How local words are: one word of each of some clips, cut with several margins and widths, and controls."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from wspy.errors import BadCut, NothingHeard
from wspy.units.listen import wilson
from wspy_chop import Case, Chop, Filling, Locality, Rate, Span
from wspy_chop.chop import Heard, Task, fillings, hear, span, span_of_time, transcribe_cuts
from wspy_chop.compare import compare, exactly_gone, normal

if TYPE_CHECKING:
    from wspy.analysis import Context
    from wspy.corpus import Alignment, Clip

MARGINS_S = (0.0, 0.05, 0.1, 0.2, 0.4)
WIDTHS_S = (0.1, 0.2, 0.4, 0.8)
By = Literal["margin", "width"]
AMOUNTS_S: tuple[tuple[By, tuple[float, ...]], ...] = (("margin", MARGINS_S), ("width", WIDTHS_S))
BATCH_CLIPS = 8


@dataclass(frozen=True)
class _Target:
    """A clip and the word in it that is to go: its place among the words, and when it is said."""

    clip: Clip
    heard: Heard
    word: int
    start_s: float
    end_s: float


@dataclass(frozen=True)
class _Kind:
    """What the cuts of one rate have in common."""

    filling: Filling
    by: By
    amount_s: float
    placed: Literal["word", "random"]


@dataclass(frozen=True)
class _Outcome:
    width_s: float
    exact: bool
    gone: bool
    others: bool
    unchanged: bool
    text: str


def measure(inputs: Chop.Inputs, context: Context) -> Locality:
    """Cut one word of each of some clips in every way, and count what became of the transcripts."""
    named = ("start", "stop", "start_s", "stop_s", "word", "occurrence", "margin_s")
    if given := [name for name in named if getattr(inputs, name) != Chop.Inputs.model_fields[name].default]:
        raise BadCut(f"There is no recording to which {given[0].replace('_', '-')} could apply")
    targets, n_silent = _targets(inputs, context)
    if not targets:
        where = f"the {n_silent} clips that were drawn from corpus {context.corpus.name!r}"
        raise NothingHeard(where if inputs.timing == "attention" else f"{where} where their alignment has it")
    kinds = [
        _Kind(filling, by, amount_s, placed)
        for filling in fillings(inputs.filling)
        for by, amounts in AMOUNTS_S
        for amount_s in amounts
        for placed in ("word", "random")
    ]
    spans = _spans(targets, kinds, context.rng)
    tasks = [Task(target.heard, (spans[kind, i],), kind.filling) for kind in kinds for i, target in enumerate(targets)]
    # A cut can make the model loop. Twice what it wrote before is enough to see that it did more than lose a word.
    longest = max(len(target.heard.transcription.tokens) for target in targets)
    written = list(transcribe_cuts(context.model, tasks, context.rng, context.progress, 2 * longest + 4))
    rates: list[Rate] = []
    cases: tuple[Case, ...] = ()
    for n, kind in enumerate(kinds):
        part = slice(n * len(targets), (n + 1) * len(targets))
        outcomes = [
            _outcome(target, task.spans[0], text, after)
            for target, task, (text, after) in zip(targets, tasks[part], written[part], strict=True)
        ]
        rates.append(_rate(kind, outcomes))
        if n == 0:
            cases = tuple(_case(*one) for one in zip(targets, tasks[part], outcomes, strict=True))
    return Locality(
        corpus=context.corpus.name,
        n_clips=len(targets),
        n_silent=n_silent,
        timing=inputs.timing,
        rates=tuple(rates),
        cases=cases,
    )


def _targets(inputs: Chop.Inputs, context: Context) -> tuple[list[_Target], int]:
    """Clips at random in the corpus' order, with one of their words at random; and how many had none."""
    corpus, rng = context.corpus, context.rng
    n_clips = min(inputs.clips, len(corpus.clips))
    drawn = [corpus.clips[i] for i in sorted(rng.choice(len(corpus.clips), n_clips, replace=False).tolist())]
    targets: list[_Target] = []
    clips = iter(context.progress.track(drawn, "Listening", len(drawn)))
    for _ in range(0, len(drawn), BATCH_CLIPS):
        batch = list(itertools.islice(clips, BATCH_CLIPS))
        sounds = [context.audio(clip) for clip in batch]
        for clip, heard in zip(batch, hear(context.model, sounds, inputs.language), strict=True):
            alignment = context.corpus.alignment(clip) if inputs.timing == "alignment" else None
            words = _attended(heard) if inputs.timing == "attention" else _aligned(heard, alignment)
            if words:
                word, start_s, end_s = words[int(rng.integers(len(words)))]
                targets.append(_Target(clip, heard, word, start_s, end_s))
    return targets, len(drawn) - len(targets)


def _attended(heard: Heard) -> list[tuple[int, float, float]]:
    """The places of the words and their times, by cross-attention."""
    return [(i, word.start_s, word.end_s) for i, word in enumerate(heard.times) if normal(word.label)]


def _aligned(heard: Heard, alignment: Alignment | None) -> list[tuple[int, float, float]]:
    """The places of the words that the model hears as the corpus has them, and the corpus' times."""
    said = [word for word in (alignment.words if alignment else ()) if normal(word.label)]
    places = [i for i, _, _ in _attended(heard)]
    words: list[tuple[int, float, float]] = []
    at_said = at_heard = 0
    for pair in compare([word.label for word in said], [heard.times[i].label for i in places]):
        if pair.outcome == "kept":
            words.append((places[at_heard], said[at_said].start_s, said[at_said].end_s))
        at_said += pair.outcome != "invented"
        at_heard += pair.outcome != "removed"
    return words


def _spans(
    targets: Sequence[_Target], kinds: Sequence[_Kind], rng: np.random.Generator
) -> dict[tuple[_Kind, int], Span]:
    """Where each kind of cut falls in each clip. All fillings share their places, those at random too."""
    places: dict[tuple[str, float, str, int], Span] = {}
    for kind in kinds:
        for i, target in enumerate(targets):
            key = (kind.by, kind.amount_s, kind.placed, i)
            if key in places:
                continue
            on_word = _on_word(target, kind)
            length = on_word.stop - on_word.start
            if kind.placed == "random":
                start = int(rng.integers(max(target.heard.n_frames - length, 0) + 1))
                places[key] = span(start, start + length, "random")
            else:
                places[key] = on_word
    return {(kind, i): places[kind.by, kind.amount_s, kind.placed, i] for kind in kinds for i in range(len(targets))}


def _on_word(target: _Target, kind: _Kind) -> Span:
    """The cut on the word, within the clip's audio."""
    label = target.heard.times[target.word].label
    if kind.by == "margin":
        start_s, end_s = target.start_s - kind.amount_s, target.end_s + kind.amount_s
    else:
        middle_s = (target.start_s + target.end_s) / 2
        start_s, end_s = middle_s - kind.amount_s / 2, middle_s + kind.amount_s / 2
    found = span_of_time(start_s, end_s, label)
    stop = min(found.stop, target.heard.n_frames)
    return span(min(found.start, stop - 1), stop, label)


def _outcome(target: _Target, cut: Span, text: str, after: Sequence[str]) -> _Outcome:
    before = [word.label for word in target.heard.times]
    pairs = compare(before, after)
    exact = exactly_gone(before, after, {target.word})
    old = [pair for pair in pairs if pair.outcome != "invented"]
    at = sum(bool(normal(word)) for word in before[: target.word])
    kept = [pair.outcome == "kept" for pair in old]
    invented = len(old) < len(pairs)
    return _Outcome(
        width_s=cut.end_s - cut.start_s,
        exact=exact,
        gone=exact or not kept[at],
        others=exact or (not invented and all(kept[:at] + kept[at + 1 :])),
        unchanged=all(kept) and not invented,
        text=text,
    )


def _rate(kind: _Kind, outcomes: Sequence[_Outcome]) -> Rate:
    n = len(outcomes)
    exact, gone = sum(one.exact for one in outcomes), sum(one.gone for one in outcomes)
    (low, high), (gone_low, gone_high) = wilson(exact, n), wilson(gone, n)
    return Rate(
        filling=kind.filling,
        by=kind.by,
        amount_s=kind.amount_s,
        placed=kind.placed,
        width_s=float(np.mean([one.width_s for one in outcomes])),
        n=n,
        exact=exact / n,
        low=low,
        high=high,
        gone=gone / n,
        gone_low=gone_low,
        gone_high=gone_high,
        others=sum(one.others for one in outcomes) / n,
        unchanged=sum(one.unchanged for one in outcomes) / n,
    )


def _case(target: _Target, task: Task, outcome: _Outcome) -> Case:
    return Case(
        clip=target.clip.id,
        word=target.heard.times[target.word].label,
        start_s=task.spans[0].start_s,
        end_s=task.spans[0].end_s,
        before=target.heard.transcription.text,
        after=outcome.text,
        exact=outcome.exact,
    )
