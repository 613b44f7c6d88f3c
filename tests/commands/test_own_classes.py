"""A folder of class folders: its classes need not be told, they are kept, and samples are asked for by name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
import yaml

from lightdiff import load_model
from lightdiff.config.build import build_data, build_model
from lightdiff.config.instantiate import ConfigError
from own_photos import COLOURS, LABEL, OWN, write_photos
from runs import ROOT, composed
from waiting import PATIENCE

Command = Callable[..., CompletedProcess[str]]
RUN = "lightning_logs/folder/version_0"
TEXT = (*OWN, "conditioning=text", "model=resunet", "model.widths=[8]", "model.num_heads=2")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("own") / "photos")


@pytest.fixture
def work(photos: Path, tmp_path: Path) -> Path:
    """A working directory with 54 photos."""
    shutil.copytree(photos, tmp_path / "photos")
    return tmp_path


@pytest.fixture(scope="module")
def trained(photos: Path) -> Path:
    """A working directory without the photos, in which a run on them lies, made by the command line."""
    folder = photos.parent
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *LABEL], cwd=folder, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    return folder


def settings(folder: Path) -> dict:
    return yaml.safe_load((folder / RUN / "config.yaml").read_text())


def test_one_command_trains_on_the_classes_of_a_folder(trained: Path) -> None:
    config = settings(trained)
    for group in ("dataset", "conditioning"):
        assert config[group]["num_classes"] == 3 and config[group]["class_names"] == list(COLOURS)
    assert config["dataset"]["batch_size"] == 32  # of 49 images, where 128 is usual
    output = (trained / "stdout").read_text()
    assert (
        "dataset.batch_size=32" in output
        and "data:       49 training images, 5 to validate on, 3 classes (blue, green, red)\n" in output
    )


def test_samples_are_asked_for_by_name_and_without_the_data(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / RUN, tmp_path / "alone")
    model = load_model(tmp_path / "alone")

    def sample(labels: object) -> torch.Tensor:
        return model.sample(3, labels=labels, num_steps=2, seed=0)

    assert torch.equal(sample("red"), sample(2))
    assert torch.equal(sample(["red", "blue", 1]), sample([2, 0, 1]))
    assert not torch.equal(sample("red"), sample("blue"))
    with pytest.raises(ValueError, match=r"^labels=rot: choices: 0 blue, 1 green, 2 red$"):
        sample("rot")
    with pytest.raises(ValueError, match=r"labels=\[0, 3\]: choices: 0 blue, 1 green, 2 red"):
        sample([0, 3])
    with pytest.raises(ValueError, match=r"prompt=red: .* labels: 0 blue, 1 green, 2 red"):
        model.sample(1, prompt="red", num_steps=2)


def test_the_command_takes_names_too(trained: Path, command: Command, tmp_path: Path) -> None:
    images = []
    for number, labels in enumerate(("red", "[red,red]", "[2,red]", "2", "[blue,red]")):
        out = tmp_path / str(number)
        options = ("num_samples=2", "save=[npz]", "sampler.num_steps=2", "progress=false", f"out={out}")
        done = command("sample.py", f"ckpt_path={trained / RUN}", f"labels={labels}", *options)
        assert done.returncode == 0, done.stderr
        images.append(np.load(out / "samples.npz")["images"])
    assert all(np.array_equal(images[0], others) for others in images[:4])
    assert not np.array_equal(images[0], images[4])
    done = command("sample.py", f"ckpt_path={trained / RUN}", "labels=rot")
    assert done.returncode == 2
    assert done.stderr == "error: labels=rot: choices: 0 blue, 1 green, 2 red\n"


def test_a_resumed_run_keeps_its_numbers(trained: Path, command: Command, work: Path) -> None:
    shutil.copytree(trained / RUN, work / RUN)
    for number in range(100):  # a new run would take batches of 128
        shutil.copyfile(work / "photos/red/00.png", work / f"photos/red/more_{number}.png")
    done = command("train.py", f"resume={RUN}", "trainer.max_epochs=2", "dataset.on_changed=accept")
    assert done.returncode == 0, done.stderr
    assert settings(work)["dataset"]["batch_size"] == 32
    shutil.copytree(work / "photos/red", work / "photos/yellow")
    done = command("train.py", f"resume={RUN}", "trainer.max_epochs=3")
    assert done.returncode == 2
    assert "were 3 (blue, green, red) and are 4 (blue, green, red, yellow)" in done.stderr


def test_the_same_command_goes_on_with_its_run(trained: Path, command: Command, work: Path) -> None:
    again = [*LABEL, "auto_resume=true"]
    assert command("train.py", *again).returncode == 0
    done = command("train.py", *again)
    assert done.returncode == 0 and "this run is finished (1 epochs, 1 steps)" in done.stdout
    assert [path.name for path in (work / RUN).parent.iterdir()] == ["version_0"]


def test_what_is_said_is_not_overruled(work: Path, command: Command) -> None:
    done = command("train.py", *LABEL, "dataset.batch_size=128")
    assert done.returncode == 2
    assert "dataset.batch_size=128: there are only 49 training images; use a batch_size of at most 49" in done.stderr
    done = command("train.py", *LABEL, "dataset.num_classes=5")
    assert done.returncode == 2 and "dataset.num_classes=5: the data has 3 (blue, green, red)" in done.stderr
    assert not (work / "lightning_logs/folder").exists()


def test_a_folder_without_classes_is_refused_in_one_line(work: Path, command: Command) -> None:
    done = command("train.py", *LABEL, "dataset.data_dir=photos/red")
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: conditioning=LabelConditioner: ")
    assert "only the class 'image'" in done.stderr and not (work / "lightning_logs/folder").exists()


def test_models_are_built_from_a_composed_configuration(photos: Path) -> None:
    place = f"dataset.data_dir={photos}"
    assert build_model(composed(*LABEL, place)).conditioning.class_names == list(COLOURS)
    model = build_model(composed(*TEXT, place))
    assert model.conditioning.class_names == list(COLOURS)
    assert model.conditioning.captions.texts[:2] == ["blue", "a photo of blue"]
    asked = [
        model.sample(1, num_steps=2, seed=0, **wish) for wish in ({"prompt": "red"}, {"labels": "red"}, {"labels": 2})
    ]
    assert torch.equal(asked[0], asked[1]) and torch.equal(asked[0], asked[2])
    with pytest.raises(ConfigError, match=r"^dataset.data_dir=nowhere: no such folder"):
        build_model(composed(*LABEL, "dataset.data_dir=nowhere"))


def test_named_classes_need_no_data(tmp_path: Path) -> None:
    told = ("dataset.data_dir=nowhere", "dataset.num_classes=2", "dataset.class_names=[a,b]")
    assert build_model(composed(*LABEL, *told)).conditioning.num_classes == 2
    counted = build_model(composed(*LABEL, "dataset.data_dir=nowhere", "dataset.num_classes=2"))
    assert counted.conditioning.class_names is None


def test_classes_are_found_without_reading_an_image(photos: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "broken.png").write_bytes(b"no image")
    data = build_data(composed(*LABEL, f"dataset.data_dir={tmp_path}"))
    assert data.find_class_names() == ("a", "b")
