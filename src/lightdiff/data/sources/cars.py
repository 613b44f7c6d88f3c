"""Stanford Cars, read from a local folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from lightdiff.data.errors import DataError
from lightdiff.data.file_store import FileStore
from lightdiff.data.order import keyed_split
from lightdiff.data.resize import Fit
from lightdiff.data.sources.base import Splits
from lightdiff.data.sources.folder import Folder

NAMES = "devkit/cars_meta.mat"
PARTS = {"devkit/cars_train_annos.mat": "cars_train", "cars_test_annos_withlabels.mat": "cars_test"}
"""Annotation files and the folders of the images that they describe, with the names that torchvision's StanfordCars uses."""


@dataclass(frozen=True)
class StanfordCars(Folder):
    """16,185 photos of cars of 196 models, the published training and test set together (Krause et al. 2013).

    The files belong in `<data_dir>/stanford_cars`, laid out as torchvision's StanfordCars reads them. They cannot be downloaded,
    because the original address no longer exists.

    Args:
        val_fraction: share of the images to validate on, the same ones for every seed.
        max_pixels: images with more pixels are refused.
        range: as for `Folder`; the photos themselves are in colour and need none.
    """

    usual_data_dir: ClassVar[str | None] = "data"
    licence: ClassVar[str] = "unknown"

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        root = data_dir / "stanford_cars"
        missing = [name for name in (NAMES, *PARTS, *PARTS.values()) if not (root / name).exists()]
        if missing:
            raise DataError(
                f"cars: {root} has no {', '.join(missing)}; the data set cannot be downloaded any more: get it elsewhere and "
                f"put {NAMES}, {', '.join(PARTS)} and the folders {', '.join(PARTS.values())} there; "
                "dataset=folder reads any photos, and dataset=digits needs no files"
            )
        class_names = tuple(str(name) for name in _matlab(root / NAMES)["class_names"])
        files, labels = [], []
        for file, folder in PARTS.items():
            for entry in _matlab(root / file)["annotations"].reshape(-1):
                files.append(f"{folder}/{Path(str(entry['fname'])).name}")
                labels.append(int(entry["class"]) - 1)
        if not files or not 0 <= min(labels) <= max(labels) < len(class_names):
            raise DataError(f"{root}: annotations and class names do not fit together")

        def store(rows: list[int]) -> FileStore:
            chosen = torch.tensor([labels[row] for row in rows], dtype=torch.int64)
            names = [files[row] for row in rows]
            reading = {"channels": channels, "fit": fit, "max_pixels": self.max_pixels, "value_range": self.range}
            return FileStore(root, names, chosen, **reading)

        train, val = keyed_split(len(files), self.val_fraction)
        return Splits(store(train), store(val), class_names)


def _matlab(path: Path) -> dict:
    """Return the content of a .mat file, which holds arrays and no code.

    Raises:
        DataError: the file cannot be read; the message names it.
    """
    import scipy.io

    try:
        return scipy.io.loadmat(path, squeeze_me=True)
    # a garbled file may fail in any way
    except Exception as error:
        raise DataError(f"{path}: not a readable .mat file ({' '.join(str(error).split())})") from error
