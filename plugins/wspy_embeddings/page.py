"""The page: neighbours first, then what makes words near, the map, and the hardly trained tokens."""

from __future__ import annotations

from collections import Counter

import numpy as np

import wspy
from wspy.figures import bars, scatter
from wspy_embeddings.result import KINDS, EmbeddingsResult, Map, Neighbour, Regression, WordResult

MEASURES = {"cosine": "cosine", "cleaned": "cleaned cosine"}
N_GLITCH = 100
_NEIGHBOURS = (
    wspy.Column(name="#", description="Rank."),
    wspy.Column(name="token", description="The text in quotes: most begin with a space."),
    wspy.Column(name="cosine", description="Of the embeddings, by the chosen measure.", decimals=3),
    wspy.Column(name="sound", description="1 - edit distance / longer length, in phones."),
    wspy.Column(name="meaning", description="Cosine by a model of written text."),
    wspy.Column(name="spelling", description="1 - edit distance / longer length, in letters."),
    wspy.Column(name="alike", description="Which of sound and meaning reach the 99th percentile of random pairs."),
)


def page(result: EmbeddingsResult) -> list[wspy.Block]:
    """Blocks in reading order."""
    blocks: list[wspy.Block] = [_summary(result)]
    blocks += [_neighbour_table(result, word) for word in result.words]
    if result.map:
        blocks.append(_map_figure(result, result.map))
    blocks += [_threshold_table(result), _regression_table(result)]
    blocks += [_regression_figure(result, found) for found in result.pairs.regressions]
    if result.map:
        blocks.append(_group_table(result.map))
    blocks.append(_glitch_text(result))
    if result.glitch.listed:
        blocks += [_sign_table(result), _glitch_table(result)]
    return blocks


def quoted(text: str) -> str:
    """A token between quotes, so that its space shows."""
    return f"“{text}”"


def _summary(result: EmbeddingsResult) -> wspy.Text:
    what = "English words" if result.vocabulary == "words" else "tokens of text"
    pairs = result.pairs
    left_out = "were kept" if result.kept_glitch else "are left out"
    lines = [
        f"# Token embedding of {result.model}",
        f"Neighbours are looked for among {result.n_candidates:,} {what} of {result.n_text:,} tokens, by the "
        f"{MEASURES[result.measure]}; the {result.glitch.n_tokens:,} hardly trained tokens {left_out}. Random pairs "
        f"of words have a cosine of {pairs.median:.3f} in the middle, and 1 in 100 is above {pairs.p99:.3f}.",
    ]
    for word in result.words:
        counts = Counter(neighbour.kind for neighbour in word.neighbours)
        listed = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])
        lines.append(f"**{quoted(word.text)}**, nearest {len(word.neighbours)}: {listed}.")
        other = MEASURES["cleaned" if result.measure == "cosine" else "cosine"]
        lines.append(
            f"By {other}, its nearest are {', '.join(text.strip() or quoted(text) for text in word.otherwise)}."
        )
        if word.hardly_trained:
            lines.append(f"{quoted(word.text)} is itself **hardly trained**, so its neighbours say nothing.")
    return wspy.Text(markdown="\n\n".join(lines))


def _neighbour_table(result: EmbeddingsResult, word: WordResult) -> wspy.Table:
    return wspy.Table(
        title=f"Nearest to {quoted(word.text)}",
        columns=_NEIGHBOURS,
        rows=tuple(
            (rank, quoted(n.text), n.similarity, n.sound, n.meaning, n.spelling, n.kind)
            for rank, n in enumerate(word.neighbours, 1)
        ),
    )


def _map_figure(result: EmbeddingsResult, found: Map) -> wspy.Figure:
    with np.load(result.file(found.media)) as stored:
        tokens, texts, places, groups = (stored[name] for name in ("tokens", "texts", "places", "groups"))
    position = {int(token): at for at, token in enumerate(tokens)}
    highlights: dict[str, list[int]] = {"word": [position[word.token] for word in result.words]}
    near: dict[int, Neighbour] = {n.token: n for word in reversed(result.words) for n in word.neighbours}
    own = set(highlights["word"])
    for kind in KINDS:
        highlights[kind] = [position[n.token] for n in near.values() if n.kind == kind and position[n.token] not in own]
    return scatter(
        f"Map of {found.n_tokens:,} tokens",
        places[:, 0],
        places[:, 1],
        [quoted(str(text)) for text in texts],
        groups=[f"group {group}" if group >= 0 else None for group in groups],
        highlights=highlights,
        x_title="UMAP 1 (no unit)",
        y_title="UMAP 2 (no unit)",
        caption="Hover for a token; drag a box to zoom, double-click to go back. Only nearness means something.",
        height=680,
    )


def _threshold_table(result: EmbeddingsResult) -> wspy.Table:
    return wspy.Table(
        title=f"When two words are alike, among {result.pairs.n_words:,} words",
        columns=(
            wspy.Column(name="alike in"),
            wspy.Column(name="from", description="The 99th percentile over all pairs of the words.", decimals=3),
            wspy.Column(name="random", unit="%", description="Of random pairs that reach it.", decimals=1),
            wspy.Column(name="nearest", unit="%", description="Of the ten nearest of each of the words.", decimals=1),
            wspy.Column(name="low", unit="%", description="Lower end of the 95 % interval.", decimals=1),
            wspy.Column(name="high", unit="%", description="Upper end of the 95 % interval.", decimals=1),
        ),
        rows=tuple(
            (t.name, t.value, 100 * t.base, 100 * t.nearest, 100 * t.low, 100 * t.high) for t in result.pairs.thresholds
        ),
    )


def _regression_table(result: EmbeddingsResult) -> wspy.Table:
    def interval(low: float, high: float) -> str:
        return f"{100 * low:.1f} to {100 * high:.1f}"

    rows: list[tuple[wspy.blocks.Cell, ...]] = []
    for found in result.pairs.regressions:
        name = MEASURES[found.measure]
        rows += [
            (
                name,
                part.name,
                100 * part.alone,
                interval(part.alone_low, part.alone_high),
                100 * part.unique,
                interval(part.unique_low, part.unique_high),
            )
            for part in found.parts
        ]
        rows.append((name, "all three", 100 * found.r2, interval(found.low, found.high), None, None))
    return wspy.Table(
        title=f"How much of the cosine is explained, over all pairs of {result.pairs.n_words:,} words",
        columns=(
            wspy.Column(name="of"),
            wspy.Column(name="by"),
            wspy.Column(name="alone", unit="%", description="R² by itself.", decimals=1),
            wspy.Column(name="95 %", description="Interval, by a bootstrap over words."),
            wspy.Column(name="unique", unit="%", description="R² that it adds to the other two.", decimals=1),
            wspy.Column(name="95 % ", description="Interval, by a bootstrap over words."),
        ),
        rows=tuple(rows),
    )


def _regression_figure(result: EmbeddingsResult, found: Regression) -> wspy.Figure:
    parts = [(f"{part.name}, alone", part.alone, part.alone_low, part.alone_high) for part in found.parts]
    parts += [(f"{part.name}, unique", part.unique, part.unique_low, part.unique_high) for part in found.parts]
    return bars(
        f"Explained share of the {MEASURES[found.measure]}",
        [name for name, *_ in parts],
        [100 * value for _, value, _, _ in parts],
        lower=[100 * low for _, _, low, _ in parts],
        upper=[100 * high for *_, high in parts],
        x_title=f"R² of the {MEASURES[found.measure]} over pairs of words (%)",
        y_title="similarity",
        caption="Unique: what it adds to the other two. Whiskers: 95 % interval over words.",
    )


def _group_table(found: Map) -> wspy.Table:
    return wspy.Table(
        title=f"Groups on the map: {len(found.groups)} of {found.n_groups}, which hold {found.n_grouped:,} of "
        f"{found.n_tokens:,} tokens",
        columns=(
            wspy.Column(name="group", description="Those of the words first, then the largest."),
            wspy.Column(name="tokens"),
            wspy.Column(name="sound", unit="%", description="Pairs within it that sound alike.", decimals=0),
            wspy.Column(name="meaning", unit="%", description="Pairs within it that mean alike.", decimals=0),
            wspy.Column(name="nearest to its centre"),
        ),
        rows=tuple(
            (
                group.group,
                group.n_tokens,
                None if group.sound is None else 100 * group.sound,
                None if group.meaning is None else 100 * group.meaning,
                ", ".join(text.strip() or quoted(text) for text in group.examples),
            )
            for group in found.groups
        ),
    )


def _glitch_text(result: EmbeddingsResult) -> wspy.Text:
    found = result.glitch
    if not found.crowded:
        said = (
            "The thirteen tokens of single bytes that no text contains lie apart in this model, so there is no place "
            "where unused tokens are, and no token is counted as hardly trained."
        )
    else:
        said = (
            "The thirteen tokens of single bytes that no text contains lie at one place. Tokens nearer to it than "
            f"{found.limit:.3f}, a quarter of the median distance, count as hardly trained: {found.n_tokens:,}, of "
            f"which {found.n_words:,} begin with a space and are English words. The norm at that place is "
            f"{found.norm:.3f}, higher than that of {found.norm_rank:.1%} of the tokens."
        )
        if not found.listed:
            said += " `--glitch` lists them."
    return wspy.Text(markdown=f"## Hardly trained tokens\n\n{said}")


def _sign_table(result: EmbeddingsResult) -> wspy.Table:
    return wspy.Table(
        title="How well other signs would tell the hardly trained tokens",
        columns=(
            wspy.Column(name="sign", description="Distances are in medians of the distance to unused tokens."),
            wspy.Column(name="hardly trained", description="Median among them.", decimals=3),
            wspy.Column(name="others", description="Median among 2,000 others at random.", decimals=3),
            wspy.Column(
                name="AUROC",
                description="Chance that it is higher for one of them than for another; 0.5: tells nothing.",
                decimals=3,
            ),
        ),
        rows=tuple((sign.name, sign.hardly_trained, sign.others, sign.auroc) for sign in result.glitch.signs),
    )


def _glitch_table(result: EmbeddingsResult) -> wspy.Table:
    listed = result.glitch.listed
    shown = listed[:N_GLITCH]
    rest = f"; all {len(listed):,} are in result.json" if len(listed) > len(shown) else ""
    return wspy.Table(
        title=f"Hardly trained tokens, the most extreme first{rest}",
        columns=(
            wspy.Column(name="token", description="Place in the vocabulary."),
            wspy.Column(name="text", description="Bytes that are no whole character are shown as \\xNN."),
            wspy.Column(name="distance", description="To unused tokens, in median distances.", decimals=4),
            wspy.Column(name="norm", description="Length of its embedding.", decimals=3),
            wspy.Column(name="from the mean", description="Distance to the mean embedding, in medians.", decimals=3),
            wspy.Column(name="duplicates", description="Other tokens at practically the same place."),
        ),
        rows=tuple(
            (t.token, repr(t.text).replace("\\\\", "\\"), t.distance, t.norm, t.mean_distance, t.duplicates)
            for t in shown
        ),
    )
