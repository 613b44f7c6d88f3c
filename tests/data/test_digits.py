"""The digits inside scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from lightdiff.data import DiffSet, Digits


def test_facts() -> None:
    data = DiffSet("digits")
    data.setup()
    assert (data.num_train, data.num_val) == (1617, 180)
    assert (data.channels, data.image_size, data.class_names) == (1, (16, 16), tuple("0123456789"))
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (128, 1, 16, 16) and batch["image"].dtype == torch.uint8
    assert batch["label"].shape == (128,) and batch["label"].dtype == torch.int64
    assert set(data.val_set.labels.tolist()) == set(range(10))


def test_pixels_and_labels_are_scikit_learns_on_the_scale_to_255() -> None:
    data = DiffSet("digits", image_size=8)
    data.setup()
    images = torch.cat([data.train_set.images, data.val_set.images])
    original = load_digits()
    expected = torch.from_numpy(original.images).to(torch.float64) * 255 / 16
    assert images.max() == 255
    rows = {
        image.numpy().tobytes(): label for image, label in zip(expected.round().byte(), original.target, strict=True)
    }
    labels = torch.cat([data.train_set.labels, data.val_set.labels]).tolist()
    assert [rows[image[0].numpy().tobytes()] for image in images] == labels
    assert len(images) == 1797


def test_the_validation_images_are_the_same_for_every_seed() -> None:
    one, two = DiffSet("digits", seed=1), DiffSet("digits", seed=2)
    one.setup()
    two.setup()
    assert torch.equal(one.val_set.images, two.val_set.images)
    assert not torch.equal(next(iter(one.train_dataloader()))["label"], next(iter(two.train_dataloader()))["label"])


def test_val_fraction() -> None:
    data = DiffSet("digits", source=Digits(val_fraction=0.5))
    data.setup()
    assert abs(data.num_train - data.num_val) == 1
    with pytest.raises(ValueError, match=r"val_fraction=1\.5"):
        Digits(val_fraction=1.5)
