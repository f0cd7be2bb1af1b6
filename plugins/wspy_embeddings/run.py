"""From the embedding to neighbours, pairs, the map and the hardly trained tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wspy.errors import EmptyWord
from wspy.words import (
    flat_map,
    meaning_similarity,
    meaning_vectors,
    plain_word,
    pronunciations,
    require_words,
    sound_similarity,
    spelling_similarity,
)
from wspy_embeddings.explain import Explanation, Moments, mean_with_interval
from wspy_embeddings.glitch import describe_glitch
from wspy_embeddings.result import (
    EmbeddingsResult,
    Explained,
    Group,
    Kind,
    Map,
    Neighbour,
    Pairs,
    Regression,
    Threshold,
    WordResult,
)
from wspy_embeddings.tokens import Vocabulary, hardly_trained, read_vocabulary, whole_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float32, Int

    import wspy
    from wspy_embeddings import Embeddings

NAMES = ("sound", "meaning", "spelling")
LIMIT_WORDS = 3000  # whose pairs, 4.5 million, say from where on two words are alike
BLOCK_WORDS = 256  # compared with all others at once
PERCENTILE = 0.99
NEAREST = 10
GROUP_SIZE, GROUP_DENSITY = 10, 5  # of HDBSCAN
N_GROUPS, N_EXAMPLES, N_COMPARED = 15, 8, 60


@dataclass(frozen=True, eq=False)
class Space:
    """Unit vectors of all tokens of text, by each measure."""

    cosine: Float32[np.ndarray, "token d_model"]
    cleaned: Float32[np.ndarray, "token d_model"]
    first_direction: float

    def by(self, measure: str) -> Float32[np.ndarray, "token d_model"]:
        return self.cosine if measure == "cosine" else self.cleaned


def make_space(embeddings: Float32[np.ndarray, "token d_model"], candidates: Int[np.ndarray, " token"]) -> Space:
    """The rows as they are, and without the mean and the first principal direction of the candidates."""
    mean = embeddings[candidates].mean(axis=0, dtype=np.float64)
    centred = embeddings - mean
    variances, directions = np.linalg.eigh(centred[candidates].T @ centred[candidates])
    first = directions[:, -1]
    cleaned = centred - np.outer(centred @ first, first)
    return Space(_units(embeddings), _units(cleaned), float(variances[-1] / variances.sum()))


def _units(rows: np.ndarray) -> Float32[np.ndarray, "token d_model"]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Float32[np.ndarray, "token d_model"] = (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
    return units


def run(inputs: Embeddings.Inputs, context: wspy.Context) -> EmbeddingsResult:
    """Everything that the page shows.

    Raises:
        EmptyWord, NotOneToken: a word that has no embedding of its own.
        MissingExtra: a package of the extra `words` is not installed.
    """
    if not inputs.word:
        raise EmptyWord
    require_words("The embeddings analysis")
    vocabulary = read_vocabulary(context.model)
    queries = list(dict.fromkeys(vocabulary.find(word) for word in inputs.word))
    untrained = hardly_trained(vocabulary)
    trained = np.setdiff1d(np.arange(len(vocabulary.texts)), untrained.tokens)
    words = np.intersect1d(whole_words(vocabulary.texts), trained)
    candidates = words if inputs.vocabulary == "words" else trained
    space = make_space(vocabulary.embeddings, candidates)
    if inputs.keep_glitch:
        every = whole_words(vocabulary.texts) if inputs.vocabulary == "words" else range(len(vocabulary.texts))
        candidates = np.array(every)

    # One order of the words for both, so that a map of words shows the words that are compared.
    drawn = context.rng.permutation(words)
    pairs = compare_pairs(vocabulary, space, np.sort(drawn[: inputs.sample]), inputs.measure, context)
    found = [neighbours(space.by(inputs.measure), query, candidates, inputs.top) for query in queries]
    other = space.by("cleaned" if inputs.measure == "cosine" else "cosine")
    words_found = [
        WordResult(
            token=query,
            text=vocabulary.texts[query],
            hardly_trained=bool(query in untrained.tokens),
            group=None,
            neighbours=_described(vocabulary, query, tokens, similarity, pairs.thresholds),
            otherwise=tuple(vocabulary.texts[token] for token in neighbours(other, query, candidates, NEAREST)[0]),
        )
        for query, (tokens, similarity) in zip(queries, found, strict=True)
    ]
    drawn_map: Map | None = None
    if inputs.map:
        pool = context.rng.permutation(candidates) if len(candidates) > len(words) else drawn
        shown = np.unique(np.concatenate([np.sort(pool[: inputs.sample]), queries, *(tokens for tokens, _ in found)]))
        context.progress.note(f"Drawing a map of {len(shown):,} tokens.")
        drawn_map, group_of = _map(vocabulary, space.by(inputs.measure), shown, queries, pairs.thresholds, context)
        words_found = [word.model_copy(update={"group": group_of[word.token]}) for word in words_found]
    return EmbeddingsResult(
        model=context.model.name,
        measure=inputs.measure,
        vocabulary=inputs.vocabulary,
        n_text=len(vocabulary.texts),
        n_candidates=len(candidates),
        kept_glitch=inputs.keep_glitch,
        first_direction=space.first_direction,
        words=tuple(words_found),
        pairs=pairs,
        glitch=describe_glitch(vocabulary, untrained, inputs.glitch, context.rng),
        map=drawn_map,
    )


# --- pairs ------------------------------------------------------------------------------------------------


def compare_pairs(
    vocabulary: Vocabulary, space: Space, sample: Int[np.ndarray, " token"], measure: str, context: wspy.Context
) -> Pairs:
    """Every pair of the sample by sound, meaning, spelling and both cosines, some words against all at a time."""
    texts = [vocabulary.texts[token] for token in sample]
    units = {name: space.by(name)[sample] for name in ("cosine", "cleaned")}
    meaning = meaning_vectors(texts)

    def likeness(rows: Sequence[int], columns: Sequence[int]) -> tuple[Float32[np.ndarray, "query key"], ...]:
        some, others = [texts[at] for at in rows], [texts[at] for at in columns]
        means = meaning[rows] @ meaning[columns].T
        return sound_similarity(some, others), means, spelling_similarity(some, others)

    some = np.sort(context.rng.choice(len(sample), min(LIMIT_WORDS, len(sample)), replace=False)).tolist()
    upper = np.triu_indices(len(some), k=1)
    chosen = (units[measure][some] @ units[measure][some].T)[upper]
    alike = [values[upper] for values in likeness(some, some)]
    limits = [float(np.quantile(values, PERCENTILE)) for values in alike]

    moments = Moments(len(sample), len(units), len(NAMES), context.rng)
    near = np.empty((len(NAMES), len(sample)))
    firsts = range(0, len(sample), BLOCK_WORDS)
    every = range(len(sample))
    for first in context.progress.track(firsts, "Comparing words", len(firsts), "blocks"):
        rows = every[first : first + BLOCK_WORDS]
        cosines = {name: vectors[rows] @ vectors.T for name, vectors in units.items()}
        compared = likeness(rows, every)
        moments.add(first, [*cosines.values(), *compared])
        ranked = cosines[measure]
        ranked[np.arange(len(rows)), rows] = -2  # itself last
        nearest = np.argpartition(-ranked, NEAREST, axis=1)[:, :NEAREST]
        for n, (values, limit) in enumerate(zip(compared, limits, strict=True)):
            near[n, rows] = (np.take_along_axis(values, nearest, axis=1) >= limit).mean(axis=1)
    found = [mean_with_interval(shares, context.rng) for shares in near]
    return Pairs(
        n_words=len(sample),
        median=float(np.median(chosen)),
        p99=float(np.quantile(chosen, PERCENTILE)),
        thresholds=tuple(
            Threshold(
                name=name, value=limit, base=float((values >= limit).mean()), nearest=n.value, low=n.low, high=n.high
            )
            for name, limit, values, n in zip(NAMES, limits, alike, found, strict=True)
        ),
        regressions=tuple(
            _regression(name, explained) for name, explained in zip(units, moments.explanations(), strict=True)
        ),
    )


def _regression(measure: str, found: Explanation) -> Regression:
    parts = tuple(
        Explained(
            name=name,
            alone=alone.value,
            alone_low=alone.low,
            alone_high=alone.high,
            unique=unique.value,
            unique_low=unique.low,
            unique_high=unique.high,
        )
        for name, alone, unique in zip(NAMES, found.alone, found.unique, strict=True)
    )
    return Regression(measure=measure, r2=found.r2.value, low=found.r2.low, high=found.r2.high, parts=parts)


# --- neighbours -------------------------------------------------------------------------------------------


def neighbours(
    units: Float32[np.ndarray, "token d_model"],
    query: int,
    candidates: Int[np.ndarray, " token"],
    top: int,
) -> tuple[Int[np.ndarray, " token"], Float32[np.ndarray, " token"]]:
    """The candidates nearest to a token, without itself, and their cosines."""
    others = candidates[candidates != query]
    similarity = units[others] @ units[query]
    first = np.argsort(-similarity, kind="stable")[:top]
    return others[first], similarity[first]


def _described(
    vocabulary: Vocabulary,
    query: int,
    tokens: Int[np.ndarray, " token"],
    similarity: Float32[np.ndarray, " token"],
    thresholds: tuple[Threshold, ...],
) -> tuple[Neighbour, ...]:
    word, texts = vocabulary.texts[query], [vocabulary.texts[token] for token in tokens]
    sound, spelling = sound_similarity([word], texts)[0], spelling_similarity([word], texts)[0]
    known = ~np.isnan(sound)
    meaning = np.full(len(texts), np.nan)
    if known.any():
        meaning[known] = meaning_similarity([word], [text for text, yes in zip(texts, known, strict=True) if yes])[0]
    limits = {threshold.name: threshold.value for threshold in thresholds}
    return tuple(
        Neighbour(
            token=int(token),
            text=texts[at],
            similarity=float(similarity[at]),
            sound=float(sound[at]) if known[at] else None,
            meaning=float(meaning[at]) if known[at] else None,
            spelling=float(spelling[at]),
            kind="same word"
            if plain_word(texts[at]) == plain_word(word)
            else _kind(sound[at] >= limits["sound"], meaning[at] >= limits["meaning"])
            if known[at]
            else "no word",
        )
        for at, token in enumerate(tokens)
    )


def _kind(sounds: bool, means: bool) -> Kind:
    return ("both" if means else "sounds alike") if sounds else ("means alike" if means else "neither")


# --- the map ----------------------------------------------------------------------------------------------


def _map(
    vocabulary: Vocabulary,
    units: Float32[np.ndarray, "token d_model"],
    shown: Int[np.ndarray, " token"],
    queries: list[int],
    thresholds: tuple[Threshold, ...],
    context: wspy.Context,
) -> tuple[Map, dict[int, int | None]]:
    """The map of the tokens shown, and the group of each."""
    from sklearn.cluster import HDBSCAN

    places = flat_map(units[shown], context.seed)
    finder = HDBSCAN(min_cluster_size=GROUP_SIZE, min_samples=GROUP_DENSITY, cluster_selection_method="leaf", copy=True)
    labels = np.asarray(finder.fit(places).labels_, dtype=np.int32)
    texts = [vocabulary.texts[token] for token in shown]
    media = context.save(
        "map.npz",
        {"tokens": shown, "texts": np.array(texts, dtype=np.str_), "places": places, "groups": labels},
    )
    sizes = np.bincount(labels[labels >= 0])
    of_query = [int(label) for label in labels[np.searchsorted(shown, queries)] if label >= 0]
    listed = list(dict.fromkeys([*of_query, *np.argsort(-sizes, kind="stable")[:N_GROUPS].tolist()]))[:N_GROUPS]
    groups = tuple(_group(label, texts, units[shown], labels == label, thresholds) for label in listed)
    found = Map(
        media=media, n_tokens=len(shown), n_groups=len(sizes), n_grouped=int((labels >= 0).sum()), groups=groups
    )
    return found, {int(token): int(label) if label >= 0 else None for token, label in zip(shown, labels, strict=True)}


def _group(
    label: int,
    texts: list[str],
    units: Float32[np.ndarray, "token d_model"],
    within: np.ndarray,
    thresholds: tuple[Threshold, ...],
) -> Group:
    members = np.flatnonzero(within)
    nearest = members[np.argsort(-(units[members] @ units[members].mean(axis=0)), kind="stable")]
    words = [texts[at] for at in nearest if plain_word(texts[at]) in pronunciations()][:N_COMPARED]
    limits = {threshold.name: threshold.value for threshold in thresholds}
    sound = meaning = None
    if len(words) > 1:
        upper = np.triu_indices(len(words), k=1)
        sound = float((sound_similarity(words)[upper] >= limits["sound"]).mean())
        meaning = float((meaning_similarity(words)[upper] >= limits["meaning"]).mean())
    examples = tuple(texts[at] for at in nearest[:N_EXAMPLES])
    return Group(group=label, n_tokens=len(members), examples=examples, sound=sound, meaning=meaning)
