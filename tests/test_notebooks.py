"""The notebooks run from top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from runs import ROOT, tiny, train


def execute(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """Run it in `folder`; returns the text and the kinds of everything its cells showed."""
    for variable, value in {"OMP_NUM_THREADS": "1", **environment}.items():
        monkeypatch.setenv(variable, value)
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return " ".join([*(kind for output in outputs for kind in output.get("data", {})), str(outputs)])


def test_reload_and_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "version_0"
    train(tiny("trainer.max_epochs=1"), run)
    shown = execute("01_reload_and_sample.ipynb", tmp_path, monkeypatch, LIGHTDIFF_RUN=str(run))
    assert shown.count("image/png") >= 3  # a grid, the trajectory, the forward process


def test_train_in_plain_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = execute(
        "02_train_in_plain_python.ipynb",
        tmp_path,
        monkeypatch,
        LIGHTDIFF_EPOCHS="1",
        LIGHTDIFF_OUT=str(tmp_path / "out"),
    )
    assert "image/gif" in shown


def test_compare_samplers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "version_0"
    train(tiny("trainer.max_epochs=1", "conditioning=label", "schedule=flow", "objective=flow"), run)
    shown = execute("03_compare_samplers.ipynb", tmp_path, monkeypatch, LIGHTDIFF_RUN=str(run))
    assert shown.count("image/png") >= 9
