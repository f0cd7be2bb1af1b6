"""The notebooks run from top to bottom, in an environment and a home like a reader's."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.real
@pytest.mark.session_home
def test_the_notebooks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert [path.stem for path in NOTEBOOKS] == ["label-a-layer", "tour"]
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        shown = sum(cell.cell_type == "code" and cell.source.isidentifier() for cell in notebook.cells)
        NotebookClient(
            notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert not [output for output in outputs if output.output_type == "error"]
        # A result at a cell's end shows itself as a page, with its sounds inside.
        pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
        assert len(pages) == shown
        assert all("<iframe" in page for page in pages)
        assert any("data:audio/wav;base64" in page for page in pages)
