"""Folder: the image files in any directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

import torch

from lightdiff.data.errors import DataError
from lightdiff.data.image_store import FileStore
from lightdiff.data.order import keyed_split
from lightdiff.data.pixel_values import check_range
from lightdiff.data.resize import Fit, ResizeMode
from lightdiff.data.sources.base import Source, Splits, check_val_fraction

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
VAL_FOLDERS = ("val", "valid", "validation", "test")


@dataclass(frozen=True)
class Folder(Source):
    """All image files below `data_dir`, in the order of their names.

    The sub-folders of the first level are the classes, unless an image lies beside them; then all images are of one class.
    If the first level consists of `train` and one of `val`, `valid`, `validation`, `test`, these are the splits, and the
    classes are one level deeper. Hidden files and links that lead out of the folder are left out.

    Args:
        val_fraction: share of the images to validate on, where the folder has no splits of its own.
        max_pixels: images with more pixels are refused.
        range: the numbers that are black and white, where their type does not say (see `read_image`).
    """

    val_fraction: float = 0.1
    max_pixels: int = 50_000_000
    range: tuple[float, float] | None = None

    usual_channels: ClassVar[int] = 3
    usual_image_size: ClassVar[tuple[int, int]] = (64, 64)
    usual_resize_mode: ClassVar[ResizeMode] = "crop"
    usual_data_dir: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        check_val_fraction(self.val_fraction)
        check_range(self.range)
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels={self.max_pixels}: a number of pixels is expected, such as 50000000")

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        files = find_images(data_dir)
        train, val, class_level = self._split(files)
        class_names = _class_names(files, class_level)
        numbers = {name: number for number, name in enumerate(class_names)}

        def store(names: Sequence[str]) -> FileStore:
            labels = [numbers[_class_of(name, class_level)] if len(class_names) > 1 else 0 for name in names]
            return FileStore(
                data_dir,
                names,
                torch.tensor(labels, dtype=torch.int64),
                channels=channels,
                fit=fit,
                max_pixels=self.max_pixels,
                value_range=self.range,
            )

        return Splits(store(train), store(val), class_names)

    def _split(self, files: list[str]) -> tuple[list[str], list[str], int]:
        """Return the files to train on, the files to validate on, and the level of the class folders, 0 or 1."""
        tops = {_class_of(file, 0) for file in files}
        if "train" in tops and len(tops) == 2 and tops & set(VAL_FOLDERS):
            return (
                [file for file in files if file.startswith("train/")],
                [file for file in files if not file.startswith("train/")],
                1,
            )
        train, val = keyed_split(len(files), self.val_fraction)
        return [files[i] for i in train], [files[i] for i in val], 0


def _class_of(file: str, level: int) -> str:
    """Return the name of the folder at `level` in which the file lies; "" if the file lies above that level."""
    folders = PurePosixPath(file).parts[:-1]
    return folders[level] if len(folders) > level else ""


def _class_names(files: Sequence[str], level: int) -> tuple[str, ...]:
    """Return the sorted names of the class folders; one name for all images if an image lies beside the folders."""
    names = sorted({_class_of(file, level) for file in files})
    return ("image",) if "" in names else tuple(names)


def find_images(root: Path) -> list[str]:
    """Return the paths of all image files in `root`, relative to it, sorted, with / between folders.

    Raises:
        DataError: there is no such folder, or it has fewer than two images, one for each split.
    """
    if not root.is_dir():
        raise DataError(f"data_dir={root}: no such folder")
    inside = root.resolve()
    found = []
    # os.walk does not follow links to folders
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if path.suffix.lower() not in SUFFIXES or name.startswith(".") or not path.is_file():
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                continue
            found.append(path.relative_to(root).as_posix())
    if len(found) < 2:
        raise DataError(f"data_dir={root}: {len(found)} images ({', '.join(sorted(SUFFIXES))}); at least 2 are needed")
    return sorted(found)
