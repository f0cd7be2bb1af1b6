"""Questions of visitors, worked on in the background: quick ones apart from those that need a model.

Each question is first tried without a model: what a built atlas can answer is there in a moment, however much is
waiting. What needs a model goes on to a queue of its own.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from wspy.analysis import AnyAnalysis, Inputs
from wspy.errors import TooManyWaiting
from wspy.runs import run_analysis
from wspy.web.store import KeptRun, RunStore
from wspy.web.visit import Board, NeedsModel, SharedModels, State, Stopped, Visit

QUICK_WORKERS = 3
WORKERS = 2
MOST_WAITING = 200


@dataclass(frozen=True)
class Question:
    """What a visitor asks, checked."""

    analysis: AnyAnalysis
    inputs: Inputs
    model: str
    corpus: str
    seed: int
    upload: Path | None = None
    """The visitor's recording, as `received` made it."""


@dataclass(eq=False)
class Job:
    """A question on its way to an answer."""

    question: Question
    board: Board = field(default_factory=Board)
    done: threading.Event = field(default_factory=threading.Event)
    answer: KeptRun | None = None
    error: BaseException | None = None
    """What went wrong; None where the visitor stopped it."""

    def cancel(self) -> None:
        """Stop at the next pass of the model, or the next step of the loop that is running."""
        self.board.stop.set()


class _Pool:
    """Threads that work one thing off after the other, and do not keep the process from ending."""

    def __init__(self, n_threads: int, name: str) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        for number in range(n_threads):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(self, work: Callable[[], None]) -> None:
        self._work.put(work)

    def _run(self) -> None:
        while True:
            self._work.get()()


class Desk:
    """Takes questions and works on them."""

    def __init__(self, store: RunStore, models: SharedModels, allow_writes: bool) -> None:
        self.store, self.models, self.allow_writes = store, models, allow_writes
        self._quick = _Pool(QUICK_WORKERS, "wspy-quick")
        self._slow = _Pool(WORKERS, "wspy-work")
        self._lock = threading.Lock()
        self._open: list[Job] = []  # asked and not yet done
        self._waiting: list[Job] = []  # those of them that wait for a model

    def ask(self, question: Question) -> Job:
        """Queue a question.

        Raises:
            TooManyWaiting: the queue is full.
        """
        with self._lock:
            if len(self._open) >= MOST_WAITING:
                raise TooManyWaiting(len(self._open))
            job = Job(question)
            self._open.append(job)
        self._submit(self._quick, job, lambda: self._try_quickly(job))
        return job

    def before(self, job: Job) -> int:
        """How many questions are waiting in front of this one."""
        with self._lock:
            return self._waiting.index(job) if job in self._waiting else 0

    def _submit(self, pool: _Pool, job: Job, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Stopped:
                self._close(job)
            except BaseException as error:  # a plugin may even call sys.exit: its visitor must not wait for ever
                job.error = error
                self._close(job)

        pool.submit(guarded)

    def _close(self, job: Job) -> None:
        with self._lock:
            self._open.remove(job)
        job.done.set()

    def _try_quickly(self, job: Job) -> None:
        try:
            self._answer(job, quick=True)
        except NeedsModel:
            with self._lock:
                self._waiting.append(job)
            job.board.state = State("Waiting")
            self._submit(self._slow, job, lambda: self._work(job))

    def _work(self, job: Job) -> None:
        with self._lock:
            self._waiting.remove(job)
        self._answer(job, quick=False)

    def _answer(self, job: Job, quick: bool) -> None:
        question = job.question
        job.board.say(State("Looking it up" if quick else "Starting"))
        visit = Visit(job.board, self.models, question.corpus, self.allow_writes, quick)
        run = run_analysis(
            question.analysis,
            question.inputs,
            model=question.model,
            corpus=question.corpus,
            seed=question.seed,
            out=self.store.new_folder(question.analysis),
            progress=job.board,
            context_class=visit.context_class(),
        )
        job.board.say(State("Drawing"))
        job.answer = self.store.take(run, question.upload)
        self._close(job)
