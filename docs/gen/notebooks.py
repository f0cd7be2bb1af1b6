"""Runs the notebooks, and keeps of their outputs only what was printed: results show themselves to who runs them.

python docs/gen/notebooks.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
CELL_S = 600


def run(path: Path) -> nbformat.NotebookNode:
    """A notebook with all its cells run, in this interpreter's environment.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=CELL_S, kernel_name="python3").execute()
    return notebook


def keep_printed(notebook: nbformat.NotebookNode) -> None:
    """Leave out of a notebook what is large or differs from run to run."""
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") == "stdout"]
            cell.execution_count = None


if __name__ == "__main__":
    for path in [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = run(path)
        keep_printed(notebook)
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
