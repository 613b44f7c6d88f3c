"""A finished run, copies of it to tamper with, and the marker that hostile code leaves behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from torch.utils import cpp_extension

from runs import tiny, train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "digits" / "version_0"
    train(tiny("trainer.max_epochs=1", "callbacks=no_samples", "conditioning=label"), folder)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(trained, tmp_path / "run" / "version_0"))


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What hostile code makes when it runs."""
    monkeypatch.setattr(cpp_extension, "load", lambda name, sources: Path(name).touch())  # instead of compiling
    return tmp_path / "marker"
