"""What a person sees of a rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from wspy.audio import FRAME_S
from wspy.blocks import Audio, Block, Column, Figure, Table, Text
from wspy.figures import Axis, heatmap, spectrogram
from wspy_rollout.measure import mean_of
from wspy_rollout.result import RolloutResult, WordRelevance

if TYPE_CHECKING:
    from jaxtyping import Float

MOST_OVERLAYS = 20  # each is a spectrogram of the whole clip
CLOSE_FRAMES, CLOSE_MARGIN = 750, 50  # clips up to 15 s get a map of their own frames, and of a second beyond
_TARGETS = {
    "encoder": "the summed output of the encoder",
    "word": "the logits of one word",
    "words": "the logits of all words",
}


def page(result: RolloutResult) -> list[Block]:
    """Numbers first, then the sound, the map, and the words."""
    with np.load(result.file(result.arrays)) as stored:
        frames, plain, words, mel = (stored[name] for name in ("map", "rollout", "words", "mel"))
    blocks: list[Block] = [_summary(result), _reach_table(result)]
    if result.endings:
        blocks.append(_endings_table(result))
    if result.explained:
        blocks.append(_words_table(result))
    blocks.append(_sound(result, frames, mel))
    blocks += _maps(result, frames, plain)
    if len(result.explained) > 1:
        blocks.append(_words_map(result, words))
    shown = result.explained[:MOST_OVERLAYS]
    blocks += [_overlay(result, found, row, mel) for found, row in zip(shown, words, strict=False)]
    if len(result.explained) > MOST_OVERLAYS:
        rest = f"The first {MOST_OVERLAYS} words have a picture of their own; `words` in {result.arrays.path} has all."
        blocks.append(Text(markdown=rest))
    return blocks


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def _summary(result: RolloutResult) -> Text:
    lines = [
        f"# What {result.model} draws on in {result.audio}",
        f"Relevance for {_TARGETS[result.target]}. The audio ends at {result.duration_s:.2f} s (frame "
        f"{result.end_frame} of 1500); the rest of the window is padding.",
        f"Transcript: “{result.text}”" if result.text else "The model writes nothing for this audio.",
    ]
    if result.doubtful:
        lines.append(f"**This text may be made up (hallucinated)**: {result.doubtful}.")
    if result.reach[0].relevance is None:
        lines.append("**The map is empty**: no attention weight raises the target.")
    else:
        near = next(reach for reach in result.reach if reach.frames == 25)
        lines.append(
            f"Of what the audio's frames draw on by attention, {_percent(near.relevance)} lies within half a second "
            f"(25 frames); in a uniform map it would be {_percent(near.uniform)}, in one that is even over the audio "
            f"alone {_percent(near.even)}. {_percent(result.to_padding)} lies in the padding."
        )
    if result.endings and result.endings[0].relevance is not None:
        last = result.endings[0]
        lines.append(
            f"Of what the frames after the end draw on, {_percent(last.relevance)} lies in the last second of the "
            f"audio; in a uniform map {_percent(last.uniform)}."
        )
    if inside := mean_of([found.inside for found in result.explained]):
        chance = mean_of([found.chance for found in result.explained])
        on_average = ", on average," if len(result.explained) > 1 else ""
        lines.append(
            f"{_percent(inside)} of a word's relevance{on_average} lies within 0.2 s of the word; spread evenly over "
            f"the audio it would be {_percent(chance)}."
        )
    return Text(markdown="\n\n".join(lines))


def _percents(*shares: float | None) -> tuple[float | None, ...]:
    return tuple(None if share is None else 100 * share for share in shares)


def _share_columns(where: str) -> tuple[Column, ...]:
    return (
        Column(name="relevance", unit="%", description=f"Share of the relevance map's mass {where}.", decimals=1),
        Column(name="plain rollout", unit="%", description="Share of the plain rollout's mass.", decimals=1),
        Column(name="uniform", unit="%", description="Share in a map that is the same everywhere.", decimals=1),
    )


def _reach_table(result: RolloutResult) -> Table:
    return Table(
        title="How near the audio's frames look",
        columns=(
            Column(name="within", unit="frames", description="Distance to either side; a frame is 20 ms."),
            Column(name="seconds", unit="s", decimals=1),
            *_share_columns("within that distance, the identity left out"),
            Column(
                name="even", unit="%", description="Share in a map that is even over the audio's frames.", decimals=1
            ),
        ),
        rows=tuple(
            (
                reach.frames,
                reach.frames * FRAME_S,
                *_percents(reach.relevance, reach.rollout, reach.uniform, reach.even),
            )
            for reach in result.reach
        ),
    )


def _endings_table(result: RolloutResult) -> Table:
    return Table(
        title="Where the frames after the audio look",
        columns=(
            Column(name="last second of", description="The audio, or the speech by the model's own timing."),
            Column(name="from", unit="s"),
            Column(name="to", unit="s"),
            *_share_columns("in that second"),
        ),
        rows=tuple(
            (last.of, last.start_s, last.end_s, *_percents(last.relevance, last.rollout, last.uniform))
            for last in result.endings
        ),
    )


def _words_table(result: RolloutResult) -> Table:
    return Table(
        title="Which frames the words came from",
        columns=(
            Column(name="word"),
            Column(name="from", unit="s", description="Start of the word by the model's own timing."),
            Column(name="to", unit="s", description="Its end."),
            Column(name="peak", unit="s", description="The most relevant frame of the audio."),
            Column(name="half from", unit="s", description="Shortest stretch with half of the audio's relevance."),
            Column(name="half to", unit="s", description="Its end."),
            Column(name="inside", unit="%", description="Share of the relevance within 0.2 s of the word.", decimals=0),
            Column(name="chance", unit="%", description="The same, spread evenly over the audio.", decimals=0),
            Column(name="others", unit="%", description="The same, of the other words' relevance.", decimals=0),
            Column(name="padding", unit="%", description="Relevance after the audio's end.", decimals=0),
        ),
        rows=tuple(
            (
                _label(found),
                found.word.start_s,
                found.word.end_s,
                found.peak_s,
                found.half_from_s,
                found.half_to_s,
                *_percents(found.inside, found.chance, found.others, found.padding),
            )
            for found in result.explained
        ),
    )


def _label(found: WordRelevance) -> str:
    """The word, with the token that was explained where it was only one of several."""
    token = "".join(found.tokens).strip()
    return found.word.label if token == found.word.label else f"{found.word.label} ({token})"


# --- figures ----------------------------------------------------------------------------------------------


def _sound(result: RolloutResult, frames: Float[np.ndarray, "query key"], mel: Float[np.ndarray, "mel _"]) -> Audio:
    drawn = frames.sum(axis=0, dtype=np.float64)
    picture = spectrogram(
        "How much is drawn from each frame",
        mel,
        duration_s=result.duration_s,
        activation=drawn / max(float(drawn.max()), 1e-30),
        activation_label="drawn on",
        words=result.words,
    )
    caption = "Above: the column sums of the relevance map, largest = 1. Words by the model's own timing."
    return Audio(
        title="The audio, and what is drawn from each frame", path=result.sound.path, caption=caption, figure=picture
    )


def _maps(
    result: RolloutResult, frames: Float[np.ndarray, "query key"], plain: Float[np.ndarray, "query key"]
) -> list[Block]:
    """Both maps whole, and before them the audio's own corner, where it is small enough for the whole to hide it."""
    kinds = (
        ("Relevance between the frames", frames, "relevance, largest of the map = 1"),
        ("Plain rollout between the frames", plain, "attention, largest of the map = 1"),
    )
    blocks: list[Block] = []
    for title, values, value in kinds:
        if result.end_frame <= CLOSE_FRAMES:
            shown = min(result.end_frame + CLOSE_MARGIN, len(values))
            blocks.append(_map(f"{title}, the audio alone", values[:shown, :shown], result, value))
        blocks.append(_map(title, values, result, value))
    return blocks


def _map(title: str, values: Float[np.ndarray, "query key"], result: RolloutResult, value: str) -> Figure:
    drawn = heatmap(
        title,
        values / max(float(values.max()), 1e-30),
        x=Axis("looked at: time (s)", step=FRAME_S),
        y=Axis("looking: time (s)", step=FRAME_S),
        value=value,
        low=0.0,
        high=1.0,
        contrast=4.0,
        caption=f"Dotted: the audio's end, {result.duration_s:.2f} s. A line along the diagonal is a local encoder; an "
        "upright line is a moment that many frames draw on. Drag to zoom in, double-click to zoom out.",
    )
    if result.end_frame < len(values):
        _mark_end(drawn, result.end_frame * FRAME_S)
    return drawn


def _mark_end(figure: Figure, end_s: float) -> None:
    """Lines where the audio ends, along both axes: below and left of their crossing lies the post's corner."""
    layout = figure.spec["layout"]
    assert isinstance(layout, dict)  # as `heatmap` makes it
    line: JsonValue = {"color": "#56B4E9", "width": 1.2, "dash": "dot"}
    layout["shapes"] = [
        {"type": "line", "xref": "x", "yref": "paper", "x0": end_s, "x1": end_s, "y0": 0, "y1": 1, "line": line},
        {"type": "line", "xref": "paper", "yref": "y", "x0": 0, "x1": 1, "y0": end_s, "y1": end_s, "line": line},
    ]


def _words_map(result: RolloutResult, words: Float[np.ndarray, "word frame"]) -> Figure:
    own = words[:, : result.end_frame]
    return heatmap(
        "Words and the frames they came from",
        own / np.maximum(own.max(axis=1, keepdims=True), 1e-30),
        x=Axis("time (s)", step=FRAME_S),
        y=Axis("word", labels=[_label(found) for found in result.explained]),
        value="relevance, largest of the row = 1",
        low=0.0,
        high=1.0,
        contrast=2.0,
        caption="Words in the order of the transcript: a staircase means that each came from its own moment.",
    )


def _overlay(
    result: RolloutResult, found: WordRelevance, row: Float[np.ndarray, " frame"], mel: Float[np.ndarray, "mel _"]
) -> Figure:
    highest = float(row[: result.end_frame].max(initial=0))
    return spectrogram(
        f"“{_label(found)}”: the frames it came from",
        mel,
        duration_s=result.duration_s,
        activation=row / max(highest, 1e-30),
        activation_label="relevance",
        words=result.words,
        peak_s=found.peak_s,
        caption="Largest relevance = 1. The model itself hears the word from "
        f"{found.word.start_s:.2f} to {found.word.end_s:.2f} s.",
    )
