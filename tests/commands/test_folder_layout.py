"""A folder of images on the command line: what was found is said, splits are kept apart, labels keep their names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lightdiff import load_model
from lightdiff.jobs.run_config import write_config
from own_photos import COLOURS, LABEL, OWN, write_photos
from runs import composed, last, train

Command = Callable[..., CompletedProcess[str]]
PLAIN = (*OWN, "conditioning=none", "model=unet_small", "model.widths=[8,8]")
RUN = "lightning_logs/folder/version_0"
LINE = "data:       54 training images, 6 to validate on, 9 kept apart for tests, 3 classes (blue, green, red)"


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    for name, each in (("Train", 18), ("val", 2), ("test", 3)):
        write_photos(tmp_path / "photos" / name, each)
    return tmp_path / "photos"


def write_numbered(folder: Path, *names: str, each: int = 6) -> Path:
    """Write images of one brightness into class folders of these names; class i in the order given has brightness 20 i."""
    for i, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(np.full((16, 16, 3), 20 * i, dtype=np.uint8)).save(folder / name / f"{number}.png")
    return folder


def test_test_images_are_kept_apart_and_can_be_measured_against(splits: Path, command: Command, tmp_path: Path) -> None:
    (splits / "val" / "notes.txt").write_text("")
    done = command("train.py", *LABEL)
    assert done.returncode == 0, done.stderr
    line = f"{LINE}; left out: 1 .txt"
    assert line in done.stdout.splitlines()
    assert line in (tmp_path / RUN / "train.log").read_text()
    quick = (
        f"ckpt_path={RUN}",
        "num_samples=30",
        "sampler.num_steps=2",
        "progress=false",
        "cache_dir=cache",
        "device=cpu",
    )
    done = command("eval.py", *quick, "extractor.dataset=cifar", "split=test")
    assert done.returncode == 0, done.stderr
    assert line in done.stdout.splitlines()
    (record,) = map(json.loads, (tmp_path / RUN / "evaluation" / "results.jsonl").read_text().splitlines())
    assert record["reference"]["split"] == "test" and record["reference"]["num_images"] == 9


def test_a_split_that_is_not_there_is_refused(command: Command, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 6)
    evaluation = (
        "callbacks=evaluation",
        "callbacks.evaluation.split=test",
        "callbacks.evaluation.extractor.dataset=cifar",
    )
    done = command("train.py", *PLAIN, *evaluation)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: callbacks.evaluation: split=test: this data set keeps no images apart from those to train and to validate on; "
        "choices: train, val"
    )


def test_an_ambiguous_folder_is_refused_in_one_line(command: Command, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 6)
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "preview.png")
    for settings in (LABEL, PLAIN):
        done = command("train.py", *settings)
        assert done.returncode == 2
        assert done.stderr.splitlines() == [
            "error: dataset.data_dir=photos: 1 image (preview.png) lies beside the folders blue, green, red; choices: move it "
            "elsewhere, dataset.source.layout=classes (leaves out what lies beside the folders), dataset.source.layout=flat (all "
            "images are one class)"
        ]
        assert not (tmp_path / "lightning_logs" / "folder").exists()
    done = command("train.py", *LABEL, "dataset.source.layout=classes")
    assert done.returncode == 0, done.stderr
    assert (
        "16 training images, 2 to validate on, 3 classes (blue, green, red); left out: 1 image beside the folders"
        in done.stdout
    )


def test_links_that_lead_outside_are_told_and_followed_on_demand(command: Command, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 6)
    write_photos(tmp_path / "kept", 4)
    (tmp_path / "photos" / "yellow").symlink_to(tmp_path / "kept" / "red")
    done = command("train.py", *PLAIN)
    assert done.returncode == 0, done.stderr
    assert "(blue, green, red); left out: 1 link that leads outside" in done.stdout
    done = command("train.py", *PLAIN, "dataset.source.follow_links=true")
    assert done.returncode == 0, done.stderr
    assert "20 training images, 2 to validate on, 4 classes (blue, green, red, yellow)\n" in done.stdout


def test_names_are_in_the_files_of_a_run_without_a_condition_too(command: Command, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 6)
    assert command("train.py", *PLAIN).returncode == 0
    assert last(tmp_path / RUN)["lightdiff"]["dataset"]["class_names"] == list(COLOURS)
    assert command("export.py", f"ckpt_path={RUN}", "out=shared").returncode == 0
    described = json.loads((tmp_path / "shared" / "config.json").read_text())["lightdiff"]
    assert described["dataset"]["class_names"] == list(COLOURS)
    assert load_model(tmp_path / "shared").class_names == ()


def test_class_folders_of_numbers_are_labels_of_these_numbers(command: Command, tmp_path: Path) -> None:
    names = tuple(str(number) for number in range(12))
    write_numbered(tmp_path / "photos", *names)
    done = command("train.py", *LABEL, "callbacks=default", "callbacks.samples.labels=['10',2]")
    assert done.returncode == 0, done.stderr
    assert f"12 classes ({', '.join(names)})" in done.stdout
    assert load_model(tmp_path / RUN).class_names == names
    images = load_model(tmp_path / RUN).sample(2, labels=["10", 2], num_steps=2, seed=0)
    assert torch.equal(images, load_model(tmp_path / RUN).sample(2, labels=[10, "2"], num_steps=2, seed=0))


def test_pictures_of_chosen_classes_while_training(command: Command, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 6)
    done = command("train.py", *LABEL, "callbacks=default", "callbacks.samples.labels=[red,yellow]")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("labels=[red, yellow]: choices: 0 blue, 1 green, 2 red")


# -- runs from before ---------------------------------------------------------------------------------------------------


def former_run(tmp_path: Path, *, named: bool) -> Path:
    """Train as a release did that numbered the folders 1, 2, 10 in alphabetical order, and kept their names or did not."""
    write_numbered(tmp_path / "photos", "1", "2", "10")
    run = tmp_path / RUN
    order = ["1", "10", "2"]
    told = (f"dataset.data_dir={tmp_path / 'photos'}", "dataset.num_classes=3", f"dataset.class_names={order}")
    train(composed(*LABEL, *told), run)
    if not named:
        config = yaml.safe_load((run / "config.yaml").read_text())
        content = last(run)
        for group in (config["dataset"], config["conditioning"], content["lightdiff"]["dataset"]):
            group["class_names"] = None
        content["lightdiff"]["model"]["conditioning"]["class_names"] = None
        torch.save(content, run / "checkpoints" / "last.ckpt")
        write_config(run, config)
    return run


def labels_of_files(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Collect (brightness, label) of all batches that a run validates on from here on."""
    from lightdiff.model import DiffusionModel

    seen: list[tuple[int, int]] = []
    step = DiffusionModel.validation_step

    def collecting(model: DiffusionModel, batch: Any, batch_idx: int) -> None:
        brightness = batch["image"].float().mean((1, 2, 3)).round().int().tolist()
        seen.extend(zip(brightness, batch["label"].tolist(), strict=True))
        step(model, batch, batch_idx)

    monkeypatch.setattr(DiffusionModel, "validation_step", collecting)
    return seen


@pytest.mark.parametrize("named", [True, False])
def test_a_former_run_goes_on_with_its_labels(
    named: bool, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = former_run(tmp_path, named=named)
    seen = labels_of_files(monkeypatch)
    done = command("train.py", f"resume={run}", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    # the folders 1, 2 and 10 are of brightness 0, 20 and 40
    assert seen and set(seen) <= {(0, 0), (40, 1), (20, 2)}
    assert "3 classes (1, 10, 2)" in done.stdout
    assert load_model(run).class_names == ("1", "10", "2")


def test_a_new_run_from_former_weights_must_have_their_order(command: Command, tmp_path: Path) -> None:
    run = former_run(tmp_path, named=True)
    done = command("train.py", *LABEL, f"init_from={run}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        "its labels are numbered in another order, 1, 10, 2; give dataset.class_names in that order"
    )
    done = command("train.py", *LABEL, f"init_from={run}", "dataset.class_names=['1','10','2']")
    assert done.returncode == 0, done.stderr
