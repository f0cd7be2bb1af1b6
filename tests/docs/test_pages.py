"""What the README and the manual show is true: commands parse, Python names what exists, tables are complete.

No block is left out: a block whose language no test knows is a failure.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import pytest
from markdown_it import MarkdownIt
from pydantic import Field
from typer.main import get_command

import wspy
from wspy.corpus import Clip, Corpus, Source

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
WRITTEN = [page for page in sorted(DOCS.rglob("*.md")) if not page.is_relative_to(DOCS / "gen")]
PAGES = [*(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *WRITTEN]
SHELL, PYTHON = ("sh", "indented"), "python"
PROGRAMS = ("wspy", "make", "pip", "pytest", "python3", "source", "twine")
EXAMPLE = DOCS / "examples" / "wspy-hello"


def load(path: Path, name: str) -> ModuleType:
    """A module of the documentation, which is no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def hello() -> Iterator[ModuleType]:
    """The example plugin, as if it were installed."""
    from wspy.plugins import load_plugins

    module = load(EXAMPLE / "wspy_hello.py", "wspy_hello")
    found = load_plugins()

    class Inputs(module.Hello.Inputs):  # type: ignore[misc, name-defined]
        part: Literal["stream", "mlp"] = Field("stream", description="What the reader of plugins.md adds.")

    found.analyses["hello"] = module.Hello
    found.analyses["loudest"] = type("Loudest", (module.Hello,), {"name": "loudest", "Inputs": Inputs})
    yield module
    del found.analyses["hello"], found.analyses["loudest"]
    del sys.modules["wspy_hello"]


@dataclass(frozen=True)
class Piece:
    """A block, or a command within a sentence."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pieces(path: Path) -> list[Piece]:
    """The blocks of a page as its author wrote it, and the commands within its sentences."""
    found, page = [], str(path.relative_to(REPOSITORY))
    for token in MarkdownIt().enable("table").parse(path.read_text(encoding="utf-8")):
        line = token.map[0] + 1 if token.map else 0
        if token.type in ("fence", "code_block"):
            found.append(Piece(page, line, token.info.strip() or "indented", token.content))
        said = [child.content for child in token.children or () if child.type == "code_inline"]
        found += [Piece(page, line, "inline", text) for text in said if text.startswith(("wspy ", "make "))]
    # The generated parts say commands too: in docstrings of plugins.
    if "<!-- generated: about" in path.read_text(encoding="utf-8"):
        generated = load(DOCS / "gen" / "pages.py", "docs_gen_pages").on_page_markdown(path.read_text(encoding="utf-8"))
        found += [Piece(page, 0, "inline", said) for said in re.findall(r"`(wspy [^`]+)`", generated)]
    return found


PIECES = [piece for page in PAGES for piece in pieces(page)]
BLOCKS = [piece for piece in PIECES if piece.language != "inline"]


def test_every_block_is_of_a_language_that_is_tested() -> None:
    # `text` is what programs print, or a file; nothing of it is to be typed.
    assert {block.language for block in BLOCKS} <= {*SHELL, PYTHON, "toml", "text"}
    assert len(BLOCKS) > 20


# --- commands ---------------------------------------------------------------------------------------------


def commands(piece: Piece) -> Iterator[list[str]]:
    """The command lines of a shell block, as words, without comments."""
    for line in piece.text.splitlines():
        if words := shlex.split(line, comments=True):
            yield [Path(words[0]).name, *words[1:]]


class _Parsed(Exception):
    """The command line was understood, and nothing was run."""


def parse(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the real command line take the words, analyses' inputs included, up to where the work would begin.

    Raises:
        Exception: it would have refused them.
    """
    from wspy.cli import build_app

    def parsed(*_: object, **__: object) -> None:
        raise _Parsed

    for word in words:
        if word.endswith((".csv", ".wav")):  # options for files ask whether they exist
            (folder / word).touch()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("wspy.cli.analyze.run_analysis", parsed)
    root = get_command(build_app(words))
    todo: list[object] = [root]
    for command in todo:
        inner = list(getattr(command, "commands", {}).values())
        todo += inner
        if not inner and "analyze" not in words[:1]:
            command.callback = parsed  # type: ignore[attr-defined]
    with contextlib.suppress(_Parsed):
        # --help and the like end by themselves.
        assert root.main(args=words, prog_name="wspy", standalone_mode=False) in (None, 0)


def check(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether one command line could be typed."""
    program, *rest = words
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    if program == "wspy":
        parse(["neuron" if word == "NAME" and rest[0] == "analyze" else word for word in rest], folder, monkeypatch)
    elif program == "make":
        phony = re.search(r"^\.PHONY:(.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert phony
        assert set(rest) <= set(phony[1].split())
    elif program == "pip":
        for word in rest[1:]:
            if named := re.fullmatch(r"(?:wspy|wspy-loudest|\.)?\[([\w,]+)\]", word):
                assert set(named[1].split(",")) <= {*extras, "test"}  # the last is that of a new plugin
            elif not word.startswith("-") and word not in ("dist", "twine", "wspy-hello", "./wspy-loudest"):
                assert (REPOSITORY / word).exists()
    else:
        assert program in PROGRAMS or program == "activate"


@pytest.mark.parametrize("piece", [piece for piece in BLOCKS if piece.language in SHELL], ids=str)
def test_commands_in_blocks_can_be_typed(piece: Piece, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list(commands(piece))
    assert lines
    for words in lines:
        check(words, tmp_path, monkeypatch)


@pytest.mark.parametrize("piece", [piece for piece in PIECES if piece.language == "inline"], ids=str)
def test_commands_in_sentences_exist(piece: Piece, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        check(shlex.split(piece.text), tmp_path, monkeypatch)
    except Exception as error:  # a sentence may name a command without what it needs
        if type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
            raise


@pytest.mark.parametrize(
    "words", [["--frm", "x"], ["corpus", "mak"], ["analyze", "neuron", "--layer", "x", "--idx", "3"]]
)
def test_the_check_notices_what_cannot_be_typed(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Exception, match=r"No such option|No such command|layer"):
        parse(words, tmp_path, monkeypatch)


# --- Python and configuration -----------------------------------------------------------------------------


def source(piece: Piece) -> str:
    """A block with the files that it includes."""
    return re.sub(r'--8<-- "(.*?)"', lambda name: (REPOSITORY / name[1]).read_text(encoding="utf-8"), piece.text)


def resolved(node: ast.expr) -> object:
    """What `wspy.a.b` is; None for other expressions."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not (isinstance(node, ast.Name) and node.id == "wspy" and names):
        return None
    value: object = wspy
    for at, name in enumerate(reversed(names)):
        if inspect.ismodule(value) and not hasattr(value, name):
            importlib.import_module(".".join(["wspy", *names[::-1][: at + 1]]))
        value = getattr(value, name)
    return value


PYTHON_BLOCKS = [piece for piece in BLOCKS if piece.language == PYTHON]


@pytest.mark.parametrize("piece", PYTHON_BLOCKS, ids=str)
def test_python_names_what_exists(piece: Piece) -> None:
    tree = ast.parse(source(piece))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            resolved(node)  # fails where there is no such name
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "wspy":
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and callable(function := resolved(node.func)):
            keywords = {keyword.arg: None for keyword in node.keywords if keyword.arg}
            inspect.signature(function).bind_partial(*[None] * len(node.args), **keywords)
            if function is wspy.analyze:
                _check_analyze(node)


def _check_analyze(call: ast.Call) -> None:
    """The analysis exists and takes these inputs."""
    from wspy.plugins import load_plugins
    from wspy.runs import validated

    own = set(inspect.signature(wspy.analyze).parameters)
    values = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg and word.arg not in own}
    validated(load_plugins().analysis(ast.literal_eval(call.args[0])), values)


def test_toml_is_that_of_a_plugin() -> None:
    project = tomllib.loads(next(source(piece) for piece in BLOCKS if piece.language == "toml"))["project"]
    assert project["entry-points"]["wspy"] == {"hello": "wspy_hello"}


def block_of(page: str, word: str) -> str:
    """The Python of a page that says a word."""
    (found,) = (source(piece) for piece in PYTHON_BLOCKS if piece.page == page and word in piece.text)
    return found


def run_block(text: str, folder: Path) -> ModuleType:
    """The block as a module, run."""
    path = folder / "block.py"
    path.write_text(text, encoding="utf-8")
    return load(path, "block_of_the_manual")


def test_capture_and_patch_do_as_the_manual_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wspy.testing import tiny_whisper

    rng = np.random.default_rng(0)
    corpus = Corpus.in_memory("noise", [(0.1 * rng.standard_normal(16_000).astype(np.float32), Clip("one"), None)])
    monkeypatch.setattr(wspy, "load_model", lambda name: tiny_whisper(), raising=False)
    monkeypatch.setattr(wspy, "open_corpus", lambda name: corpus, raising=False)
    page = "docs/your-own-model.md"
    ran = run_block(block_of(page, "list_sites") + block_of(page, "capture"), tmp_path)
    assert ran.cache["encoder.blocks.0.mlp.1"].shape == (1, 1500, 256)
    assert float((ran.after - ran.before).abs().max()) > 0


def test_the_source_of_the_manual_makes_a_corpus(tmp_path: Path) -> None:
    ran = run_block(block_of("docs/plugins.md", "register_corpora"), tmp_path)
    sources: dict[str, Source] = {}
    ran.register_corpora(sources.__setitem__)
    corpus = wspy.make_corpus("a4", "tone:440", registry=wspy.corpus.SourceRegistry(sources))
    assert [(clip.id, clip.label, clip.duration_s) for clip in corpus.clips] == [("tone-440", "tone", 1.0)]
    spectrum = np.abs(np.fft.rfft(corpus.audio(corpus.clips[0])))
    assert int(spectrum.argmax()) == 440


def test_the_computed_units_of_the_manual_are_heard(tmp_path: Path) -> None:
    from wspy.atlas import OpenSite, ensure_atlas
    from wspy.testing import tiny_whisper

    schemes: dict[str, OpenSite] = {}
    run_block(block_of("docs/plugins.md", "register_sites"), tmp_path).register_sites(schemes.__setitem__)
    model, rng = tiny_whisper(), np.random.default_rng(0)
    corpus = Corpus.in_memory("noise", [(0.1 * rng.standard_normal(16_000).astype(np.float32), Clip("one"), None)])
    site = "steps:encoder.blocks.0"
    atlas = ensure_atlas(site, model.reference, corpus, model=lambda: model, schemes=schemes)
    own = ensure_atlas("encoder.blocks.0", model.reference, corpus, model=lambda: model)
    unit = atlas.unit(5)
    assert (atlas.about.n_units, unit.n_frames) == (64, 50)
    # The steps from one extreme to the other cannot be smaller than the way between them.
    assert unit.maximum <= own.unit(5).maximum - own.unit(5).minimum
    assert unit.maximum > 0 > unit.minimum


def test_the_command_of_the_manual_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import typer

    app = typer.Typer(callback=lambda: None)
    run_block(block_of("docs/plugins.md", "register_commands"), tmp_path).register_commands(app)
    monkeypatch.setattr(wspy, "open_corpus", lambda name: range(7), raising=False)
    get_command(app).main(args=["count-clips"], standalone_mode=False)
    assert capsys.readouterr().out == "7\n"


def test_the_test_of_the_manual_passes(tmp_path: Path, tiny_whisper: wspy.Model) -> None:
    ran = run_block(block_of("docs/plugins.md", "test_silence_moves"), tmp_path)
    ran.test_silence_moves_the_layer_less_than_a_word(tiny_whisper, tmp_path)


# --- tables of files --------------------------------------------------------------------------------------


def table(page: str, heading: str, number: int = 0) -> dict[str, list[str]]:
    """The rows of a table below a heading, by the name in their first cell."""
    text = (DOCS / page).read_text(encoding="utf-8").partition(f"# {heading}\n")[2]
    assert text, f"{page} has no heading {heading!r}"
    rows = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)[number].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {first.strip("` |"): rest for first, *rest in cells}


def test_the_files_of_a_corpus_have_the_fields_that_are_documented(tmp_path: Path) -> None:
    import json

    import soundfile

    tone = 0.5 * np.sin(np.arange(16_000) / 10)
    soundfile.write(tmp_path / "a.wav", tone, 16_000)
    (tmp_path / "words.csv").write_text("path,start_s,end_s,label\na.wav,0.1,0.5,beep\n")
    corpus = wspy.make_corpus("c", str(tmp_path), words=tmp_path / "words.csv")
    assert corpus.path
    page = "reference/formats.md"
    info = json.loads((corpus.path / "corpus.json").read_text())
    assert list(info) == list(table(page, "corpus.json"))
    (clip,) = map(json.loads, (corpus.path / "clips.jsonl").read_text().splitlines())
    assert list(clip) == list(table(page, "clips.jsonl"))
    head, body = (corpus.path / "alignment.jsonl").read_bytes().split(b"\n", 1)
    assert list(json.loads(head)) == list(table(page, "alignment.jsonl"))
    assert list(json.loads(body)) == list(table(page, "alignment.jsonl", 1))
    # The hashes, made as the page says.
    from hashlib import sha256

    assert json.loads(head)["hash"] == sha256(body).hexdigest()
    pcm, _ = soundfile.read(corpus.path / clip["audio"], dtype="int16")
    assert clip["sha256"] == sha256(pcm.astype("<i2").tobytes()).hexdigest()
    row = json.dumps([*list(clip.values())[:-2], clip["sha256"]], ensure_ascii=False) + "\n"
    assert info["hash"] == sha256(row.encode()).hexdigest()


def test_the_arrays_of_an_atlas_are_those_that_are_documented() -> None:
    from wspy.atlas import SiteStatistics

    documented = table("reference/formats.md", "statistics.safetensors")
    names = {name.replace("SIGN", sign) for name in documented for sign in ("positive", "negative")}
    statistics = SiteStatistics(4, top=7)
    rng = np.random.default_rng(0)
    for clip in range(5):
        statistics.update(rng.standard_normal((120, 4)).astype(np.float32), clip, f"clip {clip}")
    arrays = statistics.arrays()
    assert set(arrays) == names
    for name, (kind, shape, _) in documented.items():
        array = arrays[name.replace("SIGN", "positive")]
        kept = len(arrays["positive.samples.value"])
        sizes = {"U": 4, "U + 1": 5, "P": kept, "K": 7}
        assert str(array.dtype) == kind, name
        assert array.shape == tuple(sizes.get(part) or int(part) for part in shape.split(", ")), name
    # What the page says of one example can be computed from the file alone.
    trace = arrays["positive.top.trace"][2, 0] * (arrays["positive.top.scale"][2, 0] / 127)
    begin = min(max(int(arrays["positive.top.frame"][2, 0]) - 50, 0), 120 - 101)
    at = int(arrays["positive.top.frame"][2, 0]) - begin
    assert trace[at] == pytest.approx(arrays["positive.top.value"][2, 0], rel=0.01)
    whole, fraction = (int(part) for part in arrays["sum"][2])
    assert (whole + fraction / 2**52) / arrays["counts"][1] == pytest.approx(0, abs=0.2)


def test_the_phones_of_an_atlas_are_stored_as_documented(tmp_path: Path) -> None:
    import json

    from safetensors.numpy import load_file

    from wspy.atlas import ensure_atlas
    from wspy.atlas.bins import bin_edges
    from wspy.testing import tiny_whisper

    rng = np.random.default_rng(0)
    phones = [wspy.Interval(at / 10, (at + 1) / 10, "AA" if at % 2 else "T") for at in range(10)]
    aligned = wspy.Alignment((), tuple(phones), "ARPABET", "planted")
    sounds = [rng.normal(scale=0.1, size=16_000).astype(np.float32) for _ in range(3)]
    corpus = Corpus.in_memory("hiss", [(sound, Clip(f"{n}"), aligned) for n, sound in enumerate(sounds)])
    model = tiny_whisper()
    atlas = ensure_atlas("encoder.blocks.0.mlp.1", model.reference, corpus, model=lambda: model)
    arrays = load_file(atlas.folder / "phones.safetensors")
    documented = table("reference/formats.md", "phones.safetensors")
    assert set(arrays) == set(documented)
    sizes = {"U": 256, "U + 1": 257, "F": 2}
    for name, (kind, shape, _) in documented.items():
        assert str(arrays[name].dtype) in (("int16", "int32", "int64") if kind == "integer" else (kind,)), name
        if shape != "bytes":
            assert arrays[name].shape == tuple(sizes.get(part) or int(part) for part in shape.split(", ")), name
    assert json.loads(arrays["phones"].tobytes()) == ["AA", "T"]

    # Packed as the page says, by a reader of its own.
    def packed(name: str, unit: int, n: int) -> list[int]:
        data = arrays[f"{name}.data"][slice(*arrays[f"{name}.offset"][unit : unit + 2])]
        levels = [n]
        while len(levels) < 2 or levels[-1] > 1:
            levels.append(-(-levels[-1] // 8))
        numbers, at = [int(data[0])], 1
        for n_numbers in levels[-2::-1]:
            wider = []
            for width in numbers:
                planes = [format(byte, "08b") for byte in data[at : at + width]]
                wider += [sum(int(plane[i]) << bit for bit, plane in enumerate(planes)) for i in range(8)]
                at += width
            numbers = wider[:n_numbers]
        assert at == len(data)
        return numbers

    unit = atlas.unit_phones(9)
    histogram = np.array(packed("histogram", 9, 2 * 2 * 255)).reshape(2, 2, 255)
    assert np.array_equal(histogram, unit.histogram)

    def signed(name: str, *shape: int) -> np.ndarray:
        numbers = packed(name, 9, int(np.prod(shape)))
        return np.array([n // 2 if n % 2 == 0 else -(n + 1) // 2 for n in numbers]).reshape(shape)

    assert np.array_equal(signed("sums", 2, 7), unit.sums)
    middle = 255 * arrays["group_counts"] // 2
    assert np.array_equal(signed("rank_excess", 20, 2) + middle, unit.rank_sums)
    octaves = [(-24, -9, 1), (-9, -3, 4), (-3, 6, 8), (6, 9, 4)]
    above = [2.0**o * (1 + i / n) for low, high, n in octaves for o in range(low, high) for i in range(n)] + [2.0**9]
    above = sorted([*above, *(edge / 8 for edge in (1.1875, 1.28125, 1.3125, 1.34375))])
    edges = np.array([-edge for edge in above[::-1]] + above)
    assert np.array_equal(bin_edges(), edges.astype(np.float32))


def test_every_variable_that_wspy_reads_is_documented() -> None:
    documented = set(table("reference/cli.md", "Environment variables"))
    read = set()
    for path in [*(REPOSITORY / "wspy").rglob("*.py"), *(REPOSITORY / "plugins").rglob("*.py")]:
        read |= set(re.findall(r'environ(?:\.get)?[\[(]"([A-Z_]+)"', path.read_text(encoding="utf-8")))
    assert read - {"PYTHONPATH"} <= documented
    assert {"WSPY_HOME", "WSPY_PLUGINS", "NO_COLOR"} <= documented


def test_every_page_is_in_the_navigation() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page for page in WRITTEN if not page.is_relative_to(DOCS / "examples")]
    assert not [str(page) for page in pages if str(page.relative_to(DOCS)) not in navigation]
