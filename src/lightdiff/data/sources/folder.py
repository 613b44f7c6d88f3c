"""Folder: the image files in any directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch

from lightdiff.data.annotations import Annotations
from lightdiff.data.errors import DataError
from lightdiff.data.file_store import FileStore
from lightdiff.data.layout import Classes, Layout, recognised
from lightdiff.data.listing import BESIDE, in_words, list_images
from lightdiff.data.metadata import READERS, metadata_files, read_annotations
from lightdiff.data.order import keyed_split
from lightdiff.data.pixel_values import check_range
from lightdiff.data.resize import Fit, ResizeMode
from lightdiff.data.sources.base import Source, Splits, check_val_fraction
from lightdiff.utils.text import natural_order


@dataclass(frozen=True)
class Folder(Source):
    """All image files below `data_dir`, in the order of their names.

    Folders with the usual names of splits, in any case of letters, are the splits: train or training; val, valid, validation or
    dev; test or testing. Images of val are to validate on, or those of test where there is no val. Where there are both, those of
    test are kept apart. Within a split, or in a folder without splits, the sub-folders are the classes, numbered in the natural
    order of their names: 2 before 10. A folder that holds nothing but one folder of folders is passed over. Left out are hidden
    files, links to folders and links that lead out of `data_dir`.

    Args:
        val_fraction: share of the images to validate on, where the folder has no split for it.
        max_pixels: images with more pixels are refused.
        range: the numbers that are black and white, where their type does not say (see `read_image`).
        layout: what the folders mean. "auto": as said, and a layout that can be read in two ways is refused; "flat": nothing, all
            images are of one class; "classes": every folder is a class, whatever its name, and images beside the folders are left
            out; "splits": whatever lies beside the folders of splits is left out.
        follow_links: follow links that lead out of the folder, and links to folders.
        metadata: "auto": `metadata.csv` or `metadata.jsonl`, in any folder at or above the images, gives captions and columns
            (see `lightdiff.data.metadata`); None: it is ignored.
        text_column: column of the captions; None: `text`, where the metadata has it.
        columns: columns of the metadata that are attributes of the images; None: all that have at most 1,000 different values.
    """

    val_fraction: float = 0.1
    max_pixels: int = 50_000_000
    range: tuple[float, float] | None = None
    layout: Literal["auto", "flat", "classes", "splits"] = "auto"
    follow_links: bool = False
    metadata: Literal["auto"] | None = "auto"
    text_column: str | None = None
    columns: Sequence[str] | None = None

    usual_channels: ClassVar[int] = 3
    usual_image_size: ClassVar[tuple[int, int]] = (64, 64)
    usual_resize_mode: ClassVar[ResizeMode] = "crop"
    usual_data_dir: ClassVar[str | None] = None
    may_have_captions: ClassVar[bool] = True
    licence: ClassVar[str] = "that of the images, which only their owner knows"

    def __post_init__(self) -> None:
        check_val_fraction(self.val_fraction)
        check_range(self.range)
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels={self.max_pixels}: a number of pixels is expected, such as 50000000")

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        listing = list_images(data_dir, follow_links=self.follow_links)
        try:
            layout = recognised(listing.images, self.layout)
        except DataError as error:
            raise DataError(f"data_dir={data_dir}: {error}") from error
        left_out = listing.left_out.copy()
        if layout.beside:
            left_out[BESIDE] = layout.beside
        train, val = self._train_and_val(layout)
        if not train or not val:
            others = f"; left out: {in_words(left_out)}" if left_out else ""
            found = len(train) + len(val)
            raise DataError(
                f"data_dir={data_dir}: {found} images{others}; at least 2 are needed, to train and to validate on"
            )
        annotations, row_of = self._annotations(data_dir, listing.images)
        class_names = tuple(sorted(set(layout.train.values()), key=natural_order))
        numbers = {name: number for number, name in enumerate(class_names)}

        def store(images: Classes) -> FileStore:
            labels = torch.tensor([numbers[name] for name in images.values()], dtype=torch.int64)
            reading = {"channels": channels, "fit": fit, "max_pixels": self.max_pixels, "value_range": self.range}
            known = annotations.select([row_of[file] for file in images]) if annotations else annotations
            return FileStore(data_dir, [*images], labels, annotations=known, **reading)

        test = None if layout.test is None else store(layout.test)
        return Splits(store(train), store(val), class_names, test, left_out)

    def _annotations(self, data_dir: Path, images: list[str]) -> tuple[Annotations, dict[str, int]]:
        """Return the captions and columns of the images, and the row of each image in them.

        Raises:
            DataError: the metadata cannot be read or does not fit the images, or there is none and one of its columns is named.
        """
        files = metadata_files(images, data_dir) if self.metadata == "auto" else []
        for key, name in (("text_column", self.text_column), ("columns", self.columns)):
            if name is not None and not files:
                raise DataError(f"dataset.source.{key}={name}: there is no {' or '.join(READERS)} in {data_dir}")
        annotations = read_annotations(data_dir, images, files, text_column=self.text_column, columns=self.columns)
        return annotations, {file: row for row, file in enumerate(images)}

    def _train_and_val(self, layout: Layout) -> tuple[Classes, Classes]:
        """Return the images to train on and those to validate on, which are set aside where the layout has none."""
        if layout.val is not None:
            return layout.train, layout.val
        images = [*layout.train.items()]
        train, val = keyed_split(len(images), self.val_fraction)
        return {images[i][0]: images[i][1] for i in train}, {images[i][0]: images[i][1] for i in val}
