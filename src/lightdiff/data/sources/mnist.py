"""MNIST and Fashion-MNIST: 60,000 images to train on, 10,000 test images to validate on, 28x28, 10 classes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torchvision import datasets

from lightdiff.data.download import ensure_files
from lightdiff.data.errors import DataError
from lightdiff.data.image_store import MemoryStore
from lightdiff.data.resize import Fit
from lightdiff.data.sources.base import Source, Splits, check_channels


@dataclass(frozen=True)
class MNIST(Source):
    """Handwritten digits, read from unpacked IDX files in `<data_dir>/MNIST/raw`; missing files are downloaded."""

    usual_channels: ClassVar[int] = 1
    usual_image_size: ClassVar[tuple[int, int]] = (32, 32)
    reader: ClassVar[type[datasets.MNIST]] = datasets.MNIST
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def _folder(self, data_dir: Path) -> Path:
        return data_dir / self.reader.__name__ / "raw"

    def prepare(self, data_dir: Path) -> None:
        archives = [archive for archive, _ in self.reader.resources]

        def download(scratch: Path) -> Path:
            self.reader(scratch, download=True)
            return self._folder(scratch)

        ensure_files(
            type(self).__name__,
            self._folder(data_dir),
            [archive.removesuffix(".gz") for archive in archives],
            [mirror + archives[0] for mirror in self.reader.mirrors],
            download,
        )

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        check_channels(channels, 1, type(self).__name__)
        self.prepare(data_dir)
        return Splits(self._store(data_dir, True, fit), self._store(data_dir, False, fit), self.class_names)

    def _store(self, data_dir: Path, train: bool, fit: Fit) -> MemoryStore:
        try:
            data = self.reader(data_dir, train=train)
        # torchvision first reads files of its former versions, which are pickles
        except pickle.UnpicklingError as error:
            processed = self._folder(data_dir).with_name("processed")
            raise DataError(f"{processed}: not read, it holds more than tensors; remove it") from error
        # garbled files make torchvision, numpy and torch fail in many ways
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{self._folder(data_dir)}: files cannot be read ({reason}); remove them to start anew"
            ) from error
        if len(data.data) != len(data.targets):
            raise DataError(f"{self._folder(data_dir)}: {len(data.data)} images but {len(data.targets)} labels")
        return MemoryStore(fit(data.data[:, None]), data.targets.to(torch.int64))


@dataclass(frozen=True)
class FashionMNIST(MNIST):
    """Pieces of clothing, read from unpacked IDX files in `<data_dir>/FashionMNIST/raw`; missing files are downloaded."""

    reader: ClassVar[type[datasets.MNIST]] = datasets.FashionMNIST
    class_names: ClassVar[tuple[str, ...]] = tuple(datasets.FashionMNIST.classes)
