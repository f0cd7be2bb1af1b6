"""Finding plugins: each one's trouble stays its own. Those made here are real distributions in a folder of sys.path."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

GOOD = """
import wspy
from pydantic import Field

class {cls}(wspy.Analysis):
    api = {api}
    name = "{name}"
    summary = "A toy."

    class Inputs(wspy.Inputs):
        n: int = Field(1, description="A number.")

    class Result(wspy.Result):
        n: int = 0

    def run(self, inputs, context):
        return self.Result(n=inputs.n)

    def view(self, result):
        return [wspy.Text(markdown=f"n is {{result.n}}")]

@wspy.hookimpl
def register_analyses(register):
    register({cls})
"""


def good(name: str, api: int = 1) -> str:
    return GOOD.format(cls="Toy", name=name, api=api)


BAD = {
    "raises": ("raise RuntimeError('no luck\\nsecond line')", "loading failed with RuntimeError: no luck second line"),
    "exits": ("import sys\nsys.exit(3)", "loading failed with SystemExit: 3"),
    "mistyped": (
        "import wspy\n@wspy.hookimpl\ndef register_analysis(register): pass",
        "unknown hook 'register_analysis'",
    ),
    "wrongargs": ("import wspy\n@wspy.hookimpl\ndef register_analyses(reg): pass", "Argument(s) {'reg'}"),
    "unmarked": ("def register_analyses(register): pass", "mark its functions with @wspy.hookimpl"),
    "later": (good("later-one", api=99), "was written for plugin API 99, this wspy has 1: update wspy"),
    "duplicate": (good("neuron"), "analysis 'neuron' is already registered by plugin 'neuron' of wspy"),
    "notaclass": (
        "import wspy\n@wspy.hookimpl\ndef register_analyses(register): register(42)",
        "42 is not a subclass of wspy.Analysis",
    ),
    "hookraises": (
        "import wspy\n@wspy.hookimpl\ndef register_analyses(register): raise ValueError('inside')",
        "registering failed with ValueError: inside",
    ),
    "ownsource": (
        "import wspy\n@wspy.hookimpl\ndef register_corpora(register): register('hf', lambda address, seed: None)",
        "corpus source 'hf' is wspy's own",
    ),
    "commands": (
        "import wspy\n@wspy.hookimpl\ndef register_commands(app): raise ValueError('no commands')",
        "adding commands failed with ValueError: no commands",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_plugin_costs_one_line_and_stops_nothing(run_cli, make_plugin, name):
    source, problem = BAD[name]
    make_plugin("zgood", "print('printed at import')\n" + good("good-one"))
    folder = make_plugin(name, source)
    words = ["--help"] if name == "commands" else ["plugins", "--json"]
    done = run_cli(*words, path=(folder,))
    assert done.code == 0
    complaints = [line for line in done.stderr.splitlines() if line != "printed at import"]
    assert len(complaints) == 1, done.stderr
    assert complaints[0].startswith(f"wspy: plugin {name!r} of dist-{name} 1.0: ")
    assert problem in complaints[0]
    if name == "commands":
        return
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows[name]["status"] == "failed"
    assert problem in rows[name]["problems"][0]
    assert rows[name]["analyses"] == []
    assert (rows["zgood"]["status"], rows["zgood"]["analyses"]) == ("loaded", ["good-one"])
    assert (rows["neuron"]["status"], rows["neuron"]["analyses"]) == ("loaded", ["neuron", "unit"])
    assert "n is 4" in run_cli("analyze", "good-one", "--n", "4", path=(folder,)).stdout


def test_all_bad_plugins_at_once(run_cli, make_plugin):
    for name, (source, _) in BAD.items():
        folder = make_plugin(name, source)
    done = run_cli("plugins", path=(folder,))
    assert done.code == 0
    assert len(done.stderr.splitlines()) == len(BAD) - 1  # "commands" is not asked for any here
    for name in BAD:
        assert f"dist-{name} 1.0" in done.stdout
    assert run_cli("analyze", "--help", path=(folder,)).code == 0


def test_several_problems_of_one_plugin_are_one_line(run_cli, make_plugin):
    source = "import wspy\n@wspy.hookimpl\ndef register_analyses(register):\n    register(1)\n    register(2)\n"
    done = run_cli("plugins", path=(make_plugin("twice", source),))
    assert len(done.stderr.splitlines()) == 1
    assert "; " in done.stderr


def test_the_first_of_two_that_clash_is_the_same_on_every_run(run_cli, make_plugin):
    make_plugin("bbb", good("same"))
    folder = make_plugin("aaa", good("same"))
    rows = {row["name"]: row for row in json.loads(run_cli("plugins", "--json", path=(folder,)).stdout)}
    assert rows["aaa"]["analyses"] == ["same"]
    assert "already registered by plugin 'aaa' of dist-aaa" in rows["bbb"]["problems"][0]


@pytest.mark.parametrize(
    ("selection", "loaded"),
    [("", []), ("toy", ["toy"]), ("neuron", ["neuron"]), (" toy , neuron,", ["neuron", "toy"])],
)
def test_wspy_plugins_selects(run_cli, make_plugin, selection, loaded):
    folder = make_plugin("toy", good("toy-one"))
    done = run_cli("plugins", "--json", path=(folder,), env={"WSPY_PLUGINS": selection})
    rows = json.loads(done.stdout)
    assert sorted(row["name"] for row in rows if row["status"] == "loaded") == loaded
    assert {row["status"] for row in rows if row["name"] not in loaded} <= {"off"}
    assert {"neuron", "toy"} <= {row["name"] for row in rows}
    assert done.stderr == ""


def test_wspy_plugins_names_one_that_is_not_installed(run_cli):
    done = run_cli("plugins", env={"WSPY_PLUGINS": "neuron,nueron"})
    assert done.code == 0
    assert done.stderr == "wspy: WSPY_PLUGINS names 'nueron', but no such plugin is installed.\n"


def test_help_loads_only_plugins_that_may_add_commands(run_cli, make_plugin):
    make_plugin("quiet", "print('quiet was imported')\n" + good("quiet-one"))
    hook = "@wspy.hookimpl\ndef register_commands(app):\n"
    adds = f"import wspy\n{hook}    @app.command()\n    def added(): 'An addition.'\n"
    folder = make_plugin("adds", adds)
    done = run_cli("--help", path=(folder,))
    assert "An addition." in done.stdout
    assert "quiet was imported" not in done.stderr
    assert run_cli("added", path=(folder,)).code == 0


def test_distributions_with_damaged_metadata_are_still_listed(run_cli, make_plugin):
    folder = make_plugin("damaged", good("damaged-one"))
    (folder / "dist_damaged-1.0.dist-info" / "METADATA").write_text("")
    done = run_cli("plugins", "--json", path=(folder,))
    assert done.code == 0
    assert {row["name"] for row in json.loads(done.stdout)} >= {"damaged", "neuron"}


def test_the_installed_entry_points_are_those_of_the_plugins_folder():
    folders = {path.parent.name for path in (REPOSITORY / "plugins").glob("wspy_*/__init__.py")}
    points = importlib.metadata.entry_points(group="wspy")
    installed = {point.module.partition(".")[0] for point in points if point.dist and point.dist.name == "wspy"}
    assert installed == folders, "the installed entry points are stale or incomplete: run pip install -e ."


def test_wspys_own_sources_are_named_right():
    from wspy.corpus import SourceRegistry
    from wspy.plugins import OWN_SOURCES

    assert sorted(OWN_SOURCES) == SourceRegistry().schemes


def test_a_plugins_source_makes_a_corpus_scheme(run_cli, make_plugin):
    source = "import wspy\n@wspy.hookimpl\ndef register_corpora(register): register('tape', lambda address, seed: None)"
    rows = json.loads(run_cli("plugins", "--json", path=(make_plugin("tapes", source),)).stdout)
    assert {row["name"]: row for row in rows}["tapes"]["sources"] == ["tape"]


def test_every_hook_has_one_line_that_explains_it():
    from wspy import hookspecs

    hooks = [value for name, value in vars(hookspecs).items() if hasattr(value, "wspy_spec")]
    names = {"register_analyses", "register_corpora", "register_sites", "register_commands"}
    assert {hook.__name__ for hook in hooks} == names
    for hook in hooks:
        assert hook.__doc__
        assert len(hook.__doc__.splitlines()) == 1
