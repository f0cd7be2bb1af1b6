"""What is measured for the page of findings: corpora, and command lines, each run once and kept.

The recordings are those of `../shared/data` beside the project; its README says where each set comes from. Numbers are
measured on all of it; what is heard or seen on the page comes from the corpora `open`, `german` and `demo` alone,
whose recordings are in the public domain, CC0, or the bundled voice's.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CorpusRule = Callable[[str], bool]
HEARD_MODEL = "tiny.en"
"""The model whose neurons are heard on the page."""
MODELS = (HEARD_MODEL, "base")
LAYER = 2
"""The post's layer: encoder.blocks.2.mlp.1."""
FIRST_HEARD = 10
"""So many neurons of the layer are heard on the page whatever they are, lest only the clearest be shown."""
FIRST_UNITS = 50
"""The post labels the first fifty neurons of its layer."""
WORDS = ("rug", "three", "doctor", "traffic")
DICTIONARIES = {HEARD_MODEL: "demo", "base": "demo-base"}
"""Trained on the bundled voice, that of tiny.en by the words of `make dictionary`; `NAME-again` has another seed."""
DICTIONARY_SITE = "encoder.blocks.2"
FEATURES_HEARD = 8
MIXED_UNITS = (1, 3, 1190)
"""The two neurons that the post shows as polysemantic (of another model), and the clearest of ours."""
READ_SENTENCES = ("LJ001-0001", "LJ001-0003", "LJ001-0004")
"""Sentences of LJ Speech for the relevance maps, besides the speech of John F. Kennedy."""
PHRASES = (
    ("thank", "you"),
    ("New", "York"),
    ("United", "States"),
    ("Los", "Angeles"),
    ("San", "Francisco"),
    ("Hong", "Kong"),
    ("according", "to"),
    ("such", "as"),
    ("instead", "of"),
    ("because", "of"),
    ("each", "other"),
    ("ice", "cream"),
    ("high", "school"),
    ("social", "media"),
    ("climate", "change"),
    ("health", "care"),
    ("prime", "minister"),
    ("ladies", "and"),
    ("subscribe", "to"),
    ("traffic", "lights"),
    ("credit", "card"),
    ("years", "ago"),
    ("depends", "on"),
    ("Happy", "birthday"),
)
"""Beginnings of fixed phrases, and the word that follows: written down before anything was measured."""


def _sets(*names: str) -> CorpusRule:
    return lambda path: path.split("/")[0] in names


CORPORA: dict[str, tuple[CorpusRule, tuple[str, ...]]] = {
    "open": (
        lambda path: path.split("/")[0] in ("ljspeech", "librivox_ps") or path.endswith("jfk.flac"),
        ("--window", "2", "--words", "--phones"),
    ),
    "german": (_sets("emodb"), ("--words", "--phones", "--phone-set", "SAMPA")),
    "ljspeech": (_sets("ljspeech"), ("--words", "--phones")),
    "english": (_sets("timit_sample", "ljspeech", "asterisk_en", "librivox_ps", "ps_en"), ("--align",)),
}
"""Name: which recordings of `aligned/`, and how the corpus is made."""


@dataclass(frozen=True)
class Step:
    """A command line, and the name under which its run is kept."""

    key: str
    words: tuple[str, ...]
    keep: bool = True
    """Whether it is an analysis, whose run folder is kept; else it leaves something in wspy's home."""


def write_manifests(data: Path, folder: Path) -> None:
    """The corpora's manifests and their tables of words and phones, from those of the data."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (rule, _) in CORPORA.items():
        for table in ("manifest", "words", "phones"):
            with (
                (data / "aligned" / f"{table}.csv").open(newline="", encoding="utf-8") as source,
                (folder / f"{name}.{table}.csv").open("w", newline="", encoding="utf-8") as target,
            ):
                rows = csv.DictReader(source)
                writer = csv.DictWriter(target, rows.fieldnames or ())
                writer.writeheader()
                for row in rows:
                    if rule(row["path"]):
                        writer.writerow({**row, "path": str(data / "aligned" / row["path"])})


def corpora(data: Path, folder: Path) -> Iterator[Step]:
    """How the corpora are made."""
    for name, (_, options) in CORPORA.items():
        words: list[str] = []
        for option in options:
            words.append(option)
            if option in ("--words", "--phones"):
                words.append(str(folder / f"{name}.{option[2:]}.csv"))
        yield Step(
            f"corpus-{name}",
            ("corpus", "make", name, "--from", str(folder / f"{name}.manifest.csv"), *words),
            keep=False,
        )


def measurements(data: Path) -> Iterator[Step]:
    """Every measurement, tiny.en before base, which takes three times as long."""
    for model in MODELS:
        yield from _words(model)
        yield from _attention(model, data)
        yield from _units(model)


def _step(key: str, model: str, *words: str) -> Step:
    return Step(f"{key}-{model}", ("analyze", *words, "--model", model))


def _words(model: str) -> Iterator[Step]:
    prompts = [word for first, _ in PHRASES for word in ("--prompt", f" {first}")]
    yield _step("bigrams", model, "bigrams", *prompts, "--top", "200")
    asked = [word for name in WORDS for word in ("--word", f" {name}")]
    yield _step("embeddings", model, "embeddings", *asked, "--measure", "cleaned")
    yield _step("embeddings-cosine", model, "embeddings", *asked, "--measure", "cosine", "--no-map")


def _attention(model: str, data: Path) -> Iterator[Step]:
    jfk = str(data / "aligned" / "ps_en" / "audio" / "jfk.flac")
    noise = str(data / "nonspeech" / "esc10" / "1-17367-A.flac")
    yield _step("chop-jfk", model, "chop", jfk)
    yield _step("rollout-jfk", model, "rollout", jfk)
    yield _step("rollout-noise", model, "rollout", noise)
    for number in READ_SENTENCES:
        sentence = data / "aligned" / "ljspeech" / "audio" / f"{number}.flac"
        yield _step(f"rollout-{number}", model, "rollout", str(sentence))
    yield _step("window", model, "window", "--corpus", "ljspeech", "--limit", "12")
    yield _step("chop", model, "chop", "--corpus", "ljspeech", "--clips", "24", "--timing", "alignment")
    yield _step("heads", model, "heads", "--side", "encoder", "--corpus", "ljspeech", "--limit", "6")


def _units(model: str) -> Iterator[Step]:
    if model == HEARD_MODEL:
        yield from _heard()
    everything = ("atlas", "build", "--corpus", "english", "--speed", "condensed", "--model", model)
    yield Step(f"atlas-english-{model}", everything, keep=False)
    yield _step("phones", model, "phones", "--corpus", "english")
    yield _step("semantic-layer", model, "semantic-layer", "--layer", "0", "--corpus", "english")
    yield from _dictionary(model)


def _heard() -> Iterator[Step]:
    """The layer over recordings that may be heard on the page."""
    site = f"encoder.blocks.{LAYER}.mlp.1"
    for corpus in ("open", "german"):
        words = ("atlas", "build", "--corpus", corpus, "--sites", site, "--speed", "condensed", "--model", HEARD_MODEL)
        yield Step(f"atlas-{corpus}-{HEARD_MODEL}", words, keep=False)


def _dictionary(model: str) -> Iterator[Step]:
    """A small dictionary of each model, judged; and which phones its features tell."""
    name = DICTIONARIES[model]
    asked = ("--site", DICTIONARY_SITE, "--corpus", "demo", "--width", "4x", "--k", "32", "--steps", "1000")
    for seed, made in enumerate((name, f"{name}-again")):
        words = ("sae", "train", "--name", made, *asked, "--seed", str(seed), "--model", model)
        yield Step(f"sae-{made}", words, keep=False)
    judged = ("sae-eval", "--sae", name, "--against", f"{name}-again", "--corpus", "demo", "--clips", "32")
    yield _step("sae-eval", model, *judged)
    if model == HEARD_MODEL:
        yield Step(
            f"atlas-sae-{model}", ("atlas", "build", "--sites", f"sae:{name}", "--speed", "condensed"), keep=False
        )
        yield _step("features", model, "phones", "--site", f"sae:{name}", "--no-random-weights")


def listening(model: str, labels: Path) -> Iterator[Step]:
    """The neurons of tiny.en that can be heard on the page: the first of the layer, and the clearest for each phone."""
    for unit in [*range(FIRST_HEARD), *clearest(labels, f"encoder.blocks.{LAYER}.mlp.1")]:
        for corpus in ("open", "german"):
            words = ("neuron", "--corpus", corpus, "--layer", str(LAYER), "--idx", str(unit), "--top", "6")
            yield _step(f"neuron-{corpus}-{unit:04}", model, *words)
    for unit in MIXED_UNITS:
        asked = ("neuron", "--corpus", "english", "--layer", str(LAYER), "--idx", str(unit))
        yield _step(f"neuron-english-{unit:04}", model, *asked)


def features(labels: Path) -> Iterator[Step]:
    """The features of the dictionary that can be heard on the page."""
    site = f"sae:{DICTIONARIES[HEARD_MODEL]}"
    for unit in clearest(labels, site, FEATURES_HEARD):
        words = ("unit", "--site", site, "--idx", str(unit), "--top", "6")
        yield _step(f"feature-demo-{unit:04}", HEARD_MODEL, *words)


def clearest(labels: Path, site: str, n_phones: int = 12) -> list[int]:
    """Of the labelled units of a site, the one with the purest top clips for each of some phones."""
    with (labels / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] and row["site"] == site]
    best: dict[str, dict[str, str]] = {}
    for row in sorted(rows, key=lambda row: (-float(row["peak_share"] or 0), -float(row["auroc"]))):
        if row["label"] == row["peak_phone"] and row["label"] != "SIL":
            best.setdefault(row["label"], row)
    return [int(row["unit"]) for row in list(best.values())[:n_phones]]
