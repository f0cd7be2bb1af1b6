"""`wspy corpus`: making, listing, aligning and removing corpora."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wspy.cli.options import AsJson, CorpusName, ModelName, Quiet

if TYPE_CHECKING:
    from wspy.corpus import Corpus

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make, list, show, align and remove corpora.")

_Words = Annotated[
    Path | None,
    typer.Option("--words", metavar="CSV", exists=True, dir_okay=False, help="Words: path,start_s,end_s,label."),
]
_Phones = Annotated[
    Path | None,
    typer.Option("--phones", metavar="CSV", exists=True, dir_okay=False, help="Phones: path,start_s,end_s,label."),
]
_PhoneSet = Annotated[
    str | None, typer.Option("--phone-set", metavar="NAME", help="Name of the phones' alphabet, if not ARPABET.")
]


@app.command()
def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="A folder of audio, a manifest (CSV, TSV or JSONL), hf:NAME:CONFIG:SPLIT, demo, or a plugin's source.",
        ),
    ],
    window: Annotated[
        float | None,
        typer.Option("--window", metavar="SECONDS", help="Cut recordings into windows of this length, up to 30."),
    ] = None,
    align: Annotated[
        bool, typer.Option("--align", help="Find words and phones of English speech.", show_default=False)
    ] = False,
    words: _Words = None,
    phones: _Phones = None,
    phone_set: _PhoneSet = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of every random choice.")] = 0,
    model: ModelName = "tiny.en",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a corpus from recordings."""
    from wspy.cli.progress import shown_progress
    from wspy.corpus import SourceRegistry, make_corpus
    from wspy.plugins import load_plugins

    registry = SourceRegistry(load_plugins().sources)
    with shown_progress(quiet) as progress:
        corpus = make_corpus(
            name,
            source,
            window_s=window,
            align=align,
            words=words,
            phones=phones,
            phone_set=phone_set,
            seed=seed,
            model=model,
            progress=progress,
            registry=registry,
        )
    _show(corpus, as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the corpora that are kept."""
    from wspy.blocks import Column
    from wspy.cli.render import print_json, print_rows
    from wspy.corpus import damaged_corpora, list_corpora

    corpora, damaged = list_corpora(), damaged_corpora()
    if as_json:
        print_json([*corpora, *({"name": name, "damaged": str(error)} for name, error in damaged.items())])
        return
    columns: list[str | Column] = [
        "name",
        "clips",
        Column(name="speech", unit="min", decimals=1),
        "speakers",
        "languages",
        "from",
    ]
    rows: list[tuple[str, int | None, float | None, int | None, str | None, str]] = [
        (
            corpus.name,
            corpus.n_clips,
            corpus.duration_s / 60,
            corpus.n_speakers,
            ", ".join(corpus.languages),
            corpus.provenance.recipe.source,
        )
        for corpus in corpora
    ]
    rows += [(name, None, None, None, None, f"damaged: {error}") for name, error in damaged.items()]
    print_rows("Corpora", columns, rows, "No corpora yet. To make one: wspy corpus make NAME --from FOLDER")


@app.command()
def show(name: CorpusName, as_json: AsJson = False) -> None:
    """Show what a corpus holds and where it comes from."""
    from wspy.corpus import open_corpus

    _show(open_corpus(name), as_json)


@app.command()
def align(
    name: CorpusName,
    words: _Words = None,
    phones: _Phones = None,
    phone_set: _PhoneSet = None,
    model: ModelName = "tiny.en",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find the words and phones of a corpus' clips, or read them from tables."""
    from wspy.cli.progress import shown_progress
    from wspy.corpus import align_corpus

    with shown_progress(quiet) as progress:
        corpus = align_corpus(name, words=words, phones=phones, phone_set=phone_set, model=model, progress=progress)
    _show(corpus, as_json)


@app.command()
def remove(name: CorpusName) -> None:
    """Delete a corpus with its audio. The recordings it was made from stay."""
    from wspy.corpus import remove_corpus

    remove_corpus(name)


def _show(corpus: Corpus, as_json: bool) -> None:
    from wspy.cli.render import print_json, print_rows

    info, alignment = corpus.info, corpus.alignment_info
    if as_json:
        print_json({"corpus": info, "alignment": alignment, "folder": corpus.path})
        return
    recipe = info.provenance.recipe
    rows: list[tuple[str, str | int | None]] = [
        ("clips", info.n_clips),
        ("speech", f"{info.duration_s / 60:.1f} min"),
        ("speakers", info.n_speakers),
        ("languages", ", ".join(info.languages) or "not known"),
        ("from", recipe.source),
        ("window", f"{recipe.window_s:g} s" if recipe.window_s else "none"),
        ("made", f"{info.provenance.made} by wspy {info.provenance.wspy}"),
        ("hash", info.hash),
    ]
    if alignment:
        said = f"{alignment.n_aligned} clips, phones in {alignment.phone_set}, by {', '.join(alignment.sources)}"
        rows.append(("alignment", said))
    else:
        rows.append(("alignment", f"none; to make one: wspy corpus align {info.name}"))
    left_out = [*info.skipped, *(alignment.skipped if alignment else ())]
    rows += [("skipped", f"{skipped.count}: {skipped.reason} (first: {skipped.first})") for skipped in left_out]
    if info.provenance.note:
        rows.append(("note", info.provenance.note))
    print_rows(f"Corpus {info.name}", ["what", "value"], rows, "")
    if corpus.path:
        print(corpus.path)
