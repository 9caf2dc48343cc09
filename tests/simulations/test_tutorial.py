"""The tutorial notebook: executed as a researcher would, and kept so that a change of it can be read."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "tutorial"
FIGURES = 4
MOST_CELL_LINES = 20


@pytest.fixture
def notebook():
    return nbformat.read(FOLDER / "tutorial.ipynb", as_version=4)


def text_of(notebook, cell_id):
    (cell,) = [cell for cell in notebook.cells if cell.id == cell_id]
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_cell_of_the_tutorial_runs(notebook, own_package, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (own_package, ROOT))))
    monkeypatch.setenv("IPYTHONDIR", str(own_package.parent / "ipython"))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == FIGURES
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert (FOLDER / "own" / "own_task.py").read_text("utf-8") in text_of(notebook, "task-file")
    assert text_of(notebook, "quick-rounds").count("20 answered") == 10
    error = {
        line.split(":")[0].strip(): float(line.split()[1])
        for line in text_of(notebook, "strategy-figures").splitlines()
    }
    assert error["bounded"] < error["FedAvg"]
    assert 'task = "crowded"' in text_of(notebook, "nodes-prepare")


def test_the_tutorial_is_kept_without_outputs_and_in_small_cells(notebook):
    assert nbformat.validator.validate(notebook) is None
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert not cell.metadata, cell.id
        assert len(cell.source.splitlines()) <= MOST_CELL_LINES, cell.id
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.id


def test_what_the_tutorial_links_to_is_there(notebook):
    links = [link for cell in notebook.cells for link in re.findall(r"\]\(([^)#:]+)\)", cell.source)]
    assert links
    assert not [link for link in links if not (FOLDER / link).exists()]
