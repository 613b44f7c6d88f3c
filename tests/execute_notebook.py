"""Run notebooks from top to bottom, and store them with their pictures.

python tests/execute_notebook.py notebooks/00_diffusion_from_scratch.ipynb ...
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from waiting import PATIENCE

BAR = "application/vnd.jupyter.widget-view+json"
"""The kind of output that a progress bar in a notebook is."""


def execute(notebook: NotebookNode, folder: Path, *, final: bool = False) -> NotebookNode:
    """Run a notebook with `folder` as its working directory, and return it with what its cells showed.

    Args:
        notebook: it is changed.
        folder: the working directory.
        final: keep only the last state of a line of text that was drawn again and again.

    Raises:
        CellExecutionError: a cell has failed; the error has the cell and the traceback.
    """
    client = NotebookClient(
        notebook,
        timeout=PATIENCE,
        record_timing=False,
        coalesce_streams=final,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute()


def store(path: Path) -> None:
    """Run a notebook in its own folder and write it back with its pictures, but without its progress bars."""
    notebook = nbformat.read(path, as_version=4)
    metadata = notebook.metadata.copy()
    execute(notebook, path.parent, final=True)
    # a stored bar would stand at 0 % for ever, and the metadata names the Python of this machine
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if BAR not in output.get("data", {})]
    notebook.metadata = metadata
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        store(Path(name).absolute())
