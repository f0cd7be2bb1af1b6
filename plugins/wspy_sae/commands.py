"""`wspy sae`: training, judging, listing, showing, exchanging and removing dictionaries."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wspy.terminal import (
    AsJson,
    CorpusOption,
    DeviceOption,
    ModelName,
    Quiet,
    analyze_and_print,
    print_json,
    print_rows,
    shown_progress,
)
from wspy_sae.exchange_commands import export, import_

if TYPE_CHECKING:
    from wspy.blocks import Cell
    from wspy.corpus import Corpus
    from wspy.model import Model
    from wspy.progress import Progress

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Train, judge, list, show, exchange and remove sparse dictionaries.",
)
app.command("import")(import_)
app.command("export")(export)


def add_commands(root: typer.Typer) -> None:
    """Put the group on the command line."""
    root.add_typer(app, name="sae")


def dictionary_names(incomplete: str) -> list[str]:
    """Names of dictionaries, for shell completion."""
    from wspy_sae.store import list_dictionaries

    return [name for name in list_dictionaries() if name.startswith(incomplete)]


_Sae = Annotated[
    str,
    typer.Option("--sae", metavar="NAME", help="A name that `wspy sae list` lists.", autocompletion=dictionary_names),
]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The dictionary's name.", autocompletion=dictionary_names)]


@app.command()
def train(
    site: Annotated[
        str, typer.Option("--site", metavar="SITE", help="Where activations are read: a site of the encoder.")
    ] = "encoder.blocks.2",
    corpus: CorpusOption = "demo",
    model: ModelName = "tiny.en",
    device: DeviceOption = None,
    arch: Annotated[
        Literal["batchtopk", "topk", "jumprelu", "matryoshka", "relu"],
        typer.Option("--arch", help="What makes the code sparse; relu is the tied form of the post's repository."),
    ] = "batchtopk",
    width: Annotated[
        str | None,
        typer.Option(
            "--width",
            metavar="N|Nx",
            help="Features, or how many times as many as the site has units. If left out: 8x; for relu 200.",
        ),
    ] = None,
    k: Annotated[
        int, typer.Option("--k", metavar="N", min=1, help="Active features per frame; for jumprelu the L0 aimed at.")
    ] = 32,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, help="Updates. If left out: 3000.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option("--frames", metavar="N", min=1, help="Frames to train on, instead of --steps; repeats count."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=2, help="Frames in one update.")] = 2048,
    lr: Annotated[
        float | None,
        typer.Option("--lr", metavar="X", help="Peak learning rate. If left out: by the width; for relu 4e-4."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of every random choice.")] = 0,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What to call it. If left out: SITE-ARCH-WIDTH-kK-CORPUS."),
    ] = None,
    speed: Annotated[
        Literal["condensed", "exact"], typer.Option("--speed", help="How padding is heard: in short, or all of it.")
    ] = "condensed",
    held_out: Annotated[
        float, typer.Option("--held-out", metavar="X", min=0, max=0.9, help="Share of the clips kept to judge by.")
    ] = 0.1,
    random_decoder: Annotated[
        bool,
        typer.Option("--random-decoder", help="A control: the decoder stays random.", show_default=False),
    ] = False,
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], typer.Option("--precision", help="bf16 and fp16: mixed, by Accelerate.")
    ] = "fp32",
    memory: Annotated[
        float, typer.Option("--memory", metavar="GB", min=0.01, help="Most that buffered activations may take.")
    ] = 1.0,
    keep_activations: Annotated[
        bool,
        typer.Option("--keep-activations", help="Keep the activations on disk.", show_default=False),
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write logs for TensorBoard.", show_default=False)
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a dictionary on the activations of one site.

    Training that was interrupted goes on where it stopped when the same command is given again.
    """
    from wspy.model import find_model, load_model, pick_device
    from wspy_sae.settings import POST_WIDTH, TrainSettings, parse_width
    from wspy_sae.train import encoder_site
    from wspy_sae.train_errors import BadTraining
    from wspy_sae.trained import train_dictionary

    place = pick_device(device)
    reference = find_model(model)
    d_in = encoder_site(site, reference).n_units
    d_sae = parse_width(width or (str(POST_WIDTH) if arch == "relu" else "8x"), d_in)
    if frames is not None and steps is not None:
        raise BadTraining("--frames", frames, "--steps says how long to train already")
    settings = TrainSettings(
        site=site,
        architecture=arch,
        d_sae=d_sae,
        k=k,
        steps=max(frames // batch, 1) if frames is not None else steps or 3000,
        batch=batch,
        lr=lr,
        seed=seed,
        speed=speed,
        precision=precision,
        held_out=held_out,
        frozen_decoder=random_decoder,
        memory_gb=memory,
    )
    chosen = name or f"{site}-{arch}-{d_sae}-k{k}-{corpus}"

    @functools.cache
    def loaded() -> Model:
        return load_model(model, device)

    with shown_progress(quiet) as progress:
        _, record, folder = train_dictionary(
            chosen,
            settings,
            reference,
            _open(corpus, progress),
            model=loaded,
            device=place,
            keep_activations=keep_activations,
            tensorboard=tensorboard,
            progress=progress,
        )
    if int(os.environ.get("RANK", "0")):  # of several processes the first speaks
        return
    if as_json:
        print_json({"name": chosen, "folder": str(folder), "training": record})
        return
    _print_facts(f"Dictionary {chosen}", _facts(chosen))
    print(folder)


@app.command("eval")
def eval_(
    sae: _Sae,
    corpus: CorpusOption = "demo",
    model: ModelName = "tiny.en",
    device: DeviceOption = None,
    clips: Annotated[
        int | None, typer.Option("--clips", metavar="N", min=1, help="Clips that are transcribed. If left out: 40.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="NAME",
            help="Another dictionary, for instance of another seed, to find partners in.",
            autocompletion=dictionary_names,
        ),
    ] = None,
    phones: Annotated[bool, typer.Option("--phones/--no-phones", help="Label features by phones.")] = True,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of every random choice.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="The run folder, new or empty.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Judge a dictionary: reconstruction, what it costs downstream, phones, stability. As `wspy analyze sae-eval`."""
    given = {"sae": sae, "clips": clips, "against": against, "phones": phones}
    analyze_and_print(
        "sae-eval",
        {name: value for name, value in given.items() if value is not None},
        model=model,
        corpus=corpus,
        device=device,
        seed=seed,
        out=out,
        as_json=as_json,
        quiet=quiet,
    )


@app.command("random")
def random_(
    like: Annotated[
        str,
        typer.Option("--like", metavar="NAME", help="The dictionary to imitate.", autocompletion=dictionary_names),
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What to call it. If left out: LIKE-random.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the directions.")] = 0,
) -> None:
    """Make a control: random directions that fire as often as a dictionary's features."""
    from wspy_sae.controls import keep_random

    print(keep_random(like, name or f"{like}-random", seed))


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the dictionaries that are kept."""
    from wspy_sae.layouts import UnreadableDictionary
    from wspy_sae.store import list_dictionaries

    rows: dict[str, dict[str, Cell]] = {}
    for name in list_dictionaries():
        try:
            rows[name] = dict(_facts(name))
        except UnreadableDictionary as error:  # one damaged folder must not hide the others
            print(error, file=sys.stderr)
    if as_json:
        print_json([{"name": name, **facts} for name, facts in rows.items()])
        return
    columns = ("model", "site", "trained as", "features", "k", "corpus")
    print_rows(
        "Dictionaries",
        ["name", *columns],
        [(name, *(facts.get(column) for column in columns)) for name, facts in rows.items()],
        "No dictionaries yet. To train one: wspy sae train",
    )


@app.command()
def show(name: _Name, as_json: AsJson = False) -> None:
    """Show what a dictionary is, and how its training went."""
    from wspy_sae.store import load_dictionary
    from wspy_sae.trained import read_record

    dictionary, record = load_dictionary(name), read_record(name)
    if as_json:
        print_json({"name": name, "dictionary": dictionary.config, "training": record})
        return
    _print_facts(f"Dictionary {name}", _facts(name))
    if record is not None:
        rows = [(one.step, one.fvu, one.l0, 100 * one.dead) for one in record.history]
        print_rows("Training", ["step", "FVU", "L0", "dead (%)"], rows, "")


@app.command()
def remove(name: _Name) -> None:
    """Delete a dictionary, and what is left of its training."""
    from wspy_sae.trained import remove_dictionary

    remove_dictionary(name)


def _open(name: str, progress: Progress) -> Corpus:
    """The corpus; `demo` is made where it does not exist."""
    from wspy.corpus import ensure_demo, open_corpus
    from wspy.errors import UnknownCorpus

    try:
        return open_corpus(name)
    except UnknownCorpus:
        if name != "demo":
            raise
        return ensure_demo(progress)


def _facts(name: str) -> list[tuple[str, Cell]]:
    """What there is to say of a dictionary in a few words."""
    from wspy_sae.saelens import read_config
    from wspy_sae.store import find_folder
    from wspy_sae.trained import read_record

    config, record = read_config(find_folder(name)), read_record(name)
    facts: list[tuple[str, Cell]] = [
        ("model", config.model_name),
        ("site", config.site),
        ("trained as", config.trained_as),
        ("features", config.d_sae),
        ("k", config.k),
        ("corpus", config.corpus),
    ]
    if record is not None:
        last = record.history[-1]
        facts += [
            ("frames", record.n_frames),
            ("updates", record.settings.steps),
            ("time of the updates (s)", round(record.seconds, 1)),
            ("FVU of the last batch", round(last.fvu, 4)),
            ("L0 of the last batch", round(last.l0, 1)),
            ("dead (%)", round(100 * last.dead, 2)),
        ]
    return facts


def _print_facts(title: str, facts: list[tuple[str, Cell]]) -> None:
    print_rows(title, ["what", "value"], [(what, str(value)) for what, value in facts], "")
