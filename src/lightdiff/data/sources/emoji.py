"""Emoji: 1,911 colour pictures of 64x64 with captions, from the npm package emoji-datasource-google."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lightdiff.data.annotations import Annotations, Column
from lightdiff.data.errors import DataError
from lightdiff.data.file_store import FileStore
from lightdiff.data.listing import list_images
from lightdiff.data.metadata import read_annotations
from lightdiff.data.order import keyed_split
from lightdiff.data.resize import Fit, ResizeMode
from lightdiff.data.sources.base import Source, Splits, check_val_fraction

PACKAGE = "emoji-datasource-google"
FOLDERS = ("emoji", PACKAGE, "package", f"node_modules/{PACKAGE}", ".")
"""Folders below `data_dir` in which the files are looked for; `package` is the one that npm pack makes."""
LIST, PICTURES, METADATA = "emoji.json", "img/google/64", "metadata.csv"
COLUMNS = ("category", "subcategory")


@dataclass(frozen=True)
class Emoji(Source):
    """Emoji of Google's Noto font with their Unicode names as captions and their categories as classes, on white.

    The files are those of the npm package emoji-datasource-google 16.0.0 (pictures: Apache-2.0) as unpacked, `emoji.json` and
    `img/google/64`, or a folder of pictures with a `metadata.csv` of the columns file_name, text, category and subcategory. Both
    give the same images in the same order.

    Args:
        val_fraction: share of the images to validate on, the same ones for every seed; training sees none of their captions.
    """

    val_fraction: float = 0.1

    usual_channels: ClassVar[int] = 3
    usual_image_size: ClassVar[tuple[int, int]] = (32, 32)
    usual_resize_mode: ClassVar[ResizeMode] = "resize"
    may_have_captions: ClassVar[bool] = True
    licence: ClassVar[str] = "Apache-2.0 (Noto Emoji)"

    def __post_init__(self) -> None:
        check_val_fraction(self.val_fraction)

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        root = next((data_dir / name for name in FOLDERS if _is_there(data_dir / name)), None)
        if root is None:
            raise DataError(
                f"emoji: {data_dir} has no {PACKAGE}/{LIST}; on a machine with a network: npm pack {PACKAGE}@16.0.0, then unpack "
                f"the file into {data_dir}; dataset=folder reads any pictures, and dataset=digits needs no files"
            )
        files, annotations = (_package if (root / LIST).is_file() else _archive)(root)
        if len(files) < 2:
            raise DataError(
                f"emoji: {root} has {len(files)} pictures; at least 2 are needed, to train and to validate on"
            )
        categories = annotations.columns[COLUMNS[0]]
        if bool((categories.numbers < 0).any()):
            raise DataError(f"emoji: {root}: there are pictures without a {COLUMNS[0]}")

        def store(rows: list[int]) -> FileStore:
            return FileStore(
                root,
                [files[row] for row in rows],
                categories.numbers[rows],
                channels=channels,
                fit=fit,
                max_pixels=2**20,
                background=255,
                annotations=annotations.select(rows),
            )

        train, val = keyed_split(len(files), self.val_fraction)
        return Splits(store(train), store(val), categories.names)


def _is_there(folder: Path) -> bool:
    return (folder / LIST).is_file() or (folder / METADATA).is_file()


def _archive(root: Path) -> tuple[list[str], Annotations]:
    """Return the names of the pictures beside a `metadata.csv`, sorted, with their captions and columns."""
    files = list_images(root).images
    return files, read_annotations(root, files, [METADATA], text_column="text", columns=COLUMNS)


def _package(root: Path) -> tuple[list[str], Annotations]:
    """Return the names of the pictures that `emoji.json` lists, sorted, with their captions and columns.

    Raises:
        DataError: the list is damaged.
    """
    try:
        listed = json.loads((root / LIST).read_text(encoding="utf-8"))
        emoji = sorted((each for each in listed if each["has_img_google"]), key=lambda each: str(each["image"]))
        files = [f"{PICTURES}/{Path(each['image']).name}" for each in emoji]
        columns = {name: Column.of([_text(each[name]) for each in emoji]) for name in COLUMNS}
        return files, Annotations([_text(each["name"]).lower() for each in emoji], columns)
    # a damaged list may fail in any way
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{root / LIST}: not the list of {PACKAGE} ({type(error).__name__}: {error})") from error


def _text(value: Any) -> str:
    """Return a text as it is.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
