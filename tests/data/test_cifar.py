"""CIFAR-10 in its binary release, and the check of the Python release."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision import datasets

from lightdiff.data import DataError, DiffSet


def binary(labels: torch.Tensor, images: torch.Tensor) -> bytes:
    return torch.cat([labels[:, None].to(torch.uint8), images.reshape(len(images), -1)], dim=1).numpy().tobytes()


@pytest.fixture
def cifar_dir(tmp_path: Path, random_pixels) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    images = random_pixels(30, 3, 32, 32)
    labels = torch.arange(30) % 10
    for number in range(5):
        part = slice(number * 5, number * 5 + 5)
        (folder / f"data_batch_{number + 1}.bin").write_bytes(binary(labels[part], images[part]))
    (folder / "test_batch.bin").write_bytes(binary(labels[25:], images[25:]))
    return tmp_path


def test_the_binary_release_is_read(cifar_dir: Path, random_pixels) -> None:
    data = DiffSet("cifar", data_dir=str(cifar_dir), batch_size=4)
    data.setup()
    images = random_pixels(30, 3, 32, 32)
    assert (data.num_train, data.num_val, data.channels, data.image_size) == (25, 5, 3, (32, 32))
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    batch = data.train_set[range(25)]
    assert torch.equal(batch["image"], images[:25])
    assert batch["label"].tolist() == [n % 10 for n in range(25)]
    assert torch.equal(data.val_set[range(5)]["image"], images[25:])


def test_missing_training_files_are_said_not_hidden(cifar_dir: Path, caplog) -> None:
    (cifar_dir / "cifar-10-batches-bin/data_batch_4.bin").unlink()
    data = DiffSet("cifar", data_dir=str(cifar_dir), batch_size=4)
    data.setup()
    assert data.num_train == 20
    assert "4 of the 5 training files" in caplog.text


def test_files_that_are_not_of_the_format_are_named(cifar_dir: Path) -> None:
    file = cifar_dir / "cifar-10-batches-bin/data_batch_2.bin"
    good = file.read_bytes()
    file.write_bytes(good[:-1])
    with pytest.raises(DataError, match=r"data_batch_2\.bin: 15364 bytes are not a whole number of images"):
        DiffSet("cifar", data_dir=str(cifar_dir)).setup()
    file.write_bytes(b"\x0a" + good[1:])
    with pytest.raises(DataError, match=r"data_batch_2\.bin: labels from 6 to 10"):
        DiffSet("cifar", data_dir=str(cifar_dir)).setup()


def test_a_binary_folder_without_test_images_is_refused(cifar_dir: Path) -> None:
    (cifar_dir / "cifar-10-batches-bin/test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"cifar-10-batches-bin: .*test_batch\.bin are expected"):
        DiffSet("cifar", data_dir=str(cifar_dir)).setup()


def test_the_python_release_is_not_unpickled_unless_its_md5_is_right(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    reader = datasets.CIFAR10
    for name, _ in [*reader.train_list, *reader.test_list, (reader.meta["filename"], "")]:
        (folder / name).write_bytes(b"cbuiltins\nexit\n(I3\ntR.")  # a pickle that ends the program
    with pytest.raises(DataError, match="do not match their MD5"):
        DiffSet("cifar", data_dir=str(tmp_path)).setup()


def test_grayscale_is_refused(cifar_dir: Path) -> None:
    with pytest.raises(ValueError, match="channels=1: the images of CIFAR have 3"):
        DiffSet("cifar", data_dir=str(cifar_dir), channels=1).setup()
