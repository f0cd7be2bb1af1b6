"""What tests of the bundled plugins on real speech share."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from wspy.corpus import Corpus, make_corpus

Timit = Callable[[str, Callable[[list[dict[str, str]]], list[dict[str, str]]]], Corpus]


@pytest.fixture(scope="session")
def timit(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Timit:
    """Make a corpus in the session's home of some of TIMIT's clips, chosen by their manifest rows, with the words and
    phones that people marked. Each name is made once in a worker, however often its module's fixtures are set up."""
    made: dict[str, Corpus] = {}

    def make(name: str, choose: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> Corpus:
        if name not in made:
            aligned = shared_data / "aligned"
            with (aligned / "manifest.csv").open() as lines:
                rows = [row for row in csv.DictReader(lines) if row["path"].startswith("timit_sample/")]
            manifest = tmp_path_factory.mktemp(name) / "manifest.csv"
            with manifest.open("w", newline="") as lines:
                writer = csv.DictWriter(lines, rows[0].keys())
                writer.writeheader()
                writer.writerows({**row, "path": aligned / row["path"]} for row in choose(rows))
            files = {"words": aligned / "words.csv", "phones": aligned / "phones.csv"}
            made[name] = make_corpus(name, str(manifest), **files, phone_set="TIMIT")
        return made[name]

    return make
