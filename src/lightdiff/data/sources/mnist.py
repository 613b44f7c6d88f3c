"""MNIST and Fashion-MNIST: 60,000 images to train on, 10,000 test images to validate on, 28x28, 10 classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torchvision import datasets

from lightdiff.data.binary_file import read_idx
from lightdiff.data.download import ensure_files
from lightdiff.data.errors import DataError
from lightdiff.data.image_store import MemoryStore
from lightdiff.data.resize import Fit
from lightdiff.data.sources.base import Source, Splits, check_channels, check_labels


@dataclass(frozen=True)
class MNIST(Source):
    """Handwritten digits, read from unpacked IDX files in `<data_dir>/MNIST/raw`; missing files are downloaded."""

    usual_channels: ClassVar[int] = 1
    usual_image_size: ClassVar[tuple[int, int]] = (32, 32)
    reader: ClassVar[type[datasets.MNIST]] = datasets.MNIST
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    licence: ClassVar[str] = "CC BY-SA 3.0"
    hub_name: ClassVar[str | None] = "ylecun/mnist"

    def _folder(self, data_dir: Path) -> Path:
        return data_dir / self.reader.__name__ / "raw"

    def _files(self) -> list[str]:
        """Return the names of the images and labels to train on, and of those to validate on."""
        return [archive.removesuffix(".gz") for archive, _ in self.reader.resources]

    def prepare(self, data_dir: Path) -> None:
        def download(scratch: Path) -> Path:
            self.reader(scratch, download=True)
            return self._folder(scratch)

        ensure_files(
            type(self).__name__,
            self._folder(data_dir),
            self._files(),
            [mirror + self.reader.resources[0][0] for mirror in self.reader.mirrors],
            download,
        )

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        check_channels(channels, 1, type(self).__name__)
        self.prepare(data_dir)
        images, labels, val_images, val_labels = self._files()
        train, val = self._store(data_dir, images, labels, fit), self._store(data_dir, val_images, val_labels, fit)
        return Splits(train, val, self.class_names)

    def _store(self, data_dir: Path, images: str, labels: str, fit: Fit) -> MemoryStore:
        folder = self._folder(data_dir)
        pixels, numbers = read_idx(folder / images, None, 28, 28), read_idx(folder / labels, None)
        if len(pixels) != len(numbers):
            raise DataError(f"{folder}: {len(pixels)} images in {images} but {len(numbers)} labels in {labels}")
        check_labels(numbers, len(self.class_names), str(folder / labels))
        return MemoryStore(fit(pixels[:, None]), numbers.to(torch.int64))


@dataclass(frozen=True)
class FashionMNIST(MNIST):
    """Pieces of clothing, read from unpacked IDX files in `<data_dir>/FashionMNIST/raw`; missing files are downloaded."""

    reader: ClassVar[type[datasets.MNIST]] = datasets.FashionMNIST
    class_names: ClassVar[tuple[str, ...]] = tuple(datasets.FashionMNIST.classes)
    licence: ClassVar[str] = "MIT"
    hub_name: ClassVar[str | None] = "zalando-datasets/fashion_mnist"
