"""The real data sets, where they lie beside the project."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightdiff.data import DiffSet


@pytest.mark.parametrize(("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion", 0.2860, 0.3530)])
def test_mnist_and_fashion_have_their_known_statistics(real_data: Path, name: str, mean: float, std: float) -> None:
    data = DiffSet(name, data_dir=str(real_data), image_size=28)
    data.setup()
    assert (data.num_train, data.num_val) == (60_000, 10_000)
    pixels = data.train_set.images.to(torch.float32) / 255
    assert pixels.mean().item() == pytest.approx(mean, abs=1e-4)
    assert pixels.std().item() == pytest.approx(std, abs=1e-4)
    assert data.val_set.labels.bincount().sum() == 10_000
    assert len(data.train_dataloader()) == 468


def test_cifar_binary_release_and_the_same_images_as_a_folder(real_data: Path) -> None:
    binary = DiffSet("cifar", data_dir=str(real_data))
    binary.setup()
    assert (binary.num_train, binary.num_val) == (30_000, 10_000)
    assert binary.train_set.labels.bincount().tolist() == [3_000] * 10
    folder = DiffSet(
        "folder", data_dir=str(real_data / "cifar10_jpeg"), image_size=32, resize_mode="none", max_memory_gb=0
    )
    folder.setup()
    assert (folder.num_train, folder.num_val) == (30_000, 10_000)
    assert folder.class_names == binary.class_names
    wanted = folder.val_set[[0]]
    of_class = binary.val_set.images[binary.val_set.labels == wanted["label"]]
    assert (of_class == wanted["image"]).all(dim=(1, 2, 3)).any()


def test_cars_are_cropped_to_squares(real_data: Path) -> None:
    data = DiffSet("folder", data_dir=str(real_data / "cars"), max_memory_gb=0)
    data.setup()
    assert (data.num_train, data.num_val, data.class_names) == (900, 100, ("image",))
    assert data.val_set[[0, 1, 2]]["image"].shape == (3, 3, 64, 64)
