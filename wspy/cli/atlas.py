"""`wspy atlas`: building, listing, merging and removing what is known of every unit."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wspy.cli.options import AsJson, ModelName, Quiet, corpus_names

if TYPE_CHECKING:
    from wspy.atlas import KeptAtlas
    from wspy.blocks import Cell
    from wspy.corpus import Corpus
    from wspy.model import Agreement, Model
    from wspy.progress import Progress

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Build, list, show, merge and remove atlases: what every unit of a site responds to.",
)

ENCODER_NEURONS = "encoder.blocks.*.mlp.1"
_PART = re.compile(r"(\d+)/(\d+)")


def site_names(incomplete: str) -> list[str]:
    """Names of sites that have an atlas, for shell completion."""
    from wspy.atlas import list_atlases

    return sorted({kept.about.site for kept in list_atlases() if kept.about.site.startswith(incomplete)})


_Speed = Annotated[
    Literal["exact", "condensed"] | None,
    typer.Option("--speed", help="How padding is heard: all of it, or in short. What is there, else exact."),
]
_Corpus = Annotated[
    str,
    typer.Option(
        "--corpus", metavar="CORPUS", help="A name that `wspy corpus list` lists.", autocompletion=corpus_names
    ),
]
_Site = Annotated[str, typer.Argument(metavar="SITE", help="A site's name, or a pattern.", autocompletion=site_names)]
_OfModel = Annotated[str | None, typer.Option("--model", metavar="MODEL", help="Only those made with this model.")]
_OfCorpus = Annotated[
    str | None,
    typer.Option("--corpus", metavar="CORPUS", help="Only those over this corpus.", autocompletion=corpus_names),
]
_OfSpeed = Annotated[Literal["exact", "condensed"] | None, typer.Option("--speed", help="Only those made so.")]


@app.command()
def build(
    corpus: _Corpus = "demo",
    model: ModelName = "tiny.en",
    device: Annotated[
        str | None, typer.Option("--device", metavar="cuda|mps|cpu", help="The best there is if left out.")
    ] = None,
    sites: Annotated[
        list[str] | None,
        typer.Option(
            "--sites",
            metavar="PATTERN",
            help="A site or a pattern, mel for the spectrogram itself, or computed units such as sae:NAME; may be "
            f"given several times. If left out: {ENCODER_NEURONS}",
        ),
    ] = None,
    speed: _Speed = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top", metavar="K", min=1, max=1000, help="How many of the most extreme clips to keep. If left out: 25"
        ),
    ] = None,
    check: Annotated[
        int | None,
        typer.Option(
            "--check", metavar="N", min=1, help="First measure on N clips how well condensed agrees with exact."
        ),
    ] = None,
    part: Annotated[
        str | None, typer.Option("--part", metavar="I/N", help="Hear part I of N only, and write it below --out.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="Where a part goes.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Hear a corpus once, and keep what every unit of some sites responds to.

    An interrupted build goes on where it stopped when the same command is given again.
    """
    from wspy.atlas import build_part, ensure_atlases, find_probes, kept_atlas
    from wspy.cli.progress import shown_progress
    from wspy.cli.render import print_json
    from wspy.model import check_device_name, find_model, load_model
    from wspy.plugins import load_plugins

    which = _part(part, out)
    check_device_name(device)
    reference = find_model(model)
    schemes = load_plugins().sites if any(":" in site for site in sites or []) else {}
    probes = find_probes(sites or [ENCODER_NEURONS], reference, schemes)
    names = [probe.name for probe in probes]

    @functools.cache
    def loaded() -> Model:
        return load_model(model, device)

    agreement: list[Agreement] = []
    with shown_progress(quiet) as progress:
        heard = _open(corpus, progress)
        if check:
            read = list(dict.fromkeys(probe.base for probe in probes))
            agreement = _agreement(check, read, heard, loaded(), progress)
            if not as_json:  # it may tell the person not to wait for the rest
                _print_agreement(agreement)
        if which and out:
            build_part(
                names,
                reference,
                heard,
                out,
                model=loaded,
                part=which,
                speed=speed or "exact",
                top=top,
                schemes=schemes,
                progress=progress,
            )
            made = []
        else:
            made = ensure_atlases(
                names,
                reference,
                heard,
                model=loaded,
                speed=speed,
                top=top,
                schemes=schemes,
                progress=progress,
            )
    kept = [kept_atlas(atlas) for atlas in made]
    if as_json:
        folder = out.absolute() if out else None
        rows = [dict(zip(_CHECKED, _agreement_row(one), strict=True)) for one in agreement]
        print_json({"atlases": kept, "part": which, "folder": folder, "agreement": rows})
        return
    if out:
        print(out.absolute())
    else:
        _print_kept(kept, {})


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the atlases that are kept, and the passes that were interrupted."""
    from wspy.atlas import damaged_atlases, list_atlases, list_unfinished
    from wspy.cli.render import print_json

    kept, damaged, unfinished = list_atlases(), damaged_atlases(), list_unfinished()
    if as_json:
        print_json(
            [
                *kept,
                *({**asdict(one), "unfinished": True} for one in unfinished),
                *({"folder": folder, "damaged": str(error)} for folder, error in damaged.items()),
            ]
        )
        return
    _print_kept([*kept, *unfinished], damaged)
    if unfinished:
        print("Unfinished ones go on where they stopped when they are built again.")


@app.command()
def show(
    site: _Site,
    model: _OfModel = None,
    corpus: _OfCorpus = None,
    speed: _OfSpeed = None,
    as_json: AsJson = False,
) -> None:
    """Show what the atlases of a site were made from, and what is in them."""
    from wspy.atlas import SiteAtlas, list_atlases
    from wspy.cli.render import print_json
    from wspy.errors import UnknownAtlas

    found = list_atlases(site, model=model, corpus=corpus, speed=speed)
    if not found:
        raise UnknownAtlas(site, {kept.about.site for kept in list_atlases()})
    if as_json:
        print_json([{**asdict(kept), "summary": SiteAtlas(kept.folder).summary()} for kept in found])
        return
    for kept in found:
        _print_one(kept)


@app.command()
def remove(site: _Site, model: _OfModel = None, corpus: _OfCorpus = None, speed: _OfSpeed = None) -> None:
    """Delete the atlases of a site, or of all that match a pattern. The corpus and the model stay."""
    from wspy.atlas import remove_atlases

    remove_atlases(site, model=model, corpus=corpus, speed=speed)


@app.command()
def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="What each `--part` wrote."),
    ],
    corpus: _Corpus = "demo",
    model: ModelName = "tiny.en",
    as_json: AsJson = False,
) -> None:
    """Put the parts of a corpus together into one atlas for each site.

    The result is, to the bit, what one build over the whole corpus would have kept.
    """
    from wspy.atlas import kept_atlas, merge_parts
    from wspy.cli.render import print_json
    from wspy.corpus import open_corpus
    from wspy.model import find_model

    kept = [kept_atlas(atlas) for atlas in merge_parts(folders, find_model(model), open_corpus(corpus))]
    if as_json:
        print_json(kept)
    else:
        _print_kept(kept, {})


def _agreement(n: int, sites: Sequence[str], corpus: Corpus, model: Model, progress: Progress) -> list[Agreement]:
    """How well condensed agrees with exact on `n` clips, spread over the corpus."""
    from wspy.model import measure_agreement

    encoder = [site for site in sites if site.startswith("encoder.")]
    if not encoder:
        return []
    n = min(n, len(corpus.clips))
    clips = [corpus.clips[i * len(corpus.clips) // n] for i in range(n)]
    sounds = (corpus.audio(clip) for clip in progress.track(clips, "Comparing condensed with exact"))
    return measure_agreement(model, encoder, sounds)


_CHECKED = ("site", "n_clips", "n_live", "median_r", "low_r")


def _agreement_row(one: Agreement) -> tuple[Cell, ...]:
    return one.site, one.n_clips, one.n_live, one.quantile(0.5), one.quantile(0.05)


def _print_agreement(agreement: Sequence[Agreement]) -> None:
    from wspy.blocks import Column
    from wspy.cli.render import print_rows

    columns: list[str | Column] = [
        "site",
        Column(name="clips", description="Those that leave padding to save; the others are the same at either speed."),
        Column(name="live units", description="Units that vary at all."),
        Column(name="median r", decimals=4, description="Pearson's r over frames, condensed against exact."),
        Column(name="5th percentile", decimals=4, description="Nineteen units in twenty agree better."),
    ]
    print_rows(
        "Condensed against exact",
        columns,
        [_agreement_row(one) for one in agreement],
        "Condensed and exact differ only at encoder sites, and none was named.",
    )


def _print_kept(kept: Sequence[KeptAtlas], damaged: Mapping[Path, Exception]) -> None:
    from wspy.atlas import UnfinishedAtlas
    from wspy.blocks import Column
    from wspy.cli.render import print_rows

    columns: list[str | Column] = [
        "model",
        "corpus",
        "site",
        "units",
        "clips",
        "speed",
        Column(name="lag", unit="ms", description="How long after a phone the site answers best."),
        Column(name="size", unit="MB", decimals=1),
    ]
    rows: list[tuple[Cell, ...]] = [
        (
            one.about.model,
            one.about.corpus,
            one.about.site + (f" ({one.about.units_sha256[:8]})" if one.about.units_sha256 else ""),
            one.about.n_units,
            one.n_clips,
            one.about.speed + (", unfinished" if isinstance(one, UnfinishedAtlas) else ""),
            _lag_ms(one.lag_frames),
            one.size_bytes / 1e6,
        )
        for one in kept
    ]
    rows += [(None, None, f"damaged: {error}", None, None, None, None, None) for error in damaged.values()]
    print_rows("Atlases", columns, rows, "No atlases yet. To make one: wspy atlas build")


def _print_one(kept: KeptAtlas) -> None:
    from wspy.atlas import SiteAtlas
    from wspy.cli.render import print_rows

    about, summary = kept.about, SiteAtlas(kept.folder).summary()
    what = "frames" if about.position == "frame" else "tokens"
    lag = _lag_ms(kept.lag_frames)
    rows: list[tuple[Cell, ...]] = [
        ("model", f"{about.model}, SHA-256 {about.model_sha256}"),
        ("corpus", f"{about.corpus}, hash {about.corpus_hash}"),
        ("alignment", f"hash {about.alignment_hash}" if about.alignment_hash else "none"),
        ("heard", f"{kept.n_clips} clips, {kept.n_positions} {what}"),
        *([("computed", f"from {about.base}, by SHA-256 {about.units_sha256}")] if about.units_sha256 else []),
        ("speed", about.speed),
        ("kept clips", f"{about.top} of the highest and {about.top} of the lowest peaks per unit, with samples"),
        ("units", about.n_units),
        ("alive", f"{summary.n_alive}: above zero at least once"),
        ("density", f"{_spread(summary.density, '.4f')}: share of {what} above zero"),
        ("highest", f"{_spread(summary.maximum, '.3f')}: activation"),
        ("best lag", f"{lag} ms after the phone" if lag is not None else "not known, for no phones were counted"),
        ("size", f"{kept.size_bytes / 1e6:.1f} MB"),
    ]
    print_rows(f"Atlas of {about.site}", ["what", "value"], rows, "")
    if summary.phones:
        phones = [(phone, count) for phone, count in summary.phones.items()]
        print_rows("Phones, by frames", ["phone", "frames"], phones, "")
    print(kept.folder)


def _spread(values: tuple[float, float, float], digits: str) -> str:
    low, middle, high = (format(value, digits) for value in values)
    return f"{middle} for the median unit ({low} to {high} for nine tenths of them)"


def _lag_ms(lag_frames: int | None) -> int | None:
    from wspy.audio import FRAME_S

    return None if lag_frames is None else round(lag_frames * FRAME_S * 1000)


def _part(given: str | None, out: Path | None) -> tuple[int, int] | None:
    """Which part of how many.

    Raises:
        BadPart: it is none, or has no folder to go to.
    """
    from wspy.errors import BadPart

    if given is None:
        if out is not None:
            raise BadPart("I/N", "--out is where a part goes, and no part is named")
        return None
    found = _PART.fullmatch(given)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise BadPart(given, "it is no part I of N, with I from 1 to N")
    if out is None:
        raise BadPart(given, "it has no folder to go to")
    return int(found[1]), int(found[2])


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
