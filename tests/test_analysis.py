"""The plugin protocol."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import Field, ValidationError

import wspy
from wspy.analysis import API_VERSION, Context, check_analysis_class
from wspy.errors import AudioTooLong


class Toy(wspy.Analysis):
    api = 1
    name = "toy"
    summary = "A toy."

    class Inputs(wspy.Inputs):
        n: int = Field(1, description="A number.")

    class Result(wspy.Result):
        media: wspy.Media | None = None

    def run(self, inputs, context):
        return self.Result()

    def view(self, result):
        return [wspy.Text(markdown="seen")]


class NoInputs:
    pass


class Undescribed(wspy.Inputs):
    n: int


def test_a_whole_analysis_is_taken():
    check_analysis_class(Toy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"api": None}, "states no API version"),
        ({"api": True}, "states no API version"),
        ({"api": API_VERSION + 1}, f"written for plugin API {API_VERSION + 1}, this wspy has {API_VERSION}"),
        ({"name": "Two Words"}, "kebab-case"),
        ({"name": "trailing-"}, "kebab-case"),
        ({"name": 3}, "kebab-case"),
        ({"summary": " "}, "no summary"),
        ({"Inputs": NoInputs}, "Inputs is not a subclass of wspy.Inputs"),
        ({"Result": dict}, "Result is not a subclass of wspy.Result"),
        ({"Inputs": Undescribed}, "no description"),
    ],
)
def test_what_the_front_ends_could_not_show_is_refused(changes, said):
    with pytest.raises(TypeError, match=said):
        check_analysis_class(type("Changed", (Toy,), changes))


def test_a_missing_method_is_named():
    class Half(wspy.Analysis):
        api, name, summary, Inputs, Result = 1, "half", "Half of one.", Toy.Inputs, Toy.Result

        def run(self, inputs, context):
            return self.Result()

    with pytest.raises(TypeError, match="does not define view"):
        check_analysis_class(Half)


@pytest.mark.parametrize("thing", [42, "Toy", dict, Toy()])
def test_what_is_no_analysis_is_refused(thing):
    with pytest.raises(TypeError, match=r"not a subclass of wspy\.Analysis"):
        check_analysis_class(thing)


def test_inputs_are_frozen_and_take_nothing_more():
    with pytest.raises(ValidationError):
        Toy.Inputs(n=1, m=2)
    with pytest.raises(ValidationError):
        Toy.Inputs(n=1).n = 2


def test_a_result_of_no_run_has_no_media():
    with pytest.raises(LookupError, match="belongs to no run"):
        _ = Toy.Result().folder


def test_a_notebook_shows_the_view(tmp_path):
    result = Toy.Result()
    result.attach(tmp_path, lambda: [wspy.Text(markdown="seen by the notebook")])
    assert "seen by the notebook" in result._repr_html_()
    assert isinstance(Toy.Result()._repr_html_(), str)


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a/../b", "", ".hidden", "a//b", "a\\b", "a/", "a\nb", "a\n"])
def test_media_stay_inside_the_run_folder(path, tmp_path):
    with pytest.raises(ValidationError):
        wspy.Media(path=path)
    with pytest.raises(ValueError, match="plain words"):
        context(tmp_path).save(path, b"")


def context(folder, seed=0):
    def unused():
        raise AssertionError("loaded without need")

    return Context(reference=unused, model=unused, corpus=unused, folder=folder, seed=seed)


def test_save_bytes_samples_and_arrays(tmp_path):
    here = context(tmp_path)
    assert here.save("sub/page.txt", b"abc") == wspy.Media(path="sub/page.txt")
    assert (tmp_path / "sub/page.txt").read_bytes() == b"abc"
    here.save("arrays.npz", {"x": np.arange(3)})
    assert np.load(tmp_path / "arrays.npz")["x"].tolist() == [0, 1, 2]
    tone = (0.5 * np.sin(np.arange(1600) / 5)).astype(np.float32)
    here.save("tone.wav", tone)
    assert np.abs(here.audio(tmp_path / "tone.wav") - tone).max() < 1e-3


def test_sounds_are_the_recording_or_clips_from_all_over_the_corpus(tmp_path, tone_corpus):
    bare = context(tmp_path)
    bare.save("one.wav", np.full(8000, 0.1, np.float32))
    (sound,) = bare.sounds(tmp_path / "one.wav", 3)
    assert (sound.name, sound.text, sound.language, sound.duration_s) == ("one.wav", None, None, 0.5)
    bare.save("long.wav", np.full(31 * 16000, 0.1, np.float32))
    with pytest.raises(AudioTooLong, match=r"long\.wav"):
        next(bare.sounds(tmp_path / "long.wav", 3))

    here = Context(reference=bare._reference, model=bare._model, corpus=lambda: tone_corpus, folder=tmp_path)
    heard = list(here.sounds(None, 3))
    assert [sound.name for sound in heard] == [clip.id for clip in tone_corpus.spread(3)]
    assert [sound.text for sound in heard] == [tone_corpus.text(clip) for clip in tone_corpus.spread(3)]
    assert all(
        (sound.samples == here.audio(clip)).all() for sound, clip in zip(heard, tone_corpus.spread(3), strict=True)
    )


@pytest.mark.parametrize(
    ("name", "content"), [("x.wav", {"x": np.arange(3)}), ("x.npz", np.zeros(160, np.float32)), ("result.json", b"{}")]
)
def test_save_refuses_a_name_that_would_mislead(tmp_path, name, content):
    with pytest.raises(ValueError, match="media name"):
        context(tmp_path).save(name, content)


def test_chance_is_seeded(tmp_path):
    first, again, other = context(tmp_path, 1).rng, context(tmp_path, 1).rng, context(tmp_path, 2).rng
    assert first.random() == again.random() != other.random()


def test_nothing_is_loaded_before_it_is_touched(tmp_path):
    here = context(tmp_path)
    assert here.rng is here.rng
    with pytest.raises(AssertionError, match="without need"):
        _ = here.model
