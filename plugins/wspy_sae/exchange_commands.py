"""`wspy sae import` and `wspy sae export`: dictionaries from other libraries, and for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer


def import_(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="The folder that holds the dictionary's files, such as layer_3."),
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What to call it.")],
    site: Annotated[
        str | None,
        typer.Option(
            "--site", metavar="SITE", help="Where its activations are read. If left out: what the folder says."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="The Whisper it is of. If left out: what the folder says."),
    ] = None,
) -> None:
    """Keep a dictionary that SAELens, sparsify, dictionary_learning or AudioSAE saved.

    The layout is told by the files. Nothing in them is executed.
    """
    from wspy.model import find_model
    from wspy_sae.exchange import import_dictionary

    made = import_dictionary(folder, name, find_model, site=site, model=model)
    config = made.dictionary.config
    if made.note:
        print(f"Note: {made.note}.", file=sys.stderr)
    what = f"{config.d_sae:,} features of {config.site} of {config.model_name}"
    print(f"Read in the layout of {made.layout}: {what}, {config.architecture}.")
    print(made.folder)


def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that `wspy sae list` lists.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write, new or empty.")],
    layout: Annotated[
        Literal["saelens", "sparsify", "dictionary-learning"],
        typer.Option("--format", help="The library that shall read it."),
    ] = "saelens",
) -> None:
    """Write a dictionary into a folder, as SAELens, sparsify or dictionary_learning reads it."""
    from wspy_sae.exchange import export_dictionary

    print(export_dictionary(name, folder, layout))
