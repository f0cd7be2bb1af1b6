"""Claims 2.1 to 2.3, and the one in the comments about heads: where the encoder looks, and how local words are."""

from __future__ import annotations

from typing import Any

import numpy as np
import plan
import shelf
from shelf import Found, Numbers, interval, percent

from wspy.blocks import Figure
from wspy.figures import MAGMA, Axis, Curve, curves, heatmap, typed
from wspy.model import word_errors

CELL = 15  # frames to a cell of a map
DARK_TO_LIGHT = 0.3  # the power by which small values of a map are made visible
WITHIN = 25  # frames: half a second
LOST = 0.5  # words that differ, per word, from which on a transcript is lost
NAMES = {"tiny.en": "tiny", "base": "base"}


# --- 2.1 where the encoder looks --------------------------------------------------------------------------


def rollout(model: str, name: str) -> Numbers:
    """How near the relevance lies, and how much of the padding's goes to the last second, over four recordings."""
    speech = [shelf.result(f"rollout-{key}-{model}") for key in ("jfk", *plan.READ_SENTENCES)]
    rain = shelf.result(f"rollout-noise-{model}")
    numbers: Numbers = {}
    for frames in (10, 25, 50):
        numbers[f"rollout.{name}.within{frames}"] = _share([_near(found, frames, "relevance") for found in speech])
        numbers[f"rollout.{name}.even{frames}"] = _share([_near(found, frames, "even") for found in speech])
        numbers[f"rollout.{name}.rain{frames}"] = percent(_near(rain, frames, "relevance"), 1)
        numbers[f"rollout.{name}.rain_even{frames}"] = percent(_near(rain, frames, "even"), 1)
    for of in ("audio", "speech"):
        numbers[f"rollout.{name}.corner_{of}"] = _share([_end(found, of, "relevance") for found in speech])
        numbers[f"rollout.{name}.corner_even"] = _share([_end(found, of, "uniform") for found in speech])
    numbers[f"rollout.{name}.rain_corner"] = percent(_end(rain, "audio", "relevance"), 1)
    return numbers


def _share(values: list[float]) -> str:
    """The mean over recordings, and from where to where they go."""
    low, high = min(values), max(values)
    spread = "" if round(100 * low, 1) == round(100 * high, 1) else f" ({100 * low:.1f} to {100 * high:.1f})"
    return f"{100 * np.mean(values):.1f} %{spread}"


def _near(found: Found, frames: int, what: str) -> float:
    (reach,) = (reach for reach in found.reach if reach.frames == frames)
    return float(getattr(reach, what))


def _end(found: Found, of: str, what: str) -> float:
    (ending,) = (ending for ending in found.endings if ending.of == of)
    return float(getattr(ending, what))


def maps() -> None:
    """The relevance maps of one recording in both models, and of rain."""
    shown = (("jfk-tiny.en", "tiny.en, speech"), ("jfk-base", "base, speech"), ("noise-tiny.en", "tiny.en, rain"))
    shelf.keep_figures("rollout-maps", *(_map(shelf.result(f"rollout-{key}"), title) for key, title in shown))


def _map(found: Found, title: str) -> Figure:
    """Each cell the largest of its frames, small values made visible; the dotted lines are the end of the audio."""
    with np.load(found.file(found.arrays)) as arrays:
        relevance = np.nan_to_num(arrays["map"].astype(np.float32))
    blocks = relevance.reshape(relevance.shape[0] // CELL, CELL, relevance.shape[1] // CELL, CELL).max(axis=(1, 3))
    levels = np.round(255 * (np.clip(blocks, 0, None) / blocks.max()) ** DARK_TO_LIGHT).astype(np.uint8)
    step = CELL / 50
    end = found.duration_s
    line = {"type": "line", "line": {"color": "#ffffff", "width": 1, "dash": "dot"}, "opacity": 0.7}
    spec: Any = {
        "data": [
            {"type": "heatmap", "z": typed(levels), "x0": step / 2, "dx": step, "y0": step / 2, "dy": step,
             "showscale": False, "colorscale": [[i / (len(MAGMA) - 1), color] for i, color in enumerate(MAGMA)],
             "hovertemplate": "%{y:.1f} s looks at %{x:.1f} s<extra></extra>"},
        ],
        "layout": {
            "height": 330, "margin": {"l": 46, "r": 6, "t": 6, "b": 42}, "font": {"size": 11},
            "xaxis": {"title": {"text": "looked at (s)", "standoff": 4}, "showgrid": False, "constrain": "domain"},
            "yaxis": {"title": {"text": "looks (s)", "standoff": 4}, "autorange": "reversed", "showgrid": False,
                      "scaleanchor": "x", "constrain": "domain"},
            "shapes": [{**line, "x0": end, "x1": end, "y0": 0, "y1": 30},
                       {**line, "x0": 0, "x1": 30, "y0": end, "y1": end}],
        },
    }  # fmt: skip
    return Figure(title=title, spec=spec)


# --- 2.2 a window over attention --------------------------------------------------------------------------


def window(model: str, name: str) -> Numbers:
    """What each window costs the transcript."""
    found = shelf.result(f"window-{model}")
    numbers: Numbers = {
        f"window.{name}.text": f"{found.text_wer:.3f}",
        f"window.{name}.words": str(found.n_words),
        f"window.{name}.clips": str(len(found.clips)),
    }
    for at, masked in enumerate(found.windows):
        place = f"window.{name}.k{masked.k}"
        errors = [word_errors(clip.unmasked.text, clip.masked[at].text, clip.language) for clip in found.clips]
        numbers[f"{place}.lost"] = str(sum(one.n_errors > LOST * one.n_words for one in errors))
        numbers[f"{place}.wer"] = f"{masked.wer:.3f}"
        numbers[f"{place}.interval"] = interval(masked.wer_low, masked.wer_high)
        numbers[f"{place}.text"] = f"{masked.text_wer:.3f}"
    return numbers


def window_figure() -> None:
    """A curve of errors for each model; those beyond one a word are drawn at one."""
    figure = curves(
        "Word errors against the window",
        [_curve(model) for model in plan.MODELS],
        x_title="frames of 20 ms that each frame sees on either side (k)",
        y_title="words that differ, per word",
        log_x=True,
        x_labels=[(10, "10"), (20, "20"), (50, "50"), (75, "75"), (100, "100")],
        caption="Against each model's own transcript without a window; bands are 95 % over clips. Drawn up to one.",
    )
    shelf.keep_figures("window", figure)


def _curve(model: str) -> Curve:
    masked = sorted(shelf.result(f"window-{model}").windows, key=lambda each: each.k)
    return Curve(
        model,
        [each.k for each in masked],
        [min(each.wer, 1.0) for each in masked],
        [min(each.wer_low, 1.0) for each in masked],
        [min(each.wer_high, 1.0) for each in masked],
    )


# --- the comments: heads ----------------------------------------------------------------------------------


def heads(model: str, name: str) -> Numbers:
    """How many heads of each layer bear a window of ten frames by themselves."""
    found = shelf.result(f"heads-{model}").encoder
    layers = sorted({head.layer for head in found.heads})
    harmless = [sum(head.effect == "harmless" for head in found.heads if head.layer == layer) for layer in layers]
    per_layer = sum(head.layer == 0 for head in found.heads)
    together = {group.name: group for group in found.together}
    numbers = {
        f"heads.{name}.harmless": str(sum(harmless)),
        f"heads.{name}.all": str(len(found.heads)),
        f"heads.{name}.layers": ", ".join(map(str, harmless)),
        f"heads.{name}.per_layer": str(per_layer),
        f"heads.{name}.needed": str(sum(head.effect == "needed" for head in found.heads)),
        f"heads.{name}.undecided": str(sum(head.effect == "undecided" for head in found.heads)),
        f"heads.{name}.near": str(sum(head.verdict.startswith("near") for head in found.heads)),
        f"heads.{name}.words": str(found.n_words),
    }
    for group, key in zip(together, ("together", "others", "every"), strict=False):
        numbers[f"heads.{name}.{key}"] = f"{together[group].wer:.3f}"
        numbers[f"heads.{name}.{key}_n"] = str(len(together[group].heads))
    return numbers


def heads_figure(model: str) -> None:
    """Layers by heads: the words that masking one head costs, and how near it looks."""
    found = shelf.result(f"heads-{model}").encoder
    layers, numbers = sorted({head.layer for head in found.heads}), sorted({head.head for head in found.heads})
    heads = {(head.layer, head.head): head for head in found.heads}
    wer = np.array([[heads[layer, number].wer for number in numbers] for layer in layers])
    near = np.array(
        [
            [next(mass.share for mass in heads[layer, number].reach.mass if mass.k == found.k) for number in numbers]
            for layer in layers
        ]
    )
    pictures = [
        heatmap(
            title,
            values,
            x=Axis("head", [str(number) for number in numbers]),
            y=Axis("layer", [str(layer) for layer in layers]),
            value=value,
            low=0.0,
        )
        for title, values, value in (
            (f"Word errors with one head masked to {found.k} frames", wer, "WER"),
            (f"Share of attention within {found.k} frames", near, "share"),
        )
    ]
    shelf.keep_figures("heads", *pictures)


# --- 2.3 words cut out ------------------------------------------------------------------------------------


def chop(model: str, name: str) -> Numbers:
    """How often exactly the word goes, next to cuts of the same width at random."""
    found = shelf.result(f"chop-{model}").locality
    numbers: Numbers = {f"chop.{name}.n": str(found.n_clips)}
    for rate in found.rates:
        if rate.by != "margin" or rate.filling != "padding":
            continue
        place = f"chop.{name}.m{round(1000 * rate.amount_s)}.{rate.placed}"
        numbers[f"{place}.exact"] = f"{percent(rate.exact)} ({100 * rate.low:.0f} to {100 * rate.high:.0f})"
        if rate.placed == "word":
            numbers[f"{place}.gone"] = percent(rate.gone)
            numbers[f"{place}.others"] = percent(rate.others)
    return numbers


def one_sentence(model: str, name: str) -> Numbers:
    """In one recording, each word in turn: how often exactly the word goes, and how often nothing changes."""
    cuts = shelf.result(f"chop-jfk-{model}").recording.cuts
    return {
        f"chop.{name}.jfk_exact": str(sum(bool(cut.exact) for cut in cuts)),
        f"chop.{name}.jfk_n": str(len(cuts)),
        f"chop.{name}.jfk_same": str(sum(all(pair.outcome == "kept" for pair in cut.pairs) for cut in cuts)),
    }


def sentence() -> None:
    """The sentence whose words can be pressed, with what each model writes without them."""
    models: dict[str, object] = {}
    for model in plan.MODELS:
        found = shelf.result(f"chop-jfk-{model}").recording
        cuts = [
            {"pairs": [[p.outcome, p.before, p.after] for p in cut.pairs], "said": _said(cut)} for cut in found.cuts
        ]
        exact = [at for at, cut in enumerate(found.cuts) if cut.exact]
        models[model] = {"words": [word.label for word in found.words], "cuts": cuts, "first": exact[0] if exact else 0}
    some = shelf.result("chop-jfk-tiny.en").recording
    file = shelf.keep_sound(shelf.result("chop-jfk-tiny.en").file(some.audio), "jfk")
    credit = "John F. Kennedy, inaugural address, 1961 (public domain); openai-whisper is tested with it."
    shelf.keep("chop-sentence", "cut", file=file, models=models, credit=credit)


def _said(cut: Found) -> str:
    outcomes = [pair.outcome for pair in cut.pairs]
    span = cut.spans[0]
    frames = f"Frames {span.start} to {span.stop} ({span.start_s:.2f} to {span.end_s:.2f} s). "
    if cut.exact:
        return frames + "Exactly this word is gone."
    if all(outcome == "kept" for outcome in outcomes):
        return frames + "Nothing changes: the frames beside it know enough."
    parts = [f"{outcomes.count(what)} {what}" for what in ("removed", "changed", "invented") if what in outcomes]
    return frames + "Words: " + ", ".join(parts) + "."
