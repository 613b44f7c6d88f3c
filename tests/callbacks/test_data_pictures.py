"""The pictures of the training data at the start of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightdiff.data import DiffSet
from lightdiff.utils.captions import TOP
from own_photos import write_photos
from runs import tiny, train

SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "trainer.limit_val_batches=1")
FEW = ("callbacks.data.rows=2", "callbacks.data.columns=3", "callbacks.data.stages=4", "callbacks.samples.rows=1")


def drawn(folder: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(folder / "samples" / f"{name}.png"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "version_0"
    train(tiny(*SHORT, *FEW), folder)
    return folder


def test_the_first_image_stands_below_its_label(digits: Path) -> None:
    data = DiffSet("digits")
    data.setup()
    picture = drawn(digits, "first")
    assert picture.shape[1] == 256
    image = data.train_set[[0]]["image"][0, 0].numpy()
    assert np.array_equal(picture[TOP : TOP + 256], image.repeat(16, 0).repeat(16, 1))
    assert (picture[:TOP] < 128).any()


def test_each_image_of_the_grid_has_a_label(digits: Path) -> None:
    picture = drawn(digits, "data")
    # 16x16 images are enlarged to 64x64
    top, step = 6, TOP + 64 + 6 + 6
    for row in range(2):
        for column in range(3):
            left = 6 + column * (64 + 6)
            caption = picture[top + row * step : top + row * step + TOP, left : left + 64]
            assert (caption < 128).any() and (caption > 200).mean() > 0.5


def test_x_t_is_shown_clipped_and_whole(digits: Path) -> None:
    picture = drawn(digits, "noisy").astype(int)
    factor = (len(picture) - TOP) // (3 * 17 + 1)
    clean, clipped, whole = picture[TOP::factor, -(4 * 17 + 1) * factor :: factor][:-1].reshape(3, 17, -1)[:, 1:, 1:17]
    # the first column is t = 0, where only the scale of the gray differs
    assert np.array_equal(clean, clipped)
    assert np.ptp(whole) < np.ptp(clean)
    last = picture[TOP::factor, -17 * factor :: factor][:-1].reshape(3, 17, -1)[:, 1:, :16]
    # pure noise: a third of it lies outside of [-1, 1] and is cut off in one strip only
    at_the_ends = [((strip == 0) | (strip == 255)).mean() for strip in last]
    assert at_the_ends[1] > 0.2 > 0.05 > at_the_ends[2]


@pytest.mark.parametrize("classes", [3, 1])
def test_images_of_a_folder_have_labels_where_there_are_classes(classes: int, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    where = tmp_path / "photos" if classes > 1 else tmp_path / "photos" / "red"
    own = ("dataset=folder", f"dataset.data_dir={where}", "dataset.image_size=16", "dataset.num_workers=0")
    train(tiny(*own, "dataset.batch_size=4", *SHORT, *FEW), tmp_path / "version_0")
    labelled = (drawn(tmp_path / "version_0", "data").min(axis=-1) == 255).mean()
    assert labelled > 0.2 if classes > 1 else labelled == 0
    assert drawn(tmp_path / "version_0", "first").shape[0] == (256 + TOP + 6 if classes > 1 else 256)
