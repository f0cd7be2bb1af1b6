"""`import wspy` costs nothing, and every public name is there."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import wspy


def test_importing_wspy_imports_nothing_heavy():
    script = (
        "import sys, wspy; "
        "heavy = {'torch', 'whisper', 'numpy', 'pydantic', 'typer', 'rich', 'pluggy', 'plotly', 'scipy', 'soundfile'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_finding_and_listing_needs_no_torch():
    script = (
        "import sys, wspy; wspy.list_models(); wspy.list_corpora(); wspy.list_runs(); "
        "from wspy.plugins import load_plugins; load_plugins(); "
        "print(sorted({'torch', 'whisper', 'plotly', 'gradio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(set(wspy.__all__)))
def test_every_public_name_resolves_and_is_explained(name):
    value = getattr(wspy, name)
    assert value is not None
    if callable(value) and hasattr(value, "__module__") and str(value.__module__).startswith("wspy"):
        assert value.__doc__


def test_dir_lists_the_public_names_and_a_typo_is_an_error():
    assert set(dir(wspy)) == set(wspy.__all__)
    with pytest.raises(AttributeError, match="analyse"):
        _ = wspy.analyse


@pytest.mark.parametrize("package", ["wspy", "wspy.atlas", "wspy.corpus", "wspy.model"])
def test_what_a_package_lists_is_what_it_serves(package):
    """The list is written out for type checkers, the table says where each name is: they must not drift."""
    module = importlib.import_module(package)
    served = getattr(module, "_HOME", None) or module._PLACES
    assert set(module.__all__) - {"__version__"} == set(served)
    assert all(getattr(module, name) is not None for name in module.__all__)
