"""What the pages of one app share: settings, the desk where questions are answered, and the run that is shown."""

from __future__ import annotations

import asyncio
import html
import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import gradio as gr

from wspy.analysis import AnyAnalysis, Result
from wspy.errors import BadInput, NotOffered, WspyError
from wspy.fields import input_fields
from wspy.model.reference import DEFAULT_MODEL
from wspy.plugins import load_plugins
from wspy.runs import DEFAULT_CORPUS, open_run, validated
from wspy.web.jobs import Desk, Job, Question
from wspy.web.store import REPORT, ZIP, KeptRun, RunStore
from wspy.web.uploads import received
from wspy.web.visit import SharedModels, State

MEGABYTE = 1_000_000
_POLL_S = 0.15


@dataclass(frozen=True)
class Settings:
    """What the owner of a server allows."""

    allow_writes: bool = False
    """Whether visitors may have corpora, atlases and dictionaries made."""
    max_upload_mb: int = 25
    """Largest file that is taken, in megabytes."""
    max_audio_s: float = 60.0
    """Longest recording that is taken, in seconds."""
    keep_runs: int = 100
    """How many finished runs stay; older ones are deleted."""
    device: str | None = None
    """Where models run; None takes the best there is."""


class Studio:
    """One app: its settings, its finished runs, its models and its queue."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.store = RunStore(self.settings.keep_runs)
        self.desk = Desk(self.store, SharedModels(self.settings.device), self.settings.allow_writes)
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    # --- what is offered ---------------------------------------------------------------------------------

    def model_names(self) -> list[str]:
        """Models that load without a download, the default first; all that are known where writing is allowed."""
        from wspy.model import list_models

        names = [model.name for model in list_models() if model.available or self.settings.allow_writes]
        return sorted(names, key=lambda name: name != DEFAULT_MODEL) or [DEFAULT_MODEL]

    def corpus_names(self) -> list[str]:
        """Corpora that are there; the demo corpus always, for what to do about its absence is an answer, too."""
        names = self.corpora_there()
        return sorted({*names, DEFAULT_CORPUS}, key=lambda name: (name != DEFAULT_CORPUS, name))

    def corpora_there(self) -> list[str]:
        """Corpora that have been made."""
        from wspy.corpus import list_corpora

        return [info.name for info in list_corpora()]

    def question(
        self,
        analysis: AnyAnalysis,
        values: Mapping[str, object],
        model: str | None = None,
        corpus: str | None = None,
        seed: float | None = None,
        upload: Path | None = None,
    ) -> Question:
        """A checked question.

        Raises:
            BadInput: a value that does not fit, or a path.
            NotOffered: a model or a corpus that is none of those offered; a path never is.
        """
        model, corpus = model or DEFAULT_MODEL, corpus or DEFAULT_CORPUS
        for what, name, known in (("model", model, self.model_names()), ("corpus", corpus, self.corpus_names())):
            if name not in known:
                raise NotOffered(what, name, known)
        _check_no_paths(analysis, values)
        inputs = validated(analysis, dict(values))
        return Question(analysis, inputs, model, corpus, max(0, int(seed or 0)), upload)

    # --- asking ------------------------------------------------------------------------------------------

    async def answer(
        self,
        session: str,
        analysis: AnyAnalysis,
        values: Mapping[str, object],
        *,
        audio_field: str | None = None,
        model: str | None = None,
        corpus: str | None = None,
        seed: float | None = None,
    ) -> AsyncIterator[State | KeptRun]:
        """Ask, and say how it goes: states while it takes, and the finished run at last.

        A question that the same visitor asked before and still waits for is stopped. One that stops, by the visitor's
        wish or by leaving, ends without a run.

        Args:
            audio_field: The input whose value is an uploaded file: it is checked and copied before it is used.

        Raises:
            WspyError: what was wrong, in one line, and what to do.
        """
        with ExitStack() as kept:
            given = dict(values)
            upload = None
            if audio_field is not None and given.get(audio_field):
                sent = Path(str(given[audio_field]))
                upload = await asyncio.to_thread(kept.enter_context, received(sent, self.settings.max_audio_s))
                given[audio_field] = upload
            job = self.desk.ask(self.question(analysis, given, model, corpus, seed, upload))
            self._begin(session, job)
            try:
                last = None
                while not job.done.is_set():
                    state = self._state(job)
                    if state != last:
                        last = state
                        yield state
                    await asyncio.sleep(_POLL_S)
            finally:
                if not job.done.is_set():  # the visitor has left
                    job.cancel()
                self._end(session, job)
            if job.error is not None:
                raise job.error
            if job.answer is not None:
                yield job.answer

    async def follow(
        self,
        request: gr.Request,
        name: str,
        values: Mapping[str, object],
        *,
        model: str | None = None,
        corpus: str | None = None,
        seed: float | None = None,
    ) -> AsyncIterator[tuple[str, KeptRun | None]]:
        """`answer` for a page of gradio: what to write in the place of the state, and the run when it is there.

        A question that was cancelled ends without a run.

        Raises:
            gradio.Error: whatever went wrong, as a toast of one line.
        """
        ended = "Cancelled."
        try:
            analysis = load_plugins().analysis(name)
            audio = next((field.name for field in input_fields(analysis.Inputs) if field.kind == "audio"), None)
            asking = self.answer(
                str(request.session_hash), analysis, values, audio_field=audio, model=model, corpus=corpus, seed=seed
            )
            async for news in asking:
                if isinstance(news, KeptRun):
                    ended = ""
                    yield "", news
                else:
                    yield state_html(news), None
        except Exception as error:
            yield "", None
            raise toast(error) from None
        if ended:
            yield note_html(ended), None

    def result(self, run: KeptRun) -> Result:
        """The typed result of a run."""
        return open_run(run.path).result

    def stop(self, session: str | None) -> None:
        """Stop what a visitor waits for."""
        with self._lock:
            job = self._jobs.get(session or "")
        if job is not None:
            job.cancel()

    def close(self) -> None:
        """Stop whatever anybody waits for, and delete all runs: the server ends."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        self.store.close()

    def _begin(self, session: str, job: Job) -> None:
        with self._lock:
            before = self._jobs.get(session)
            self._jobs[session] = job
        if before is not None:
            before.cancel()

    def _end(self, session: str, job: Job) -> None:
        with self._lock:
            if self._jobs.get(session) is job:
                del self._jobs[session]

    def _state(self, job: Job) -> State:
        state = job.board.state
        if state.message != "Waiting":
            return state
        before = self.desk.before(job)
        return State(f"Waiting: {before} before you" if before else "Waiting for a free place")

    # --- showing -----------------------------------------------------------------------------------------

    def part_html(self, run: KeptRun, *titles: str) -> str:
        """Those tables, figures and players of a run whose titles begin so, without the rest of its report."""
        only = quote("|".join(titles))
        return (
            f'<iframe class="wspy-run wspy-part" title="{html.escape(", ".join(titles))}" '
            f'src="run/{quote(run.name)}/{REPORT}#only={only}"></iframe>'
        )

    def run_html(self, run: KeptRun, link: str = "") -> str:
        """A run as it stands on a page: its report in a frame that grows with it, and what can be downloaded.

        Args:
            link: What the page's address becomes, so that it can be kept and sent.
        """
        base = f"run/{quote(run.name)}"
        tables = "".join(
            f'<a href="{base}/{quote(path)}" download>{html.escape(path.partition("-")[2].removesuffix(".csv"))}</a>'
            for path in run.tables
        )
        tables = (
            f'<details><summary>Tables (CSV)</summary><div class="wspy-files">{tables}</div></details>'
            if tables
            else ""
        )
        address = html.escape(link or f"?run={run.name}")
        return (
            f'<div class="wspy-result"><iframe class="wspy-run" title="Result of {html.escape(run.analysis)}" '
            f'src="{base}/{REPORT}" data-link="{address}"></iframe>'
            f'<nav class="wspy-downloads" aria-label="Downloads"><a href="{base}/{REPORT}" target="_blank" '
            f'rel="noopener">Open alone</a><a href="{base}/{ZIP}" download>Everything (ZIP)</a>'
            f'<a href="{base}/result.json" download>JSON</a><a href="?run={quote(run.name)}">Link to this run</a>'
            f"{tables}</nav></div>"
        )


def _check_no_paths(analysis: AnyAnalysis, values: Mapping[str, object]) -> None:
    """Refuse a path where a name is asked for: on the command line, a plugin may take either.

    Raises:
        BadInput: the first text that looks like one. A prompt is free to.
    """
    for field in input_fields(analysis.Inputs):
        given = values.get(field.name)
        if field.kind in ("text", "texts") and field.role != "prompt" and given is not None:
            for text in given if isinstance(given, list) else [given]:
                if re.match(r"[.~]", str(text)) or re.search(r"[/\\\0]", str(text)):
                    raise BadInput(
                        analysis.name, field.name, f"must be a name, not {text!r}: these pages take no paths"
                    )


def state_html(state: State) -> str:
    """A state as a line with a bar, read out by screen readers."""
    share = ""
    if state.total:
        share = f'<progress max="{state.total}" value="{min(state.done, state.total)}"></progress> '
    elif state.message:
        share = "<progress></progress> "
    count = f" {state.done} of {state.total}" if state.total else ""
    left = f", about {_clock(state.left_s)} left" if state.left_s is not None and state.left_s > 1 else ""
    return f'<p class="wspy-state" role="status">{share}{html.escape(state.message)}{count}{left}</p>'


def note_html(text: str) -> str:
    """A line in the place of the state, without a bar."""
    return f'<p class="wspy-state" role="status">{html.escape(text)}</p>' if text else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def toast(error: BaseException) -> gr.Error:
    """Any error as one line, never with a traceback."""
    said = " ".join(str(error).split())
    message = said if isinstance(error, WspyError) else f"{type(error).__name__}{': ' + said if said else ''}"
    # Gradio shows Markdown and HTML in its messages; a name in an error is neither.
    return gr.Error(html.escape(message, quote=False), duration=15, print_exception=False)
