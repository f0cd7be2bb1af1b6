"""At which moments a layer of the encoder changes most.

Question: where in the corpus does the residual stream after a block turn into something else most quickly?

Formula: at each frame of 20 ms, the root mean square of what has changed since the frame before, over the `d_model`
units of the site `encoder.blocks.LAYER`. The peak of a clip is the highest of its frames.

How it can mislead: whatever is heard, the stream is large and restless in the first frames of a window, so the first
0.1 s of a clip are left out; and it grows from block to block, so compare clips within a layer, and not layers with
each other. A sudden sound changes everything: a peak says that something begins, not that the layer knows what.

Example: `wspy analyze hello --layer 2`, or `wspy.analyze("hello", layer=2)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

import wspy
from wspy.errors import OutOfRange
from wspy.fields import Count, Layer

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

EDGE_FRAMES = 5
"""Frames of 20 ms at the start of a window that are left out."""


class Peak(BaseModel):
    """The strongest moment of one clip."""

    clip: str = Field(description="Id of the clip.")
    text: str | None = Field(description="What is said in it; null where nobody knows.")
    change: float = Field(description="Root mean square of the change at the peak, in the site's own units.")
    at_s: float = Field(description="When, in seconds from the clip's start.")
    sound: wspy.Media = Field(description="The clip, as WAV.")


class Hello(wspy.Analysis["Hello.Inputs", "Hello.Result"]):
    """The clips in which a layer changes most, to look at and to listen to."""

    api = 1
    name = "hello"
    summary = "At which moments a layer of the encoder changes most."

    class Inputs(wspy.Inputs):
        layer: Layer = Field(0, description="Block of the encoder, counted from 0.")
        clips: Count = Field(20, description="How many clips to hear, spread evenly over the corpus.")
        top: Count = Field(3, le=20, description="How many of the strongest to show, 1 to 20.")

    class Result(wspy.Result):
        site: str = Field(description="Module path of the activations.")
        n_heard: int = Field(description="Clips that were heard.")
        peaks: tuple[Peak, ...] = Field(description="The strongest clips, strongest first.")
        curves: wspy.Media = Field(description="Change at each frame, by the path of a peak's sound (.npz).")

    def run(self, inputs: Hello.Inputs, context: wspy.Context) -> Hello.Result:
        import numpy as np  # heavy libraries are imported here, so that `wspy --help` stays quick

        from wspy.audio import frame_to_s

        n_layers = context.reference.dims.n_audio_layer
        if inputs.layer >= n_layers:  # what cannot be answered is refused, with what can
            raise OutOfRange("Layer", inputs.layer, 0, n_layers - 1, context.reference.name)
        site, clips = f"encoder.blocks.{inputs.layer}", context.corpus.clips
        chosen = [clips[at] for at in np.linspace(0, len(clips) - 1, min(inputs.clips, len(clips))).astype(int)]
        heard = {}
        for clip in context.progress.track(chosen, "Listening to clips"):
            heard[clip] = changes(context.model, site, context.audio(clip))
        strongest = sorted(heard, key=lambda clip: -float(heard[clip].max()))[: inputs.top]
        peaks, curves = [], {}
        for number, clip in enumerate(strongest, 1):
            sound, frame = context.save(f"clips/{number}.wav", context.audio(clip)), int(heard[clip].argmax())
            change, text = float(heard[clip][frame]), context.corpus.text(clip)
            peaks.append(Peak(clip=clip.id, text=text, change=change, at_s=frame_to_s(frame), sound=sound))
            curves[sound.path] = heard[clip]
        kept = context.save("curves.npz", curves)
        return Hello.Result(site=site, n_heard=len(chosen), peaks=tuple(peaks), curves=kept)

    def view(self, result: Hello.Result) -> list[wspy.Block]:
        import numpy as np

        from wspy.audio import FRAME_S
        from wspy.figures import Curve, bars, curves

        columns = (
            wspy.Column(name="clip"),
            wspy.Column(name="change", description="Root mean square over the units, since the frame before."),
            wspy.Column(name="at", unit="s"),
            wspy.Column(name="text"),
        )
        rows = tuple((peak.clip, peak.change, peak.at_s, peak.text) for peak in result.peaks)
        ids, strengths = [peak.clip for peak in result.peaks], [peak.change for peak in result.peaks]
        blocks: list[wspy.Block] = [
            wspy.Text(markdown=f"`{result.site}` at its most restless in {result.n_heard} clips."),
            wspy.Table(title="Strongest clips", columns=columns, rows=rows),
            bars("Peaks", ids, strengths, x_title="change", y_title="clip"),
        ]
        with np.load(result.file(result.curves)) as stored:
            for peak in result.peaks:
                change = stored[peak.sound.path]
                line = Curve(result.site, (FRAME_S * np.arange(len(change))).tolist(), change.tolist())
                # Its x axis is the sound's own time, so a cursor runs along it while the sound plays.
                picture = curves(f"Layer over {peak.clip}", [line], x_title="time (s)", y_title="change")
                title = f"{peak.clip}, strongest at {peak.at_s:.2f} s"
                blocks.append(wspy.Audio(title=title, path=peak.sound.path, figure=picture))
        return blocks


def changes(model: wspy.Model, site: str, samples: Float32[np.ndarray, " sample"]) -> Float32[np.ndarray, " frame"]:
    """How much a site has changed since the frame before, at each frame of the clip; what is padding is left out."""
    import torch

    from wspy.audio import log_mel, n_frames
    from wspy.model import encode

    mel = torch.from_numpy(log_mel(samples, n_mels=model.dims.n_mels))
    with torch.inference_mode(), wspy.capture(model, site) as cache:
        encode(model, mel[None], stop_after=site)  # what lies deeper is not computed
    heard = cache[site][0, : n_frames(len(samples))]  # frame d_model
    steps = heard.diff(dim=0, prepend=heard[:1])
    rms: Float32[np.ndarray, " frame"] = steps.pow(2).mean(dim=-1).sqrt().cpu().numpy()
    rms[:EDGE_FRAMES] = 0
    return rms


@wspy.hookimpl
def register_analyses(register: Callable[[type[wspy.AnyAnalysis]], None]) -> None:
    register(Hello)
