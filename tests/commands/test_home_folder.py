"""~ in front of a path is the home folder, whether the shell has replaced it or not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from own_photos import OWN, write_photos
from runs import TINY, tiny, train

Command = Callable[..., CompletedProcess[str]]
SAMPLED = ("num_samples=2", "sampler.num_steps=1", "progress=false", "device=cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "digits" / "version_0"
    train(tiny("callbacks=no_samples", "trainer.max_epochs=1"), folder)
    return folder


@pytest.fixture
def home(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    shutil.copytree(run, folder / "version_0")
    monkeypatch.setenv("HOME", str(folder))
    return folder


COMMANDS = {
    "train.py resume=~/version_0": "this run is finished",
    "train.py resume='~/version_0/checkpoints/last.ckpt'": "this run is finished",
    "sample.py ckpt_path=~/version_0 out=~/drawn save=grid": "2 images: ../home/drawn",
    "eval.py ckpt_path=~/version_0 out=~/measured cache_dir=~/cache extractor.dataset=digits": "all results: ",
    "export.py ckpt_path=~/version_0 out=~/model": "safetensors: ",
}
MADE = ("drawn/grid.png", "measured/table.md", "cache", "model/model.safetensors")


def test_every_command_finds_it(home: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    for typed, said in COMMANDS.items():
        script, *overrides = typed.split()
        arguments = [*overrides, *(SAMPLED if script in ("sample.py", "eval.py") else ())]
        done = command(script, *arguments, folder=tmp_path / "work")
        assert done.returncode == 0, done.stderr
        assert said.rpartition("/")[2] in done.stdout
    assert all((home / name).exists() for name in MADE)
    assert [*(tmp_path / "work").iterdir()] == []


def test_training_finds_it(home: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    write_photos(home / "photos", each=8)
    small = ("model=unet_small", "model.widths=[8,8]", "dataset.resize_mode=crop", "log_dir=~/runs")
    done = command("train.py", *OWN, *small, "dataset.data_dir=~/photos", folder=tmp_path / "work")
    assert done.returncode == 0, done.stderr
    assert (home / "runs" / "folder" / "version_0" / "checkpoints" / "last.ckpt").is_file()
    tuned = (*TINY, "callbacks=no_samples", "trainer.max_epochs=1", "log_dir=~/runs", "init_from=~/version_0")
    assert command("train.py", *tuned, folder=tmp_path / "work").returncode == 0
    assert [*(tmp_path / "work").iterdir()] == []
