"""From the embedding to neighbours, pairs, the map and the hardly trained tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wspy.errors import EmptyWord
from wspy.words import (
    flat_map,
    meaning_similarity,
    plain_word,
    pronunciations,
    require_words,
    sound_similarity,
    spelling_similarity,
)
from wspy_embeddings.explain import Explanation, explain, mean_with_interval
from wspy_embeddings.result import (
    EmbeddingsResult,
    Explained,
    Glitch,
    GlitchToken,
    Group,
    Kind,
    Map,
    Neighbour,
    Pairs,
    Regression,
    Threshold,
    WordResult,
)
from wspy_embeddings.tokens import HardlyTrained, Vocabulary, hardly_trained, read_vocabulary, whole_words

if TYPE_CHECKING:
    from jaxtyping import Float32, Int

    import wspy
    from wspy_embeddings import Embeddings

NAMES = ("sound", "meaning", "spelling")
PAIR_WORDS = 3000  # all pairs of so many words: 4.5 million
PERCENTILE = 0.99
NEAREST = 10
GROUP_SIZE, GROUP_DENSITY = 10, 5  # of HDBSCAN
N_GROUPS, N_EXAMPLES, N_COMPARED = 15, 8, 60
DUPLICATE = 0.05  # of the median distance


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

    # One order of the words for both, so that a map of words shows the words that are compared.
    drawn = context.rng.permutation(words)
    context.progress.note("Comparing words by sound, meaning and spelling.")
    pairs = compare_pairs(
        vocabulary, space, np.sort(drawn[: min(inputs.sample, PAIR_WORDS)]), inputs.measure, context.rng
    )
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
        pool = drawn if inputs.vocabulary == "words" else context.rng.permutation(candidates)
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
        first_direction=space.first_direction,
        words=tuple(words_found),
        pairs=pairs,
        glitch=_glitch(vocabulary, untrained, inputs.glitch),
        map=drawn_map,
    )


# --- pairs ------------------------------------------------------------------------------------------------


def compare_pairs(
    vocabulary: Vocabulary, space: Space, sample: Int[np.ndarray, " token"], measure: str, rng: np.random.Generator
) -> Pairs:
    """Every pair of the sample by sound, meaning, spelling and both cosines."""
    texts = [vocabulary.texts[token] for token in sample]
    likeness = (sound_similarity(texts), meaning_similarity(texts), spelling_similarity(texts))
    cosines = {name: space.by(name)[sample] @ space.by(name)[sample].T for name in ("cosine", "cleaned")}
    upper = np.triu_indices(len(sample), k=1)
    chosen = cosines[measure]
    ranked = chosen.copy()
    np.fill_diagonal(ranked, -2)
    nearest = np.argpartition(-ranked, NEAREST, axis=1)[:, :NEAREST]
    thresholds = []
    for name, values in zip(NAMES, likeness, strict=True):
        limit = float(np.quantile(values[upper], PERCENTILE))
        near = mean_with_interval((np.take_along_axis(values, nearest, axis=1) >= limit).mean(axis=1), rng)
        base = float((values[upper] >= limit).mean())
        thresholds.append(
            Threshold(name=name, value=limit, base=base, nearest=near.value, low=near.low, high=near.high)
        )
    explained = explain(list(cosines.values()), likeness, rng)
    return Pairs(
        n_words=len(sample),
        median=float(np.median(chosen[upper])),
        p99=float(np.quantile(chosen[upper], PERCENTILE)),
        thresholds=tuple(thresholds),
        regressions=tuple(_regression(name, found) for name, found in zip(cosines, explained, strict=True)),
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


# --- hardly trained tokens --------------------------------------------------------------------------------


def _glitch(vocabulary: Vocabulary, untrained: HardlyTrained, listed: bool) -> Glitch:
    norms = np.linalg.norm(vocabulary.embeddings, axis=1)
    norm = float(np.linalg.norm(untrained.place))
    return Glitch(
        crowded=untrained.crowded,
        n_tokens=len(untrained.tokens),
        n_words=len(np.intersect1d(whole_words(vocabulary.texts), untrained.tokens)),
        limit=untrained.limit,
        norm=norm,
        norm_rank=float((norms < norm).mean()),
        listed=tuple(_glitch_tokens(vocabulary, untrained, norms)) if listed else (),
    )


def _glitch_tokens(vocabulary: Vocabulary, untrained: HardlyTrained, norms: np.ndarray) -> list[GlitchToken]:
    rows = vocabulary.embeddings[untrained.tokens].astype(np.float64)
    squares = (rows**2).sum(axis=1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * rows @ rows.T, 0))
    duplicates = (apart < DUPLICATE * untrained.median).sum(axis=1) - 1
    return [
        GlitchToken(
            token=int(token),
            text=vocabulary.texts[token],
            distance=float(untrained.distance[token] / untrained.median),
            norm=float(norms[token]),
            duplicates=int(n),
        )
        for token, n in zip(untrained.tokens, duplicates, strict=True)
    ]
