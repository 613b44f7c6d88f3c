"""A column of a table as the condition of the images in another column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from lightdiff.config.build import build_model
from lightdiff.data import DataError, DiffSet, HuggingFace
from runs import composed, train

datasets.disable_progress_bars()
COUNT = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of gray images of 8x8 whose negatives stand in an earlier column."""
    pixels = [np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8) for i in range(COUNT)]
    features = {"negative": datasets.Image(), "photo": datasets.Image(), "number": datasets.Value("int64")}
    table = datasets.Dataset.from_dict(
        {
            "negative": [Image.fromarray(255 - each) for each in pixels],
            "photo": [Image.fromarray(each) for each in pixels],
            "number": list(range(COUNT)),
        },
        features=datasets.Features(features),
    )
    table.save_to_disk(tmp_path / "mine")
    return tmp_path / "mine"


def diffset(folder: Path, condition_column: str = "negative", max_memory_gb: float = 4.0, **source: Any) -> DiffSet:
    settings = {"condition_column": condition_column, "condition_channels": 1, "val_fraction": 0.25, **source}
    usual = {"image_size": 8, "channels": 1, "batch_size": 4, "max_memory_gb": max_memory_gb}
    data = DiffSet("huggingface", source=HuggingFace(str(folder), **settings), data_dir=str(folder.parent), **usual)
    data.setup()
    return data


@pytest.mark.parametrize("max_memory_gb", [4.0, 0.0], ids=["in memory", "from the table"])
def test_every_image_comes_with_its_own_condition(folder: Path, max_memory_gb: float) -> None:
    data = diffset(folder, max_memory_gb=max_memory_gb)
    assert (data.num_train, data.num_val) == (9, 3)
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for batch in loader:
            assert batch["condition"].dtype == torch.uint8 and batch["image"].float().std() > 0
            assert torch.equal(batch["condition"], 255 - batch["image"])


def test_without_the_column_the_images_are_the_same(folder: Path) -> None:
    plain = HuggingFace(str(folder), image_column="photo", val_fraction=0.25)
    data = DiffSet("huggingface", source=plain, data_dir=str(folder.parent), image_size=8, channels=1, batch_size=4)
    data.setup()
    found = diffset(folder).train_set[range(9)]
    assert torch.equal(found["image"], data.train_set[range(9)]["image"])
    assert "condition" not in data.train_set[range(9)]
    assert diffset(folder).train_set.fingerprint != data.train_set.fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"condition_column": "negativ"}, r"^source.condition_column=negativ: no such column; did you mean negative"),
        ({"condition_column": "number"}, r"^source.condition_column=number: a second .*of images: negative, photo$"),
        ({"condition_column": "photo", "image_column": "photo"}, r"^source.condition_column=photo: a second column"),
    ],
)
def test_another_column_is_refused_in_one_line(settings: dict[str, str], message: str, folder: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        diffset(folder, **settings)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^condition_channels=5: 1 to 4 is expected$"):
        HuggingFace("mine", condition_channels=5)


MODEL = ("model=unet_small", "model.widths=[4,4]", "model.attention_levels=[]", "model.num_heads=1")


def test_training_by_the_configuration(folder: Path, tmp_path: Path) -> None:
    table = (f"dataset.source.path={folder}", "dataset.source.condition_column=negative", "conditioning=paired")
    config = composed(
        *("dataset=huggingface", *table, "dataset.image_size=8", "dataset.channels=1", f"dataset.data_dir={tmp_path}"),
        *("dataset.source.condition_channels=1", "dataset.batch_size=4", "dataset.num_workers=0", "trainer=debug"),
        *(*MODEL, "trainer.enable_progress_bar=false", "callbacks=no_samples"),
    )
    train(config, tmp_path / "run" / "version_0")
    assert list((tmp_path / "run" / "version_0").rglob("last.ckpt"))


@pytest.mark.parametrize("dataset", ["paired", "huggingface"])
def test_the_channels_of_the_condition_are_said_once(dataset: str) -> None:
    for channels in (1, 3):
        settings = [f"dataset={dataset}", "conditioning=paired", *MODEL, "dataset.data_dir=.", "dataset.image_size=8"]
        settings += ["dataset.source.path=mine"] if dataset == "huggingface" else []
        model = build_model(composed(*settings, f"dataset.source.condition_channels={channels}"))
        assert model.conditioning.condition_shape == (channels, 8, 8)
    # of a data set that does not say them
    assert build_model(composed("dataset=digits", "conditioning=paired", *MODEL)).conditioning.condition_channels == 3
