"""The interface through which `DiffSet` loads any data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from lightdiff.data.errors import DataError
from lightdiff.data.image_store import ImageStore
from lightdiff.data.resize import Fit, ResizeMode
from lightdiff.utils.text import escaped


@dataclass(frozen=True)
class Splits:
    """Images to train on and images to validate on.

    Args:
        train, val: the images with their labels, which index `class_names`.
        class_names: names of the classes. What cannot be shown of a name, such as bytes that are no UTF-8, is escaped.
    """

    train: ImageStore
    val: ImageStore
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(map(escaped, self.class_names)))


class Source(ABC):
    """Base class of the data sets, each of which finds, checks and loads its images.

    A subclass is a frozen dataclass whose fields are the settings that only this data set has. Its `usual_...` attributes are
    the settings that `DiffSet` uses where the user gives none; `usual_data_dir` is None where the files can lie in any folder.
    """

    usual_channels: ClassVar[int]
    usual_image_size: ClassVar[tuple[int, int]]
    usual_resize_mode: ClassVar[ResizeMode] = "pad"
    usual_data_dir: ClassVar[str | None] = "data"

    def prepare(self, data_dir: Path) -> None:
        """Download missing files; only one process calls this.

        Raises:
            DataError: the files cannot be downloaded.
        """

    @abstractmethod
    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        """Load both splits.

        Args:
            data_dir: folder of the files.
            channels: 1 for grayscale, 3 for RGB.
            fit: brings the images to size.

        Raises:
            DataError: files are missing or unreadable.
            ValueError: the images cannot have these channels or this size.
        """


def check_channels(channels: int, of_data: int, name: str) -> None:
    """Raise ValueError if the images do not have the `channels` asked for."""
    if channels != of_data:
        raise ValueError(f"channels={channels}: the images of {name} have {of_data}")


def check_labels(labels: Tensor, num_classes: int, name: str) -> None:
    """Raise DataError unless all labels, whole numbers (N,), name one of the classes.

    Args:
        labels: the labels.
        num_classes: number of classes.
        name: the file that the labels come from, or the key.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise DataError(f"{name}: labels from {low} to {high}, but 0 to {num_classes - 1} are expected")


def check_val_fraction(val_fraction: float) -> None:
    """Raise ValueError if `val_fraction` leaves one of the splits without images."""
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction={val_fraction}: a number between 0 and 1 is expected, such as 0.1")
