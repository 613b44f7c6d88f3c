"""HuggingFace: image data sets from the hub, or local ones in the formats of the package datasets (extra `huggingface`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from lightdiff.config.extras import require
from lightdiff.config.instantiate import suggest
from lightdiff.data.errors import DataError, DownloadError
from lightdiff.data.formats import image_suffixes
from lightdiff.data.layout import SPLITS
from lightdiff.data.order import keyed_split
from lightdiff.data.pixel_values import check_range
from lightdiff.data.resize import Fit, ResizeMode
from lightdiff.data.sources.base import Source, Splits, check_labels, check_val_fraction
from lightdiff.data.sources.table_columns import annotations_of
from lightdiff.data.table_store import PairedTableStore, TableStore, naming_errors
from lightdiff.utils.files import user_path

if TYPE_CHECKING:
    from datasets import Dataset

HUB_TIMEOUT = 5.0
"""Seconds to wait for the hub's first answer."""


@dataclass(frozen=True)
class HuggingFace(Source):
    """An image data set of the hub, or a local folder: of Parquet files, of images, or written by `save_to_disk`.

    A data set of the hub is downloaded once and then kept in `<data_dir>/huggingface`, as `save_to_disk` writes it.

    Args:
        path: the data set's name on the hub, or the local folder.
        config_name: the configuration to load, if the data set has several.
        train_split: name of the split to train on.
        val_split: name of the split to validate on, or None for the first of val, valid, validation, dev, test and
            testing that exists.
        image_column: column of the images, or None for the first one that holds images.
        label_column: column of the labels, or None for the first one that holds class labels; without any, all are one class.
        text_column: column of the captions, or None for `text`, where there is one that holds texts.
        columns: columns that are attributes of the images, or None for none.
        condition_column: column of a second image for each image, which becomes its condition, or None for none.
        condition_channels: 1 reads conditions as grayscale, 3 as RGB, 2 and 4 with transparency as the last channel.
        val_fraction: share of the images to validate on, if the data set has no split for it.
        max_pixels: images with more pixels are refused.
        range: the numbers that are black and white, where their type does not say (see `read_image`).
    """

    path: str
    config_name: str | None = None
    train_split: str = "train"
    val_split: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    text_column: str | None = None
    columns: Sequence[str] | None = None
    condition_column: str | None = None
    condition_channels: int = 3
    val_fraction: float = 0.1
    max_pixels: int = 50_000_000
    range: tuple[float, float] | None = None

    usual_channels: ClassVar[int] = 3
    usual_image_size: ClassVar[tuple[int, int]] = (64, 64)
    usual_resize_mode: ClassVar[ResizeMode] = "crop"
    may_have_captions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_val_fraction(self.val_fraction)
        check_range(self.range)
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels={self.max_pixels}: a number of pixels is expected, such as 50000000")
        if not 1 <= self.condition_channels <= 4:
            raise ValueError(f"condition_channels={self.condition_channels}: 1 to 4 is expected")

    def prepare(self, data_dir: Path) -> None:
        if user_path(self.path).is_dir() or self._kept(data_dir).is_dir():
            return
        require("huggingface", "dataset=huggingface")
        import datasets
        from huggingface_hub import HfApi

        try:
            # asked first, because datasets itself gives up only after half a minute
            HfApi().dataset_info(self.path, timeout=HUB_TIMEOUT)
        # several packages raise errors here, for an unknown name, no network or a firewall
        except Exception as error:
            raise DownloadError(
                f"source.path={self.path}: no local folder, not in {self._kept(data_dir)}, and the hub does not give it "
                f"({type(error).__name__}); dataset=folder reads any folder of images, and dataset=digits needs no files"
            ) from error
        with naming_errors(f"source.path={self.path}"):
            found = datasets.load_dataset(self.path, self.config_name)
        unfinished = self._kept(data_dir).with_suffix(".unfinished")
        found.save_to_disk(unfinished)
        unfinished.rename(self._kept(data_dir))

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        require("huggingface", "dataset=huggingface")
        local = user_path(self.path) if user_path(self.path).is_dir() else self._kept(data_dir)
        with naming_errors(f"source.path={self.path}"):
            splits = self._splits(local, data_dir)
            train = splits[self._split(self.train_split, splits, "train_split")]
            val_name = self.val_split or next(
                (name for name in (*SPLITS["val"], *SPLITS["test"]) if name in splits), None
            )
            if val_name is not None:
                val = splits[self._split(val_name, splits, "val_split")]
            else:
                chosen = keyed_split(len(train), self.val_fraction)
                train, val = (train.select(rows) for rows in chosen)
            # of both at once, because the values of a column are numbered over all images
            notes = annotations_of([train, val], self.text_column, self.columns)
            conditions = [self._conditions(table) for table in (train, val)]
            train, val = self._table(train), self._table(val)
            class_names = _class_names(train, val)
            labels = [_labels(table, class_names) for table in (train, val)]

        def store(rows: Dataset, number: int, split: str) -> TableStore:
            reading: dict[str, Any] = {"fit": fit, "max_pixels": self.max_pixels, "folder": local, "split": split}
            images: dict[str, Any] = {"channels": channels, "value_range": self.range, "annotations": notes[number]}
            found = TableStore(rows, labels[number], **images, **reading)
            other = conditions[number]
            if other is None:
                return found
            second: dict[str, Any] = {"channels": self.condition_channels, "column": "condition"}
            return PairedTableStore.of(found, TableStore(other, labels[number], **second, **reading))

        return Splits(store(train, 0, self.train_split), store(val, 1, val_name or self.train_split), class_names)

    def _kept(self, data_dir: Path) -> Path:
        """Return the folder in which a data set of the hub is kept."""
        name = self.path.replace("/", "--") + (f"--{self.config_name}" if self.config_name else "")
        return data_dir / "huggingface" / name

    def _splits(self, local: Path, data_dir: Path) -> dict[str, Dataset]:
        """Return the tables in a local folder by the names of their splits."""
        import datasets

        if any((local / name).is_file() for name in ("dataset_dict.json", "state.json")):
            found = datasets.load_from_disk(str(local))
            return found if isinstance(found, datasets.DatasetDict) else {self.train_split: found}
        _refuse_archives(local)
        return datasets.load_dataset(str(local), self.config_name, cache_dir=str(data_dir / "huggingface" / "cache"))

    def _split(self, name: str, splits: dict[str, Dataset], key: str) -> str:
        """Return `name`; raise DataError if there is no split of this name."""
        if name not in splits:
            raise DataError(f"source.{key}={name}: no such split; {suggest(name, splits)}")
        return name

    def _table(self, table: Dataset) -> Dataset:
        """Return the table with its images, undecoded, in column "image", and its labels, if any, in column "label"."""
        import datasets

        # a condition is no image to generate, although its column may come first
        others = table.remove_columns([self.condition_column] if self.condition_column else [])
        image = self._column(others, self.image_column, "image_column", datasets.Image)
        if image is None:
            raise DataError(f"source.path={self.path}: no column of images; columns: {', '.join(table.column_names)}")
        label = self._column(table, self.label_column, "label_column", datasets.ClassLabel)
        # the folder may ask for rows as objects of other packages
        table = table.with_format(None).select_columns([name for name in (image, label) if name])
        table = table.cast_column(image, datasets.Image(decode=False))
        names = {old: new for old, new in ((image, "image"), (label, "label")) if old and old != new}
        return table.rename_columns(names)

    def _conditions(self, table: Dataset) -> Dataset | None:
        """Return a table of the conditions, undecoded, in column "condition"; None where there are none."""
        import datasets

        name = self._column(table, self.condition_column, "condition_column", datasets.Image)
        if self.condition_column is None or name is None:
            return None
        if not isinstance(table.features[name], datasets.Image) or name == self.image_column:
            images = [column for column, feature in table.features.items() if isinstance(feature, datasets.Image)]
            raise DataError(
                f"source.condition_column={name}: a second column of images is expected; columns of images: {', '.join(images)}"
            )
        table = table.with_format(None).select_columns([name]).cast_column(name, datasets.Image(decode=False))
        return table if name == "condition" else table.rename_column(name, "condition")

    def _column(self, table: Dataset, name: str | None, key: str, kind: type) -> str | None:
        """Return `name` if it is a column; for None the first column whose features are of this kind, or None."""
        if name is not None and name not in table.column_names:
            raise DataError(f"source.{key}={name}: no such column; {suggest(name, table.column_names)}")
        return name or next((column for column, feature in table.features.items() if isinstance(feature, kind)), None)


def _refuse_archives(folder: Path) -> None:
    """Raise DataError if the folder holds an archive, because the package datasets would unpack it, to any size."""
    from datasets.utils.extract import Extractor

    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() not in image_suffixes() and file.is_file() and Extractor.infer_extractor_format(file):
            raise DataError(f"{file}: archives are not unpacked here; unpack it yourself, or remove it")


def _class_names(train: Dataset, val: Dataset) -> tuple[str, ...]:
    """Return the names of the classes, or, if the data set has no names, the sorted values of its labels."""
    if "label" not in train.column_names:
        return ("image",)
    names = getattr(train.features["label"], "names", None)
    values = {*train.unique("label"), *val.unique("label")}
    if not values or None in values or -1 in values:
        raise DataError("source.label_column: there are images without a label")
    return tuple(map(str, names or sorted(values)))


def _labels(table: Dataset, class_names: Sequence[str]) -> Tensor:
    """Return the labels, int64 (N,), all 0 if the table has none; raise DataError if one is no class."""
    if "label" not in table.column_names:
        return torch.zeros(len(table), dtype=torch.int64)
    numbers = {name: number for number, name in enumerate(class_names)}
    named = hasattr(table.features["label"], "names")
    labels = torch.tensor([label if named else numbers[str(label)] for label in table["label"]], dtype=torch.int64)
    check_labels(labels, len(class_names), "source.label_column")
    return labels
