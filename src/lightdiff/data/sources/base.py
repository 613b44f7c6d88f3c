"""What a data set is to `DiffSet`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lightdiff.data.image_store import ImageStore
from lightdiff.data.resize import Fit, ResizeMode


@dataclass(frozen=True)
class Splits:
    """Images to train on and images to validate on; labels index `class_names`."""

    train: ImageStore
    val: ImageStore
    class_names: tuple[str, ...]


class Source(ABC):
    """Finds, checks and loads the images of one data set.

    A subclass is a frozen dataclass whose fields are the settings that only this data set has. What `DiffSet` is not
    told it takes from the `usual_...` attributes; `usual_data_dir` is None where its files can lie in any folder.
    """

    usual_channels: ClassVar[int]
    usual_image_size: ClassVar[tuple[int, int]]
    usual_resize_mode: ClassVar[ResizeMode] = "pad"
    usual_data_dir: ClassVar[str | None] = "data"

    def prepare(self, data_dir: Path) -> None:
        """Download what is missing. Called by one process only. Raises DataError."""

    @abstractmethod
    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        """Both splits, brought to size by `fit`.

        Raises:
            DataError: missing or unreadable files.
            ValueError: `channels` or `fit` that these images cannot have.
        """


def check_channels(channels: int, of_data: int, name: str) -> None:
    """Refuse to show data of one number of channels as another."""
    if channels != of_data:
        raise ValueError(f"channels={channels}: the images of {name} have {of_data}")


def check_val_fraction(val_fraction: float) -> None:
    """Both splits need images."""
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction={val_fraction}: a number between 0 and 1 is expected, such as 0.1")
