"""Fixtures: small files in the formats of the data sets, and a data set whose images show their own number."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from torch import Tensor

from lightdiff.data import DiffSet, Source, Splits
from lightdiff.data.image_store import MemoryStore
from lightdiff.data.resize import Fit


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.fixture
def random_pixels() -> Callable[..., Tensor]:
    return random_images


def idx_bytes(values: Tensor) -> bytes:
    """The IDX format: 0, 0, 8 = unsigned byte, number of dimensions, each as big-endian int32, the values."""
    return struct.pack(f">4B{values.ndim}i", 0, 0, 8, values.ndim, *values.shape) + values.numpy().tobytes()


@pytest.fixture
def idx_files() -> dict[str, bytes]:
    """Contents of the four files of a small MNIST: 20 images to train on, 10 to validate on."""
    return {
        "train-images-idx3-ubyte": idx_bytes(random_images(20, 28, 28)),
        "train-labels-idx1-ubyte": idx_bytes(torch.arange(20, dtype=torch.uint8) % 10),
        "t10k-images-idx3-ubyte": idx_bytes(random_images(10, 28, 28, seed=1)),
        "t10k-labels-idx1-ubyte": idx_bytes(torch.arange(10, dtype=torch.uint8)),
    }


@pytest.fixture
def mnist_dir(tmp_path: Path, idx_files: dict[str, bytes]) -> Path:
    for name in ("MNIST", "FashionMNIST"):
        raw = tmp_path / name / "raw"
        raw.mkdir(parents=True)
        for file, content in idx_files.items():
            (raw / file).write_bytes(content)
    return tmp_path


def save_image(path: Path, pixels: Tensor) -> Path:
    """Write (h, w) or (h, w, 3) uint8 values in the format of the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.numpy()).save(path)
    return path


@pytest.fixture
def write_image() -> Callable[[Path, Tensor], Path]:
    return save_image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """24 PNG and JPEG images of various sizes in three class folders, one of them nested."""
    for number in range(24):
        folder = ("bird", "cat", "dog/small")[number % 3]
        kind = ("png", "jpg")[number % 2]
        pixels = random_images(20 + number, 30 - number // 2, 3, seed=number)
        save_image(tmp_path / "photos" / folder / f"{number:02d}.{kind}", pixels)
    return tmp_path / "photos"


@dataclass(frozen=True)
class Numbered(Source):
    """Images whose first pixel and label are their own number; the last ones are for validation."""

    num_train: int = 50
    num_val: int = 11

    usual_channels: ClassVar[int] = 1
    usual_image_size: ClassVar[tuple[int, int]] = (4, 6)

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        numbers = torch.arange(self.num_train + self.num_val)
        images = torch.zeros(len(numbers), 1, 4, 6, dtype=torch.uint8)
        images[:, 0, 0, 0] = numbers.to(torch.uint8)
        stores = (MemoryStore(fit(images)[part], numbers[part]) for part in _parts(self.num_train))
        return Splits(*stores, tuple(str(number) for number in range(len(numbers))))


def _parts(num_train: int) -> tuple[slice, slice]:
    return slice(num_train), slice(num_train, None)


@pytest.fixture
def numbered() -> type[Numbered]:
    return Numbered


def pretend_trainer(*, rank: int = 0, world_size: int = 1, processed: int = 0, training: bool = True) -> Any:
    """A stand-in for a trainer, with all that DiffSet reads from one."""
    total = SimpleNamespace(processed=processed)
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(total=total)))
    return SimpleNamespace(
        global_rank=rank,
        world_size=world_size,
        training=training,
        overfit_batches=0,
        fit_loop=loop,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )


@pytest.fixture
def attach() -> Callable[..., DiffSet]:
    """Give a DiffSet a trainer of that rank and position."""

    def attached(data: DiffSet, **trainer: Any) -> DiffSet:
        data.trainer = pretend_trainer(**trainer)
        return data

    return attached
