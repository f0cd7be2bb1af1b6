"""Options that several commands share, and completions for them."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.", show_default=False)]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.", show_default=False)]


def model_names(incomplete: str) -> list[str]:
    """Names of models for shell completion."""
    from wspy.model import list_models

    return [model.name for model in list_models() if model.name.startswith(incomplete)]


def corpus_names(incomplete: str) -> list[str]:
    """Names of corpora for shell completion."""
    from wspy.corpus import list_corpora

    return [corpus.name for corpus in list_corpora() if corpus.name.startswith(incomplete)]


def run_names(incomplete: str) -> list[str]:
    """Names of runs for shell completion."""
    from wspy.runs import list_runs

    return [run.name for run in list_runs() if run.name.startswith(incomplete)]


ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A name that `wspy models` lists, or a checkpoint's path.",
        autocompletion=model_names,
    ),
]
CorpusName = Annotated[str, typer.Argument(metavar="NAME", help="The corpus' name.", autocompletion=corpus_names)]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A name that `wspy runs list` lists, or a run folder.", autocompletion=run_names
    ),
]
