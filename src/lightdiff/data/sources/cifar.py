"""CIFAR-10: 50,000 images to train on, 10,000 test images to validate on, 32x32 in colour, 10 classes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torchvision import datasets

from lightdiff.data.binary_file import read_rows, size_of
from lightdiff.data.download import ensure_files
from lightdiff.data.errors import DataError
from lightdiff.data.image_store import MemoryStore
from lightdiff.data.resize import Fit
from lightdiff.data.sources.base import Source, Splits, check_channels, check_labels

PYTHON_FOLDER = datasets.CIFAR10.base_folder
BINARY_FOLDER = "cifar-10-batches-bin"
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ROW_BYTES = 1 + 3 * 32 * 32
"""Bytes of an image in the binary release: the label, then the red, green and blue planes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CIFAR(Source):
    """CIFAR-10, read from its Python release in `cifar-10-batches-py` or its binary one in `cifar-10-batches-bin`.

    The Python release is preferred, and downloaded where there is neither. Its files are checked by MD5.
    """

    usual_channels: ClassVar[int] = 3
    usual_image_size: ClassVar[tuple[int, int]] = (32, 32)
    licence: ClassVar[str] = "none stated"
    hub_name: ClassVar[str | None] = "uoft-cs/cifar10"

    def prepare(self, data_dir: Path) -> None:
        def download(scratch: Path) -> Path:
            datasets.CIFAR10(scratch, download=True)
            return scratch / PYTHON_FOLDER

        if not (data_dir / BINARY_FOLDER).is_dir():
            ensure_files("CIFAR", data_dir / PYTHON_FOLDER, _python_files(), [datasets.CIFAR10.url], download)

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        check_channels(channels, 3, "CIFAR")
        self.prepare(data_dir)
        if all((data_dir / PYTHON_FOLDER / file).is_file() for file in _python_files()):
            return _from_python_release(data_dir, fit)
        return _from_binary_release(data_dir / BINARY_FOLDER, fit)


def _python_files() -> list[str]:
    reader = datasets.CIFAR10
    return [file for file, _ in [*reader.train_list, *reader.test_list]] + [reader.meta["filename"]]


def _from_python_release(data_dir: Path, fit: Fit) -> Splits:
    # their MD5 takes minutes where somebody has made them endless
    for file in _python_files():
        size_of(data_dir / PYTHON_FOLDER / file)

    def store(train: bool) -> MemoryStore:
        try:
            # checks the MD5 of each file before it unpickles any
            data = datasets.CIFAR10(data_dir, train=train)
        except RuntimeError as error:
            folder = data_dir / PYTHON_FOLDER
            raise DataError(f"{folder}: files do not match their MD5; remove the folder to start anew") from error
        images = torch.from_numpy(data.data).permute(0, 3, 1, 2)
        return MemoryStore(fit(images.contiguous()), torch.tensor(data.targets, dtype=torch.int64))

    return Splits(store(True), store(False), CLASS_NAMES)


def _from_binary_release(folder: Path, fit: Fit) -> Splits:
    train_files, test_files = sorted(folder.glob("data_batch_*.bin")), sorted(folder.glob("test_batch.bin"))
    if not train_files or not test_files:
        raise DataError(f"{folder}: data_batch_1.bin to data_batch_5.bin and test_batch.bin are expected")
    if len(train_files) != 5:
        log.warning("%s: %d of the 5 training files of CIFAR-10", folder, len(train_files))
    return Splits(_read_binary(train_files, fit), _read_binary(test_files, fit), CLASS_NAMES)


def _read_binary(files: Sequence[Path], fit: Fit) -> MemoryStore:
    parts = [read_rows(file, ROW_BYTES) for file in files]
    for file, part in zip(files, parts, strict=True):
        check_labels(part[:, 0], len(CLASS_NAMES), str(file))
    rows = torch.cat(parts)
    return MemoryStore(fit(rows[:, 1:].reshape(-1, 3, 32, 32)), rows[:, 0].to(torch.int64))
