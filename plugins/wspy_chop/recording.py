"""Cuts in one recording: by frames, by seconds, by word, or each word in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wspy.audio import FRAMES_PER_SECOND, log_mel, require_window
from wspy.errors import BadCut, EmptyCut, NothingHeard, WordNotHeard
from wspy_chop import Chop, Cut, Recording, Span
from wspy_chop.chop import Heard, Task, fillings, hear, span, span_of_time, transcribe_cuts
from wspy_chop.compare import compare, exactly_gone, find_words, normal

if TYPE_CHECKING:
    from wspy.analysis import Context

EDGES = ".,;:!?\"'()[]-–—…“”‘’"

Planned = tuple[str, tuple[Span, ...], frozenset[int]]
"""What is cut, where, and which words that means; no words where it was given by frames."""


def cut_recording(inputs: Chop.Inputs, context: Context) -> Recording:
    """Transcribe the recording before and after each cut."""
    assert inputs.audio is not None
    by_time = _asked_span(inputs)
    samples = context.audio(inputs.audio)
    require_window(samples, what=inputs.audio.name)
    heard = hear(context.model, [samples], inputs.language)[0]
    words = [word.label for word in heard.times]
    planned = [(by_time.label, (by_time,), frozenset[int]())] if by_time else _by_word(inputs, heard)
    tasks = [Task(heard, spans, filling) for _, spans, _ in planned for filling in fillings(inputs.filling)]
    cuts: list[Cut] = []
    written = transcribe_cuts(context.model, tasks, context.rng, context.progress)
    labels = [(label, targets) for label, _, targets in planned for _ in fillings(inputs.filling)]
    for task, (label, targets), (text, after) in zip(tasks, labels, written, strict=True):
        exact = exactly_gone(words, after, targets) if targets else None
        pairs = compare(words, after)
        cuts.append(Cut(label=label, filling=task.filling, spans=task.spans, text=text, pairs=pairs, exact=exact))
    return Recording(
        name=inputs.audio.name,
        duration_s=round(heard.duration_s, 3),
        language=heard.transcription.language,
        text=heard.transcription.text,
        words=tuple(span_of_time(word.start_s, word.end_s, word.label) for word in heard.times),
        cuts=tuple(cuts),
        audio=context.save("recording.wav", samples),
        picture=context.save("recording.npz", {"mel": log_mel(samples, window_s=None)}),
    )


def _asked_span(inputs: Chop.Inputs) -> Span | None:
    """The cut given by frames or seconds, if one is.

    Raises:
        BadCut: two ways at once, or half of one.
        EmptyCut: the stop is not after the start.
    """
    frames = (inputs.start, inputs.stop) != (None, None)
    seconds = (inputs.start_s, inputs.stop_s) != (None, None)
    if frames + seconds + (inputs.word is not None) > 1:
        raise BadCut("A cut is given in several ways")
    if inputs.word is not None and not normal(inputs.word):
        raise BadCut("The word to cut is empty")
    if inputs.occurrence is not None and inputs.word is None:
        raise BadCut("An occurrence is given without a word")
    if not (frames or seconds):
        return None
    if inputs.margin_s:
        raise BadCut("A margin is given, which only words have")
    if frames:
        if inputs.start is None or inputs.stop is None:
            raise BadCut("Only one of start and stop is given")
        if inputs.stop <= inputs.start:
            raise EmptyCut(f"frame {inputs.start}", f"frame {inputs.stop}")
        return span(inputs.start, inputs.stop, f"frames {inputs.start} to {inputs.stop}")
    if inputs.start_s is None or inputs.stop_s is None:
        raise BadCut("Only one of start-s and stop-s is given")
    start, stop = round(inputs.start_s * FRAMES_PER_SECOND), round(inputs.stop_s * FRAMES_PER_SECOND)
    if stop <= start:
        raise EmptyCut(f"{inputs.start_s:g} s", f"{inputs.stop_s:g} s")
    return span(start, stop, f"{inputs.start_s:g} to {inputs.stop_s:g} s")


def _by_word(inputs: Chop.Inputs, heard: Heard) -> list[Planned]:
    """The cuts that words ask for: some occurrences of one at once, or each word in turn."""
    times = heard.times
    words = [word.label for word in times]
    if inputs.word is None:
        if not any(map(normal, words)):
            raise NothingHeard("this recording")
        places = [range(i, i + 1) for i, word in enumerate(words) if normal(word)]
        return [(words[place[0]], (_span(heard, place, inputs.margin_s),), frozenset(place)) for place in places]
    found = find_words(words, inputs.word)
    bare = [word.strip(EDGES) for word in words if normal(word)]
    if not found:
        raise WordNotHeard(inputs.word, bare)
    if inputs.occurrence is not None:
        if inputs.occurrence > len(found):
            raise WordNotHeard(inputs.word, bare, inputs.occurrence)
        found = [found[inputs.occurrence - 1]]
    label = f"'{inputs.word.strip()}'" + (f" ({len(found)} times)" if len(found) > 1 else "")
    spans = tuple(_span(heard, place, inputs.margin_s) for place in found)
    return [(label, spans, frozenset(i for place in found for i in place))]


def _span(heard: Heard, place: range, margin_s: float) -> Span:
    first, last = heard.times[place[0]], heard.times[place[-1]]
    label = " ".join(heard.times[i].label for i in place)
    return span_of_time(first.start_s - margin_s, last.end_s + margin_s, label)
