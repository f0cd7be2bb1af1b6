"""How loud the clips of a corpus are.

Question: which clips are loudest, and by how much?

Method: the level of a clip is 20 log10 of the root mean square of its samples, in dB relative to full scale.

How it can mislead: silence around the speech lowers the level of a clip, however loud the speech is.

Example: `wspy analyze level --top 5`.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

import wspy
from wspy.fields import Count

QUIETEST_DBFS = -120.0


class Level(wspy.Analysis["Level.Inputs", "Level.Result"]):
    """The loudest clips, with audio."""

    api = 1
    name = "level"
    summary = "How loud the clips of a corpus are."

    class Inputs(wspy.Inputs):
        top: Count = Field(5, description="How many of the loudest clips to show.")

    class Result(wspy.Result):
        clips: tuple[str, ...] = Field(description="Ids of the loudest clips, loudest first.")
        levels_dbfs: tuple[float, ...] = Field(description="Their levels in dB relative to full scale.")
        loudest: wspy.Media = Field(description="Sound of the loudest clip.")

    def run(self, inputs: Level.Inputs, context: wspy.Context) -> Level.Result:
        import numpy as np  # heavy libraries are imported here, so that `wspy --help` stays fast

        levels = {}
        for clip in context.progress.track(context.corpus.clips, "Measuring clips"):
            rms = float(np.sqrt(np.mean(context.audio(clip).astype(np.float64) ** 2)))
            levels[clip] = 20 * np.log10(rms) if rms > 0 else QUIETEST_DBFS
        loudest = sorted(levels, key=lambda clip: -levels[clip])[: inputs.top]
        return Level.Result(
            clips=tuple(clip.id for clip in loudest),
            levels_dbfs=tuple(round(levels[clip], 2) for clip in loudest),
            loudest=context.save("loudest.wav", context.audio(loudest[0])),
        )

    def view(self, result: Level.Result) -> list[wspy.Block]:
        columns = (wspy.Column(name="clip"), wspy.Column(name="level", unit="dBFS", decimals=1))
        rows = tuple(zip(result.clips, result.levels_dbfs, strict=True))
        return [
            wspy.Table(title="Loudest clips", columns=columns, rows=rows),
            wspy.Audio(title=f"Loudest: {result.clips[0]}", path=result.loudest.path),
        ]


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Level)
