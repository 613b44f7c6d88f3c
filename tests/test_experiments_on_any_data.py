"""An experiment keeps its own settings of the data set when another one is chosen: every recipe fits every data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightdiff.config.build import build_data, build_model
from lightdiff.config.classes import with_classes
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.settings import check_fit, check_settings
from lightdiff.data import DiffSet
from lightdiff.model import DiffusionModel
from runs import ROOT, composed, last, train
from small_sets import MODELS_OF_CARS, write_small_sets
from test_experiments import SMALL

EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
DATA_SETS = sorted(path.stem for path in (ROOT / "conf" / "dataset").glob("*.yaml"))
RECIPE = {"image_size", "resize_mode", "horizontal_flip", "batch_size", "drop_last"}
"""Keys of group dataset that an experiment may set: they mean the same for every data set."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files of the data sets."""
    return write_small_sets(tmp_path_factory.mktemp("data"))


@pytest.fixture
def unset_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the first weights of networks as they lie in memory, which is faster than to draw them."""
    for name in ("kaiming_uniform_", "xavier_uniform_", "uniform_", "normal_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **settings: tensor)


def of(dataset: str, files: Path) -> list[str]:
    """The overrides that choose a data set and say where its files are."""
    if dataset == "flat folder":
        return ["dataset=folder", f"dataset.data_dir={files / 'photos'}"]
    if dataset == "folder":
        return ["dataset=folder", f"dataset.data_dir={files / 'animals'}"]
    if dataset == "huggingface":
        return [f"dataset={dataset}", f"dataset.source.path={files / 'animals'}", f"dataset.data_dir={files}"]
    if dataset == "paired":
        source = ["dataset.source.image_dir=animals", "dataset.source.condition_dir=conditions"]
        return [f"dataset={dataset}", f"dataset.data_dir={files}", *source]
    own = [f"dataset.data_dir={files}"] if dataset != "digits" else []
    # the small files show two of the 196 models
    return [f"dataset={dataset}", *own, *([f"dataset.num_classes={len(MODELS_OF_CARS)}"] if dataset == "cars" else [])]


def built(config: dict[str, Any]) -> DiffSet:
    """Build data and model, as training does, and check that they fit."""
    check_settings(config)
    data = build_data(config)
    data.setup()
    check_fit(build_model(with_classes(config, data)), data)
    return data


def refused_pair(name: str, dataset: str) -> tuple[str, list[str]]:
    """The message where a recipe does not fit a data set as it is, and what to add; ("", []) where it fits."""
    if (name, dataset) == ("text_to_digit", "cars"):
        return r"conditioning\.templates='A photo of .* words; .*\(max_tokens\)", ["conditioning.max_tokens=16"]
    chosen = [entry for entry in config_of_experiment(name)["defaults"] if "conditioning" in str(entry)]
    if dataset == "flat folder" and chosen and "super_resolution" not in str(chosen[-1]):
        # without a class the model that teaches itself cannot be guided
        also = {"text_to_digit": ["model=unet"], "mnist_one_step_scratch": ["objective.guidance_scale=1"]}
        mended = ["conditioning=none", *also.get(name, [])]
        return r"conditioning=\w+: the data set has only the class .*choices: conditioning=none", mended
    return "", []


@pytest.mark.parametrize("dataset", [*DATA_SETS, "flat folder"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_takes_every_data_set_or_refuses_it_in_one_line(
    name: str, dataset: str, files: Path, unset_weights: None
) -> None:
    overrides = [f"experiment={name}", *of(dataset, files), "trainer=cpu", "ema_decay=null"]
    if name.endswith("_one_step"):
        # their teacher is a model of one data set
        overrides += ["objective.teacher=null", "objective.guidance_scale=1"]
    refused, mended = refused_pair(name, dataset)
    if refused:
        with pytest.raises(ConfigError, match=rf"^{refused}[^\n]*$"):
            built(composed(*overrides))
    config = composed(*overrides, *mended)
    stated = config_of_experiment(name).get("dataset", {})
    for key in stated.keys() - {"image_size"}:
        assert config["dataset"][key] == stated[key]
    assert built(config).name == dataset.removeprefix("flat ")


def config_of_experiment(name: str) -> dict[str, Any]:
    """What the file of an experiment says, and those that it builds on."""
    config = yaml.safe_load((ROOT / "conf" / "experiment" / f"{name}.yaml").read_text())
    for base in (entry for entry in config["defaults"] if isinstance(entry, str)):
        inherited = config_of_experiment(base)
        config = {**inherited, **config, "defaults": [*inherited["defaults"], *config["defaults"]]}
    return config


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_nothing_that_only_one_data_set_has(name: str) -> None:
    stated = config_of_experiment(name).get("dataset", {})
    assert stated.keys() <= RECIPE
    assert isinstance(stated.get("image_size", "${...}"), str)
    assert stated.get("resize_mode") != "none"
    assert "image_size" not in (model := config_of_experiment(name).get("model", {})) and "channels" not in model


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("experiment=ddpm_unet dataset=cifar", False),
        ("dataset=cifar experiment=ddpm_unet", False),
        ("dataset=cifar", True),
        ("experiment=ddpm_unet dataset=cifar dataset.horizontal_flip=true", True),
        ("experiment=cars dataset=folder dataset.data_dir=images", True),
        ("experiment=cars dataset=folder dataset.data_dir=images dataset.horizontal_flip=false", False),
        ("experiment=cifar_gpu", True),
        ("experiment=cifar_gpu dataset=mnist", False),
    ],
)
def test_what_is_typed_goes_before_the_experiment_and_that_before_the_data_set(overrides: str, expected: bool) -> None:
    assert composed(*overrides.split())["dataset"]["horizontal_flip"] is expected


@pytest.mark.parametrize(
    ("overrides", "side", "mode"),
    [
        ("experiment=mnist_fast", 28, "pad"),
        ("experiment=fashion_fast", 28, "pad"),
        ("experiment=mnist_fast dataset=cifar", 32, "pad"),
        ("experiment=mnist_fast dataset=mnist dataset.image_size=32", 32, "pad"),
        ("experiment=toy dataset=folder dataset.data_dir=images", 64, "crop"),
        ("experiment=diffusing_digits dataset=cifar", 32, "resize"),
    ],
)
def test_an_experiment_without_padding_takes_each_data_set_at_its_own_size(
    overrides: str, side: int, mode: str
) -> None:
    config = composed(*overrides.split())
    assert (config["dataset"]["image_size"], config["dataset"]["resize_mode"]) == (side, mode)
    assert config["model"]["image_size"] == side


def test_images_that_are_not_padded_are_those_of_the_files(files: Path) -> None:
    data = build_data(composed("experiment=mnist_fast", *of("mnist", files)))
    data.setup()
    raw = (files / "MNIST" / "raw" / "train-images-idx3-ubyte").read_bytes()[16:]
    assert data.train_set[list(range(24))]["image"].numpy().tobytes() == raw


NARROW = {
    "cars": ["model.widths=[4,8]", "model.embed_dim=8"],
    "mnist_fast": ["model.widths=[8,8]", "model.num_heads=1"],
    "text_to_digit": ["model.widths=[8,8]", "model.attention_levels=[1]"],
}


@pytest.mark.parametrize(
    ("name", "dataset", "shape"),
    [
        ("cars", "flat folder", (3, 64, 64)),
        ("mnist_fast", "cifar", (3, 32, 32)),
        ("text_to_digit", "cifar", (3, 32, 32)),
    ],
)
def test_runs_two_steps_with_another_data_set(
    name: str, dataset: str, shape: tuple[int, int, int], files: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "version_0"
    train(composed(f"experiment={name}", *of(dataset, files), *NARROW[name], *SMALL, "callbacks=no_samples"), folder)
    assert last(folder)["global_step"] == 2
    written = yaml.safe_load((folder / "config.yaml").read_text())["dataset"]
    stated = config_of_experiment(name)["dataset"]
    for key in stated.keys() - {"image_size", "batch_size"}:
        assert written[key] == stated[key]
    assert (written["channels"], written["image_size"], written["image_size"]) == shape


def test_photos_are_mirrored_as_the_cars_tutorial_does(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    step = DiffusionModel.training_step
    monkeypatch.setattr(
        DiffusionModel, "training_step", lambda model, batch, n: (seen.extend(batch["image"]), step(model, batch, n))[1]
    )
    settings = (*NARROW["cars"], *SMALL, "callbacks=no_samples", "dataset.batch_size=8")
    config = composed("experiment=cars", *of("flat folder", files), *settings)
    train(config, tmp_path / "version_0")
    data = build_data(config)
    data.setup()
    photos = {image.numpy().tobytes() for image in data.train_set[list(range(data.num_train))]["image"]}
    mirrored = [image.numpy().tobytes() not in photos for image in seen]
    assert all(
        (image.flip(-1) if turned else image).numpy().tobytes() in photos
        for image, turned in zip(seen, mirrored, strict=True)
    )
    assert len(seen) == 16
    assert 0 < sum(mirrored) < 16


def test_a_data_set_of_ones_own_that_does_not_say_its_size_is_refused_with_both_keys(command, tmp_path: Path) -> None:
    own = tmp_path / "my_conf" / "dataset" / "mine.yaml"
    own.parent.mkdir(parents=True)
    lines = (ROOT / "conf" / "dataset" / "digits.yaml").read_text().splitlines(keepends=True)
    own.write_text("".join(line for line in lines if not line.startswith("unpadded_size")))
    typed = ("--config-dir", "my_conf", "experiment=mnist_fast", "dataset=mine", "trainer=cpu")
    done = command("train.py", *typed)
    assert done.returncode == 2
    assert done.stderr == "error: dataset.image_size: Interpolation key 'dataset.unpadded_size' not found\n"
    assert not (tmp_path / "lightning_logs").exists()
