"""A run that is killed right before one of its files takes its place and is then resumed ends like one that was not killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightdiff.jobs.run_config import read_config, write_config
from runs import Killed, differences, last, scalars, tiny, train


class Files:
    """Counts the files that take their place, and kills the process before the n-th of them does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop: int = -1) -> None:
        self.names: list[str] = []
        self.stop, self.replace = stop, Path.replace
        monkeypatch.setattr(Path, "replace", lambda path, target: self(path, target))

    def __call__(self, path: Path, target: Path) -> Path:
        self.names.append(Path(target).name)
        if len(self.names) - 1 == self.stop:
            raise Killed
        return self.replace(path, target)


def config() -> dict[str, Any]:
    return tiny(
        *("callbacks.samples.every_n_epochs=3", "callbacks.checkpoints.keep_every_n_epochs=2"),
        "callbacks.checkpoints.every_n_steps=6",
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "version_0"
    train(config(), folder)
    return folder


def result(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text())


def of_checkpoints(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".ckpt", ".json"))]


def test_files_come_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(tmp_path, config())
    files = Files(monkeypatch)
    train(config(), tmp_path)
    assert of_checkpoints(files.names) == [
        *("last.ckpt", "best.ckpt", "last.ckpt"),
        *("last.ckpt", "best.ckpt", "epoch_0002.ckpt", "last.ckpt", "result.json"),
    ]


@pytest.mark.parametrize("stop", range(8))
def test_killed_before_a_file_and_resumed(
    stop: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "version_0"
    folder.mkdir()
    write_config(folder, config())
    with monkeypatch.context() as patch, pytest.raises(Killed):
        Files(patch, stop)
        train(config(), folder)
    train(config(), folder)
    for name in ("last.ckpt", "best.ckpt", "epoch_0002.ckpt"):
        left, right = (last(run, name) for run in (whole, folder))
        assert differences(left["state_dict"], right["state_dict"]) == []
    assert result(folder) == result(whole)
    pictures = [{path.name: path.read_bytes() for path in (run / "samples").glob("step_*")} for run in (whole, folder)]
    assert len(pictures[0]) == 2 and pictures[0] == pictures[1]
    curves = [scalars(run) for run in (whole, folder)]
    assert curves[0].keys() == curves[1].keys()
    for tag in curves[0].keys() - {"train/images_per_second"}:
        assert curves[0][tag] == curves[1][tag], tag


@pytest.mark.parametrize("stop", [0, 1])
def test_a_configuration_is_never_missing(stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(tmp_path, config())
    with monkeypatch.context() as patch, pytest.raises(Killed):
        Files(patch, stop)
        write_config(tmp_path, tiny("seed=5"))
    assert read_config(tmp_path) == config()
