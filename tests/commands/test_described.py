"""A model without its run folder knows its data set: exports and moved checkpoints are measured as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch
import yaml

from lightdiff import load_model
from lightdiff.config.instantiate import ConfigError
from lightdiff.jobs.described import data_of
from own_photos import LABEL, write_photos
from runs import ROOT, composed, last, tiny, train

Command = Callable[..., CompletedProcess[str]]
QUICK = ("num_samples=30", "sampler.num_steps=2", "progress=false", "cache_dir=cache", "device=cpu", "metrics=[fid]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "version_0"
    train(tiny("trainer.max_epochs=1", "callbacks=no_samples", "conditioning=label", "dataset.num_workers=1"), folder)
    return folder


def fid(folder: Path) -> tuple[float, dict[str, Any]]:
    (line,) = (folder / "evaluation" / "results.jsonl").read_text().splitlines()
    found = json.loads(line)
    return found["values"]["fid"]["value"], found["reference"]


def test_a_moved_checkpoint_and_an_export_give_the_figures_of_the_run(
    run: Path, command: Command, tmp_path: Path
) -> None:
    whole = Path(shutil.copytree(run, tmp_path / "version_0"))
    moved = tmp_path / "moved" / "some.ckpt"
    moved.parent.mkdir()
    shutil.copyfile(run / "checkpoints" / "last.ckpt", moved)
    assert command("export.py", f"ckpt_path={moved}", f"out={tmp_path / 'shared'}").returncode == 0
    figures = []
    for path, folder in ((whole, whole), (moved, moved.parent), (tmp_path / "shared", tmp_path / "shared")):
        done = command("eval.py", f"ckpt_path={path}", *QUICK)
        assert done.returncode == 0, done.stderr
        figures.append(fid(folder))
    assert figures[0] == figures[1] == figures[2]


def test_a_file_says_how_images_are_prepared_and_not_where_they_are(
    run: Path, command: Command, tmp_path: Path
) -> None:
    described = last(run)["lightdiff"]["dataset"]
    assert described["name"] == "digits" and described["image_size"] == 16 and described["batch_size"] == 16
    assert not {"data_dir", "num_workers", "resident", "max_memory_gb"} & set(described)
    assert command("export.py", f"ckpt_path={run}", "out=shared").returncode == 0
    assert json.loads((tmp_path / "shared/config.json").read_text())["lightdiff"]["dataset"] == described


def without_dataset(run: Path, path: Path) -> Path:
    """A checkpoint as they were written before they knew their data set."""
    content = last(run)
    del content["lightdiff"]["dataset"]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def test_older_checkpoints_work_as_before(run: Path, command: Command, tmp_path: Path) -> None:
    moved = without_dataset(run, tmp_path / "moved" / "some.ckpt")
    samples = [load_model(path).sample(2, num_steps=2, seed=1) for path in (run, moved)]
    assert torch.equal(*samples)
    done = command("eval.py", f"ckpt_path={moved}", *QUICK)
    assert done.returncode == 2
    assert done.stderr == (
        "error: dataset=null: neither some.ckpt nor a config.yaml beside it tells the data set; say it, as in dataset=mnist\n"
    )
    assert command("eval.py", f"ckpt_path={moved}", "dataset=digits", *QUICK).returncode == 0
    shutil.copyfile(run / "config.yaml", tmp_path / "config.yaml")
    inside = without_dataset(run, tmp_path / "checkpoints" / "last.ckpt")
    assert command("export.py", f"ckpt_path={inside}", "out=shared").returncode == 0
    described = json.loads((tmp_path / "shared/config.json").read_text())["lightdiff"]["dataset"]
    assert described["name"] == "digits" and "data_dir" not in described


def test_the_shipped_model_knows_its_data_set_and_still_draws_the_same(tmp_path: Path) -> None:
    folder = ROOT / "models" / "mnist_fast"
    model = load_model(folder)
    data = data_of(folder / "model.safetensors", model, None)
    assert (data.name, data.image_size, data.channels, data.resize_mode) == ("mnist", (28, 28), 1, "none")
    assert data.data_dir == "data"
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    content = json.loads((old / "config.json").read_text())
    del content["lightdiff"]["dataset"]
    (old / "config.json").write_text(json.dumps(content))
    assert "class_names" not in content["lightdiff"]["model"]["conditioning"]
    settings = {"num_steps": 2, "seed": 0, "labels": [3, 3, 7]}
    assert torch.equal(model.sample(3, **settings), load_model(old).sample(3, **settings))


def test_missing_files_of_the_data_set_are_named(command: Command, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "mnist_fast", tmp_path / "model")
    done = command("eval.py", "ckpt_path=model", *QUICK, f"data_dir={tmp_path / 'none'}")
    assert done.returncode == 1 and "none/MNIST/raw" in done.stderr, done.stderr


# -- files of strangers -------------------------------------------------------------------------------------------------


def described_as(dataset: Any, tmp_path: Path) -> Path:
    """The shipped model with another description of its data set."""
    folder = Path(shutil.copytree(ROOT / "models" / "mnist_fast", tmp_path / "stranger"))
    content = json.loads((folder / "config.json").read_text())
    content["lightdiff"]["dataset"] = (
        {**content["lightdiff"]["dataset"], **dataset} if isinstance(dataset, dict) else dataset
    )
    (folder / "config.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"_target_": "os.system"}, "_target_=os.system: a file may only name the public classes of lightdiff.data"),
        (
            {"source": {"_target_": "lightdiff.commands.run_job"}},
            "a file may only name the public classes of lightdiff.data",
        ),
        (
            {"source": {"_target_": "lightdiff.data.HuggingFace", "path": "a/b"}},
            "dataset=huggingface dataset.source.path=a/b",
        ),
        (
            {"source": {"_target_": "lightdiff.data.Folder"}},
            "data_dir=null: the images of the data set mnist can be anywhere",
        ),
        ({"colour": 3}, "dataset.colour: no such key"),
        ([1, 2], "dataset=[1, 2]: a mapping is expected"),
        ("mnist", "dataset=mnist: a mapping is expected"),
    ],
)
def test_a_stranger_can_name_nothing_else(dataset: Any, message: str, command: Command, tmp_path: Path) -> None:
    done = command("eval.py", f"ckpt_path={described_as(dataset, tmp_path)}", *QUICK)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_strangers_folder_and_sizes_are_not_used(tmp_path: Path) -> None:
    theirs = {"data_dir": "/", "image_size": 100_000, "channels": 3, "num_workers": 9_999, "max_memory_gb": 1e9}
    folder = described_as(theirs, tmp_path)
    data = data_of(folder / "model.safetensors", load_model(folder), None)
    assert (data.data_dir, data.image_size, data.channels, data.num_workers) == ("data", (28, 28), 1, 0)
    assert data.max_memory_gb == 4.0
    assert data_of(folder / "model.safetensors", load_model(folder), "mine").data_dir == "mine"


def test_a_model_of_a_folder_asks_for_the_folder(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", each=6)
    run = tmp_path / "run" / "version_0"
    train(composed(*LABEL, f"dataset.data_dir={tmp_path / 'photos'}"), run)
    moved = tmp_path / "moved.ckpt"
    shutil.copyfile(run / "checkpoints" / "last.ckpt", moved)
    model = load_model(moved)
    with pytest.raises(ConfigError, match="data_dir=null: .* data set folder can be anywhere"):
        data_of(moved, model, None)
    data = data_of(moved, model, str(tmp_path / "photos"))
    data.setup()
    assert data.class_names == ("blue", "green", "red") and data.image_size == (16, 16)
    assert yaml.safe_load((run / "config.yaml").read_text())["dataset"]["batch_size"] == 16
