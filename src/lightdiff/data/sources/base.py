"""The interface through which `DiffSet` loads any data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightdiff.data.errors import DataError
from lightdiff.data.image_store import ImageStore
from lightdiff.data.listing import UNREADABLE, Kind
from lightdiff.data.resize import Fit, ResizeMode
from lightdiff.utils.text import escaped


@dataclass(frozen=True)
class Splits:
    """Images to train on, images to validate on, and images kept apart.

    Args:
        train, val: the images with their labels, which index `class_names`.
        class_names: names of the classes. What cannot be shown of a name, such as bytes that are no UTF-8, is escaped.
        test: images that neither training nor validation sees; None: there are none.
        left_out: how many files of each kind lie there and are not taken.
    """

    train: ImageStore
    val: ImageStore
    class_names: tuple[str, ...]
    test: ImageStore | None = None
    left_out: Counter[Kind] = field(default_factory=Counter)

    def in_order(self, class_names: Sequence[str] | None) -> Splits:
        """Return the splits with labels that index `class_names`, if these are the names of the classes in another order."""
        if class_names is None or sorted(class_names) != sorted(self.class_names):
            return self
        number_of = {name: number for number, name in enumerate(class_names)}
        numbers = torch.tensor([number_of[name] for name in self.class_names])
        return self.each(lambda store: store.relabelled(numbers), class_names=tuple(class_names))

    def captioned(self, names: Sequence[str] | None, templates: Sequence[str]) -> Splits:
        """Return the splits with captions made of the names of the classes, for images that have none of their own.

        Args:
            names: what captions call the classes; of another number than the classes, or None: the names of the classes.
            templates: texts with {} for the name.
        """
        called = names if names is not None and len(names) == len(self.class_names) else self.class_names
        return self.each(lambda store: store.captioned(called, templates))

    def readable(self) -> Splits:
        """Return the splits without the images that cannot be read, which are reported and counted in `left_out`."""
        readable = self.each(lambda store: store.readable())
        bad = sum(len(store) - len(readable.of(name)) for name, store in self.stores().items())
        return replace(readable, left_out=self.left_out + Counter({UNREADABLE: bad}))

    def stores(self) -> dict[str, ImageStore]:
        """Return the images of each split that there is, by the names "train", "val" and "test"."""
        stores = {"train": self.train, "val": self.val, "test": self.test}
        return {name: store for name, store in stores.items() if store is not None}

    def of(self, name: str) -> ImageStore:
        """Return the images of the split called "train", "val" or "test".

        Raises:
            ValueError: there is no such split.
        """
        stores = self.stores()
        if name not in stores:
            raise ValueError(
                f"split={name}: this data set keeps no images apart from those to train and to validate on; "
                f"choices: {', '.join(stores)}"
            )
        return stores[name]

    def each(self, change: Callable[[ImageStore], ImageStore], **others: Any) -> Splits:
        """Return the splits with every store changed, and with these other fields."""
        test = None if self.test is None else change(self.test)
        return replace(self, train=change(self.train), val=change(self.val), test=test, **others)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(map(escaped, self.class_names)))


class Source(ABC):
    """Base class of the data sets, each of which finds, checks and loads its images.

    A subclass is a frozen dataclass whose fields are the settings that only this data set has. Its `usual_...` attributes are
    the settings that `DiffSet` uses where the user gives none; `usual_data_dir` is None where the files can lie in any folder.
    `may_have_captions` says whether the images may have captions or columns of their own, which only the files tell.
    """

    usual_channels: ClassVar[int]
    usual_image_size: ClassVar[tuple[int, int]]
    usual_resize_mode: ClassVar[ResizeMode] = "pad"
    usual_data_dir: ClassVar[str | None] = "data"
    may_have_captions: ClassVar[bool] = False

    def prepare(self, data_dir: Path) -> None:
        """Download missing files; only one process calls this.

        Raises:
            DataError: the files cannot be downloaded.
        """

    @abstractmethod
    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        """Load the splits.

        Args:
            data_dir: folder of the files.
            channels: how many the images are to have, such as 1 for grayscale and 3 for RGB.
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
