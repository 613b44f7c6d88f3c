"""HuggingFace: image data sets from the hub, or local ones in the formats of the package datasets (extra `huggingface`)."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from lightdiff.data.errors import DataError
from lightdiff.data.formats import image_suffixes
from lightdiff.data.image_file import read_image
from lightdiff.data.image_store import DecodingStore
from lightdiff.data.layout import SPLITS
from lightdiff.data.order import keyed_split
from lightdiff.data.resize import Fit, ResizeMode
from lightdiff.data.sources.base import Source, Splits, check_val_fraction
from lightdiff.utils.config import suggest
from lightdiff.utils.extras import require

if TYPE_CHECKING:
    from datasets import Dataset
    from typing_extensions import Self

HUB_TIMEOUT = 5.0
"""Seconds to wait for the hub's first answer."""


class TableStore(DecodingStore):
    """Encoded images in a column of a table.

    Args:
        rows: the table; an entry of its column "image" is {"bytes": content or None, "path": file or None}.
        labels: int64 (N,).
        folder: images given by path must lie in this folder; others are refused.
        split: name of the split, for messages.
        channels, fit, max_pixels: as for every `DecodingStore`.
    """

    def __init__(
        self, rows: Dataset, labels: Tensor, *, folder: Path, split: str, channels: int, fit: Fit, max_pixels: int
    ) -> None:
        super().__init__(labels, channels=channels, fit=fit, max_pixels=max_pixels)
        self.rows = rows
        self.folder = folder.resolve()
        self.split = split

    def name_of(self, row: int) -> str:
        return f"image {row} of split {self.split}"

    def select(self, rows: Sequence[int]) -> Self:
        chosen = copy.copy(self)
        chosen.rows, chosen.labels = self.rows.select(rows), self.labels[list(rows)]
        return chosen

    def identity(self) -> list[Any]:
        # datasets computes it from the table's content and all operations on it
        return [self.rows._fingerprint]

    def decode(self, row: int) -> Tensor:
        entry = self.rows[row]["image"] or {}
        file = io.BytesIO(entry["bytes"]) if entry.get("bytes") else Path(entry.get("path") or "")
        if isinstance(file, Path) and not file.resolve().is_relative_to(self.folder):
            raise DataError(f"{self.name_of(row)}: {file} leads out of {self.folder}")
        return read_image(file, self.channels, self.max_pixels, name=self.name_of(row))


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
        val_fraction: share of the images to validate on, if the data set has no split for it.
        max_pixels: images with more pixels are refused.
    """

    path: str
    config_name: str | None = None
    train_split: str = "train"
    val_split: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    val_fraction: float = 0.1
    max_pixels: int = 50_000_000

    usual_channels: ClassVar[int] = 3
    usual_image_size: ClassVar[tuple[int, int]] = (64, 64)
    usual_resize_mode: ClassVar[ResizeMode] = "crop"

    def __post_init__(self) -> None:
        check_val_fraction(self.val_fraction)
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels={self.max_pixels}: a number of pixels is expected, such as 50000000")

    def prepare(self, data_dir: Path) -> None:
        if Path(self.path).is_dir() or self._kept(data_dir).is_dir():
            return
        datasets = _datasets()
        from huggingface_hub import HfApi

        try:
            # asked first, because datasets itself gives up only after half a minute
            HfApi().dataset_info(self.path, timeout=HUB_TIMEOUT)
        # several packages raise errors here, for an unknown name, no network or a firewall
        except Exception as error:
            raise DataError(
                f"source.path={self.path}: no local folder, not in {self._kept(data_dir)}, and the hub does not give it "
                f"({type(error).__name__}); dataset=folder reads any folder of images, and dataset=digits needs no files"
            ) from error
        found = _loaded(datasets.load_dataset, self.path, self.config_name)
        unfinished = self._kept(data_dir).with_suffix(".unfinished")
        found.save_to_disk(unfinished)
        unfinished.rename(self._kept(data_dir))

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        local = Path(self.path) if Path(self.path).is_dir() else self._kept(data_dir)
        splits = self._splits(local, data_dir)
        train = self._table(splits[self._split(self.train_split, splits, "train_split")])
        val_name = self.val_split or next((name for name in (*SPLITS["val"], *SPLITS["test"]) if name in splits), None)
        if val_name is not None:
            val = self._table(splits[self._split(val_name, splits, "val_split")])
        else:
            chosen = keyed_split(len(train), self.val_fraction)
            train, val = (train.select(rows) for rows in chosen)
        class_names = _class_names(train, val)

        def store(rows: Dataset, split: str) -> TableStore:
            labels = _labels(rows, class_names)
            return TableStore(
                rows, labels, folder=local, split=split, channels=channels, fit=fit, max_pixels=self.max_pixels
            )

        return Splits(store(train, self.train_split), store(val, val_name or self.train_split), class_names)

    def _kept(self, data_dir: Path) -> Path:
        """Return the folder in which a data set of the hub is kept."""
        name = self.path.replace("/", "--") + (f"--{self.config_name}" if self.config_name else "")
        return data_dir / "huggingface" / name

    def _splits(self, local: Path, data_dir: Path) -> dict[str, Dataset]:
        """Return the tables in a local folder by the names of their splits."""
        datasets = _datasets()
        if (local / "dataset_dict.json").is_file():
            return _loaded(datasets.load_from_disk, str(local))
        if (local / "state.json").is_file():
            return {self.train_split: _loaded(datasets.load_from_disk, str(local))}
        _refuse_archives(local)
        cache = str(data_dir / "huggingface" / "cache")
        return _loaded(datasets.load_dataset, str(local), self.config_name, cache_dir=cache)

    def _split(self, name: str, splits: dict[str, Dataset], key: str) -> str:
        """Return `name`; raise DataError if there is no split of this name."""
        if name not in splits:
            raise DataError(f"source.{key}={name}: no such split; {suggest(name, splits)}")
        return name

    def _table(self, table: Dataset) -> Dataset:
        """Return the table with its images, undecoded, in column "image", and its labels, if any, in column "label"."""
        datasets = _datasets()
        image = self._column(table, self.image_column, "image_column", datasets.Image)
        if image is None:
            raise DataError(f"source.path={self.path}: no column of images; columns: {', '.join(table.column_names)}")
        label = self._column(table, self.label_column, "label_column", datasets.ClassLabel)
        table = table.select_columns([name for name in (image, label) if name]).cast_column(
            image, datasets.Image(decode=False)
        )
        names = {old: new for old, new in ((image, "image"), (label, "label")) if old and old != new}
        return table.rename_columns(names)

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
    return tuple(names) if names else tuple(map(str, sorted({*train.unique("label"), *val.unique("label")})))


def _labels(table: Dataset, class_names: Sequence[str]) -> Tensor:
    """Return the labels, int64 (N,), all 0 if the table has none; raise DataError if an image has none."""
    if "label" not in table.column_names:
        return torch.zeros(len(table), dtype=torch.int64)
    numbers = {name: number for number, name in enumerate(class_names)}
    named = hasattr(table.features["label"], "names")
    labels = [label if named else numbers[str(label)] for label in table["label"]]
    if not labels or min(labels) < 0:
        raise DataError("source.label_column: there are images without a label")
    return torch.tensor(labels, dtype=torch.int64)


def _loaded(load: Any, *arguments: Any, **settings: Any) -> Any:
    """Call a loading function of the package datasets; turn any error into DataError."""
    try:
        return load(*arguments, **settings)
    # the files may be of any kind, and several packages read them
    except Exception as error:
        raise DataError(f"source.path={arguments[0]}: {' '.join(str(error).split())[:300]}") from error


def _datasets() -> Any:
    require("huggingface", "dataset=huggingface")
    import datasets

    return datasets
