"""What an analysis is given when a visitor asks: shared models, and nothing that writes unless that is allowed."""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from wspy.analysis import Context
from wspy.errors import WritesNotAllowed

if TYPE_CHECKING:
    from wspy.atlas import SiteAtlas, Speed
    from wspy.corpus import Corpus
    from wspy.model import Model

T = TypeVar("T")
MODELS_KEPT = 2
_WAIT_S = 0.2


class Stopped(BaseException):
    """The visitor pressed Cancel, or left. Not an `Exception`, so that no analysis takes it for a bad clip."""


class NeedsModel(BaseException):
    """The quick try met something that only the model can answer."""


# --- state ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """What a visitor reads while waiting."""

    message: str
    done: int = 0
    total: int | None = None
    left_s: float | None = None


@dataclass
class Board:
    """Where a job writes its state and its visitor reads it; `stop` is how the visitor answers."""

    state: State = field(default_factory=lambda: State("Starting"))
    notes: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def say(self, state: State) -> None:
        """Put up a new state.

        Raises:
            Stopped: the visitor wants no more.
        """
        self.state = state
        if self.stop.is_set():
            raise Stopped

    def track(self, items: Iterable[T], description: str, total: int | None = None, unit: str = "clips") -> Iterator[T]:
        """`wspy.progress.Progress`: the share done and the time left, from the rate so far."""
        total = len(items) if total is None and isinstance(items, Sized) else total
        started = monotonic()
        self.say(State(description, 0, total))
        for done, item in enumerate(items, 1):
            yield item
            left_s = (monotonic() - started) / done * (total - done) if total else None
            self.say(State(description, done, total, left_s if done > 1 else None))

    def note(self, message: str) -> None:
        """`wspy.progress.Progress`: one line."""
        self.notes.append(message)
        self.say(State(message))


# --- models -----------------------------------------------------------------------------------------------


class SharedModels:
    """The weights of each model once in the process, however many analyses use them at the same time."""

    def __init__(self, device: str | None) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._models: collections.OrderedDict[str, Model] = collections.OrderedDict()

    def view(self, name: str, board: Board) -> Model:
        """The model of that name for one visitor: weights shared with all others, modules and their hooks its own.

        openai-whisper's decoder hangs its cache on the modules while it writes, so two transcriptions must not share
        them. Its forward passes end as soon as the visitor wants no more.
        """
        with self._lock:
            loading = self._loading.setdefault(name, threading.Lock())
        while not loading.acquire(timeout=_WAIT_S):
            board.say(State(f"Waiting: somebody else loads {name} already"))
        try:
            model = self._loaded(name, board)
        finally:
            loading.release()
        return _view(model, board)

    def _loaded(self, name: str, board: Board) -> Model:
        with self._lock:
            known = self._models.get(name)
            if known is not None:
                self._models.move_to_end(name)
                return known
        board.say(State(f"Loading {name}"))
        from wspy.model import load_model

        model = load_model(name, self._device)
        with self._lock:
            self._models[name] = model
            while len(self._models) > MODELS_KEPT:
                self._models.popitem(last=False)
        board.say(State(f"{name} is loaded"))
        return model


def _view(model: Model, board: Board) -> Model:
    import copy
    import itertools

    whisper = model.whisper
    tensors = itertools.chain(whisper.parameters(), whisper.buffers())
    twin = copy.deepcopy(whisper, {id(tensor): tensor for tensor in tensors})

    def check(*_: object) -> None:
        if board.stop.is_set():
            raise Stopped

    for block in (*twin.encoder.blocks, *twin.decoder.blocks):
        block.register_forward_pre_hook(check)
    return dataclasses.replace(model, whisper=twin)


# --- the context ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """One question of one visitor."""

    board: Board
    models: SharedModels
    corpus: str
    allow_writes: bool
    quick: bool
    """Whether to give up, with `NeedsModel`, rather than to load a model or to write."""

    def context_class(self) -> type[Context]:
        """A context for `run_analysis` that keeps to this visit."""
        visit = self

        class VisitorContext(Context):
            @functools.cached_property
            def model(self) -> Model:
                if visit.quick:
                    raise NeedsModel
                return visit.models.view(self.reference.name, visit.board)

            @functools.cached_property
            def corpus(self) -> Corpus:
                visit.check_corpus()
                return self._corpus()

            def atlases(
                self, sites: Sequence[str], *, speed: Speed | None = None, random_weights: bool = False
            ) -> list[SiteAtlas]:
                visit.check_atlases(self, sites, speed, random_weights)
                return super().atlases(sites, speed=speed, random_weights=random_weights)

        return VisitorContext

    def check_corpus(self) -> None:
        """Refuse to make a corpus for a visitor who may not.

        Raises:
            WritesNotAllowed: there is none of that name.
            NeedsModel: it may be made, which is nothing for a quick try.
        """
        from wspy.corpus import list_corpora

        if self.corpus in {info.name for info in list_corpora()}:
            return
        if not self.allow_writes:
            command = f"`wspy corpus make {self.corpus} --from {self.corpus if self.corpus == 'demo' else 'FOLDER'}`"
            raise WritesNotAllowed(f"There is no corpus {self.corpus!r} yet", command)
        if self.quick:
            raise NeedsModel

    def check_atlases(self, context: Context, sites: Sequence[str], speed: Speed | None, random_weights: bool) -> None:
        """Refuse to build atlases for a visitor who may not.

        Raises:
            UnknownSite, NotStepwise: there can be no atlas of a site.
            WritesNotAllowed: one is not built yet.
            NeedsModel: it may be built, which is nothing for a quick try.
        """
        from wspy.atlas import find_probes
        from wspy.atlas.store import SPEEDS, is_built, site_folder

        reference = context.reference
        folders = {probe.name: probe.folder for probe in find_probes(sites, reference, context.site_schemes)}
        if random_weights:
            from wspy.model import random_reference

            reference = random_reference(reference, context.seed)
        speeds = SPEEDS if speed is None else (speed,)
        missing = [
            site
            for site in sites
            if not any(is_built(site_folder(folders[site], reference, context.corpus, at)) for at in speeds)
        ]
        if not missing:
            return
        if self.allow_writes and self.quick:
            raise NeedsModel
        if not self.allow_writes:
            given = "" if reference.name == "tiny.en" else f" --model {reference.name}"
            given += "" if self.corpus == "demo" else f" --corpus {self.corpus}"
            what = f"There is no atlas of {missing[0]} over corpus {self.corpus!r} yet"
            if random_weights:
                raise WritesNotAllowed(f"{what} with shuffled weights", "the same question with `wspy analyze`")
            raise WritesNotAllowed(what, f"`wspy atlas build --sites {missing[0]}{given}`")
