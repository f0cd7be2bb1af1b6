"""Claims 3.1 to 3.3: what the decoder knows of language."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import plan
import shelf
from shelf import Found, Numbers, percent

from wspy.blocks import Figure
from wspy.figures import BLUE, GREY, plain

SHOWN_PROMPTS = (" thank", " New", " traffic")
SHOWN_NEXT = 7
SHOWN_NEURONS = 8


# --- 3.1 bigrams ------------------------------------------------------------------------------------------


def bigrams(model: str, name: str) -> Numbers:
    """How often the second word of a fixed phrase is expected after its first, and after the first words of others."""
    found = shelf.result(f"bigrams-{model}")
    wanted = [f" {after}" for _, after in plan.PHRASES]
    ranks = np.array([[_rank(given, word) for word in wanted] for given in found.predictions])  # prompt x word
    own, other = np.diagonal(ranks), ranks[~np.eye(len(wanted), dtype=bool)]
    alone = np.array([_rank(found.unprompted, word) for word in wanted])
    first = [given.next[0].token.text for given in found.predictions]
    shelf.keep_figures(
        f"bigrams-{name}", *(_likely(given) for given in found.predictions if given.prompt in SHOWN_PROMPTS)
    )
    return {
        f"bigrams.{name}.n": str(len(own)),
        f"bigrams.{name}.first": str(int((own == 1).sum())),
        f"bigrams.{name}.ten": str(int((own <= 10).sum())),
        f"bigrams.{name}.other_first": percent(float((other == 1).mean()), 1),
        f"bigrams.{name}.other_ten": percent(float((other <= 10).mean()), 1),
        f"bigrams.{name}.alone_ten": str(int((alone <= 10).sum())),
        f"bigrams.{name}.missed": ", ".join(
            f"*{before}* {after}" + (f" (“{got.strip()}” comes first)" if got.strip() else "")
            for (before, after), rank, got in zip(plan.PHRASES, own, first, strict=True)
            if rank > 10
        )
        or "none",
    }


def _rank(given: Found, word: str) -> int:
    """1 for the most likely token; one more than were listed where it is not among them."""
    for at, after in enumerate(given.next, 1):
        if after.token.text == word:
            return at
    return len(given.next) + 1


def _likely(given: Found) -> Figure:
    """The likeliest tokens after a prompt, and how likely they are without it."""
    after = given.next[:SHOWN_NEXT]
    names = [plain(f"“{token.token.text}”") for token in after]
    bars = [
        ("after the prompt", [round(token.probability, 4) for token in after], BLUE),
        ("without a prompt", [round(token.unprompted, 4) for token in after], GREY),
    ]
    data: Any = [
        {"type": "bar", "orientation": "h", "name": name, "x": x, "y": names, "marker": {"color": color},
         "hovertemplate": f"%{{y}}, {name}: %{{x:.3f}}<extra></extra>"}
        for name, x, color in bars
    ]  # fmt: skip
    layout: Any = {
        "height": 300,
        "barmode": "group",
        "margin": {"l": 90, "r": 10, "t": 8, "b": 62},
        "font": {"size": 12},
        "xaxis": {"title": {"text": "probability"}, "rangemode": "tozero", "fixedrange": True},
        "yaxis": {"autorange": "reversed", "fixedrange": True, "automargin": True},
        "legend": {"orientation": "h", "y": -0.28, "x": 0},
    }
    return Figure(title=f"Silence, then “{given.prompt.strip()} …”", spec={"data": data, "layout": layout})


# --- 3.2 embeddings ---------------------------------------------------------------------------------------


def embeddings(model: str, name: str) -> Numbers:
    """How many of a word's neighbours sound like it, and how many mean the like, next to random pairs."""
    numbers: Numbers = {}
    for measure, key in (("cleaned", "embeddings"), ("cosine", "embeddings-cosine")):
        found = shelf.result(f"{key}-{model}")
        for limit in found.pairs.thresholds:
            place = f"embeddings.{name}.{measure}.{limit.name}"
            numbers[place] = percent(limit.nearest, 1)
            numbers[f"{place}.random"] = percent(limit.base, 1)
        rug = found.words[0].neighbours
        numbers[f"embeddings.{name}.{measure}.rug"] = ", ".join(f"*{other.text.strip()}*" for other in rug[:10])
        for word in found.words:
            kinds = [other.kind for other in word.neighbours]
            sound, meaning = (sum(kind in each for each in kinds) for kind in ("sound", "mean"))
            counts = f"{sound} sound alike, {meaning} mean alike, {kinds.count('both')} do both"
            numbers[f"embeddings.{name}.{measure}.kinds.{word.text.strip()}"] = counts
    return numbers


def embedding_map(model: str) -> None:
    """The map, as the analysis draws it."""
    shelf.keep_figures("embeddings-map", shelf.figure(f"embeddings-{model}", "Map of"), height=620)


# --- 3.3 neurons of the decoder ---------------------------------------------------------------------------


def semantic(model: str, name: str) -> Numbers:
    """Of all neurons of the decoder's first block: how many have top words alike in meaning, and which."""
    found = shelf.result(f"semantic-layer-{model}")
    numbers: Numbers = {f"semantic.{name}.words": f"{found.n_words:,}"}
    for which, counts in (("", found.counts), (".random", found.random_weights)):
        for count in counts:
            place = f"semantic.{name}.{count.measure}{which}"
            numbers[f"{place}.p05"] = percent(count.n_p05 / count.n, 1)
            numbers[f"{place}.found"] = f"{count.n_found:,} of {count.n:,}"
    numbers[f"semantic.{name}.only"] = str(vars(found.kinds).get("meaning", 0))
    clear = sorted(found.units, key=lambda unit: -(_gain(unit, "meaning") - _gain(unit, "sound")))
    numbers[f"semantic.{name}.table"] = "\n".join(_row(unit) for unit in clear[:SHOWN_NEURONS])
    return numbers


def _gain(unit: Found, measure: str) -> float:
    """How much more alike the top words are than random ones."""
    return float(next((each.top_words - each.random_words for each in unit.alike if each.measure == measure), 0.0))


def _row(unit: Found) -> str:
    words = ", ".join(html.escape(word) for word in unit.words[:10])
    p = {each.measure: f"{each.p:.4f}" for each in unit.alike}
    return f"| {unit.idx} | {words} | {p.get('meaning', '')} | {p.get('sound', '')} |"
