"""trained_models: the runs, newest first, and the model that comes along."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lightdiff.model import CheckpointError, trained_models


def make(folder: Path, age: float) -> Path:
    """Make a run folder whose checkpoint was written `age` seconds ago."""
    file = folder / "checkpoints" / "last.ckpt"
    file.parent.mkdir(parents=True)
    file.touch()
    os.utime(file, (1e9 - age, 1e9 - age))
    return folder


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that counts as the project's, with an empty one beside it as the working directory."""
    for name in ("clone", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("lightdiff.model.at_hand.CLONE", tmp_path / "clone")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "clone"


def test_runs_of_both_folders_newest_first_then_the_model_that_comes_along(clone: Path) -> None:
    middle = make(clone / "lightning_logs" / "mnist" / "version_0", age=20)
    newest = make(Path.cwd() / "lightning_logs" / "digits" / "version_3", age=10)
    oldest = make(Path.cwd() / "lightning_logs" / "digits" / "version_4", age=30)
    (clone / "models" / "mnist_fast").mkdir(parents=True)
    assert trained_models() == [newest, middle, oldest, clone / "models" / "mnist_fast"]


def test_in_the_project_itself_no_run_is_listed_twice(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(clone / "lightning_logs" / "digits" / "version_0", age=10)
    monkeypatch.chdir(clone)
    assert trained_models() == [run]


def test_neither_a_run_nor_the_model_is_one_line(clone: Path) -> None:
    with pytest.raises(CheckpointError, match="train one first: .*train experiment=digits_fast") as caught:
        trained_models()
    assert "\n" not in str(caught.value)
