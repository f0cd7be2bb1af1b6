"""The plugin protocol: an analysis takes validated inputs and a context, and gives a result that can be viewed.

An analysis is a function of its inputs and its context. It never picks a device, a path or a model, never prints,
and keeps nothing between calls; so the command line, the web app, a notebook and a test can all run it alike.
"""

from __future__ import annotations

import abc
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from wspy.blocks import Block
from wspy.progress import Progress, Silent

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

    from wspy.atlas import OpenSite, SiteAtlas, SiteSchemes, Speed
    from wspy.corpus import Clip, Corpus
    from wspy.model import Model, ModelReference

API_VERSION = 1
"""Raised when an analysis that worked before could stop working; see the versioning promise in the docs."""

_MEDIA_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$"
_TAKEN_NAMES = ("result.json", "report.html")


class Inputs(BaseModel):
    """What an analysis asks for. Fields come from `wspy.fields`; each has a description with its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Media(BaseModel):
    """A file of a run, named by its path inside the run folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(pattern=_MEDIA_NAME, description="Relative to the run folder, with forward slashes.")


@dataclass(frozen=True, eq=False)
class Sound:
    """A clip of the corpus, or a recording of the user's, with what is known about it."""

    name: str
    samples: Float32[np.ndarray, " sample"]
    """Mono at 16 kHz."""
    text: str | None = None
    language: str | None = None

    @property
    def duration_s(self) -> float:
        """Its length."""
        from wspy.audio import SAMPLE_RATE

        return len(self.samples) / SAMPLE_RATE


class Result(BaseModel):
    """What an analysis found: numbers and text as JSON, sound and arrays as `Media`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    _folder: Path | None = PrivateAttr(None)
    _view: Callable[[], list[Block]] | None = PrivateAttr(None)

    def attach(self, folder: Path, view: Callable[[], list[Block]]) -> None:
        """Tell the result where its media are and how it is viewed; called by whoever ran or opened it."""
        self._folder = folder
        self._view = view

    @property
    def folder(self) -> Path:
        """The run folder.

        Raises:
            LookupError: the result was made by hand and belongs to no run.
        """
        if self._folder is None:
            raise LookupError("this result belongs to no run, so it has no media")
        return self._folder

    def file(self, media: Media) -> Path:
        """The path of one of this result's media."""
        return self.folder / media.path

    def _repr_html_(self) -> str:
        from wspy.html import render_notebook

        return render_notebook(self._view() if self._view else [], self._folder)


InputsT = TypeVar("InputsT", bound=Inputs)
ResultT = TypeVar("ResultT", bound=Result)


class Analysis(abc.ABC, Generic[InputsT, ResultT]):
    """One question about the model. Subclass, fill in the five members, and register it."""

    api: ClassVar[int]
    """The `wspy.API_VERSION` that the analysis was written for."""
    name: ClassVar[str]
    """The word for it on the command line, in kebab-case."""
    summary: ClassVar[str]
    """One line for lists and help."""
    Inputs: type[InputsT]
    Result: type[ResultT]

    @abc.abstractmethod
    def run(self, inputs: InputsT, context: Context) -> ResultT:
        """Answer the question. Bad input raises a `wspy.errors.InputError`."""

    @abc.abstractmethod
    def view(self, result: ResultT) -> list[Block]:
        """What a person sees of the result, in reading order. Reads nothing but the result and its media."""

    def layout(self, place: Callable[[str], None]) -> None:
        """Arrange the form of the web page, if the usual order will not do: `place("layer")` puts an input's control
        where gradio is building. What is not placed follows in the usual order."""


class Context:
    """What an analysis may use: the model, the corpus, the atlas, audio, chance, progress and a place for media.

    Model and corpus are loaded when they are first touched, so an analysis that reads a finished atlas never
    imports torch.
    """

    def __init__(
        self,
        *,
        reference: Callable[[], ModelReference],
        model: Callable[[], Model],
        corpus: Callable[[], Corpus],
        folder: Path,
        seed: int = 0,
        sites: SiteSchemes | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._reference, self._model, self._corpus = reference, model, corpus
        self._folder = folder
        self.site_schemes: SiteSchemes = sites or {}
        self.seed = seed
        self.progress: Progress = progress or Silent()

    @functools.cached_property
    def reference(self) -> ModelReference:
        """Name, hash and dimensions of the model, known without loading it."""
        return self._reference()

    @functools.cached_property
    def model(self) -> Model:
        """The model, loaded on first use."""
        return self._model()

    @functools.cached_property
    def corpus(self) -> Corpus:
        """The corpus, opened on first use; the demo corpus is made if there is none."""
        return self._corpus()

    @functools.cached_property
    def rng(self) -> np.random.Generator:
        """The only source of chance, seeded by the run's `--seed`."""
        import numpy as np

        return np.random.default_rng(self.seed)

    def atlas(self, site: str) -> SiteAtlas:
        """The statistics of every unit of a site over the corpus: see `atlases`."""
        return self.atlases([site])[0]

    def atlases(
        self, sites: Sequence[str], *, speed: Speed | None = None, random_weights: bool = False
    ) -> list[SiteAtlas]:
        """The statistics of every unit of some sites over the corpus, from disk, or computed in one pass and kept.

        Args:
            sites: Module paths; `mel` for the spectrogram itself, whose bands are units to compare with; or
                `SCHEME:ADDRESS` for units that a plugin computes, as `sae:demo`.
            speed: `exact` or `condensed`; None takes what is there, and computes `exact` where nothing is.
            random_weights: The control: hear with the model's weights shuffled, by the run's seed.

        Raises:
            UnknownSite: the model has no such site.
            InputError: what a scheme says of an address that it cannot use with this model.
        """
        from wspy.atlas import ensure_atlases

        self.check_sites(sites)
        reference, model, schemes = self.reference, lambda: self.model, self.site_schemes
        if random_weights:
            from wspy.model import random_reference
            from wspy.model import random_weights as shuffled

            reference, model = random_reference(reference, self.seed), lambda: shuffled(self.model, self.seed)
            schemes = self._schemes_of_this_model()
        return ensure_atlases(
            sites, reference, self.corpus, model=model, speed=speed, schemes=schemes, progress=self.progress
        )

    def check_sites(self, sites: Sequence[str]) -> None:
        """Refuse sites of which there can be no atlas, before a corpus is made or a model loaded.

        Raises:
            UnknownSite: the model has no such site.
            NotStepwise: a site has no value per frame or token.
            InputError: what a scheme says of an address that it cannot use with this model.
        """
        from wspy.atlas import find_probes

        find_probes(sites, self.reference, self.site_schemes)

    def _schemes_of_this_model(self) -> SiteSchemes:
        """What computes units for this very model, whichever is heard with them: the control of a dictionary's features
        is the same dictionary on a model with shuffled weights."""

        def bound(open_site: OpenSite) -> OpenSite:
            return lambda address, _: open_site(address, self.reference)

        return {scheme: bound(open_site) for scheme, open_site in self.site_schemes.items()}

    def audio(self, of: Clip | Path) -> Float32[np.ndarray, " sample"]:
        """Mono samples at 16 kHz of a clip of the corpus, or of a file that the user gave."""
        from wspy.audio import load_audio

        return load_audio(of) if isinstance(of, Path) else self.corpus.audio(of)

    def sounds(self, recording: Path | None, limit: int) -> Iterator[Sound]:
        """The recording that the user gave; where there is none, clips of the corpus, one at a time.

        Args:
            limit: How many clips at most, spread evenly over the corpus.

        Raises:
            AudioTooLong: a recording that does not fit in one window.
        """
        from wspy.audio import require_window

        if recording is not None:
            samples = self.audio(recording)
            require_window(samples, what=recording.name)
            yield Sound(recording.name, samples)
            return
        for clip in self.corpus.spread(limit):
            yield Sound(clip.id, self.corpus.audio(clip), self.corpus.text(clip), clip.language)

    def save(self, name: str, content: bytes | np.ndarray | Mapping[str, np.ndarray]) -> Media:
        """Keep a file of this run: bytes as they are, samples (16 kHz, in [-1, 1]) as WAV, named arrays as .npz.

        Raises:
            ValueError: `name` is not a plain relative path, or does not end as its content asks.
        """
        if not re.fullmatch(_MEDIA_NAME, name) or name in _TAKEN_NAMES:
            raise ValueError(f"media name {name!r} must be plain words joined by '/', and not {_TAKEN_NAMES}")
        ending = "" if isinstance(content, bytes) else ".npz" if isinstance(content, Mapping) else ".wav"
        if not name.endswith(ending):
            raise ValueError(f"media name {name!r} must end in {ending!r}")
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, Mapping):
            import numpy as np

            np.savez_compressed(path, allow_pickle=False, **content)
        else:
            from wspy.audio import write_wav

            write_wav(path, content)
        return Media(path=name)


AnyAnalysis: TypeAlias = "Analysis[Any, Any]"
"""An analysis of whatever inputs and result."""


def check_analysis_class(analysis: type[AnyAnalysis]) -> None:
    """Refuse an analysis that the front ends could not show.

    Raises:
        TypeError: what is missing or malformed, for its author.
    """
    from wspy.fields import input_fields

    if not (isinstance(analysis, type) and issubclass(analysis, Analysis)):
        raise TypeError(f"{analysis!r} is not a subclass of wspy.Analysis")
    label = f"{analysis.__module__}.{analysis.__qualname__}"
    api = getattr(analysis, "api", None)
    if not isinstance(api, int) or isinstance(api, bool):
        raise TypeError(f"{label} states no API version: set `api = {API_VERSION}`")
    if api > API_VERSION:
        raise TypeError(f"{label} was written for plugin API {api}, this wspy has {API_VERSION}: update wspy")
    name = getattr(analysis, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise TypeError(f"{label} has name {name!r}: use kebab-case such as 'my-analysis'")
    if not isinstance(getattr(analysis, "summary", None), str) or not analysis.summary.strip():
        raise TypeError(f"{label} has no summary: set a line of text")
    for member, base in (("Inputs", Inputs), ("Result", Result)):
        kind = getattr(analysis, member, None)
        if not (isinstance(kind, type) and issubclass(kind, base)):
            raise TypeError(f"{label}.{member} is not a subclass of wspy.{member}")
    missing: Sequence[str] = sorted(getattr(analysis, "__abstractmethods__", ()))
    if missing:
        raise TypeError(f"{label} does not define {', '.join(missing)}")
    input_fields(analysis.Inputs)
