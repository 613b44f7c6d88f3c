"""Read what is known of image files from `metadata.csv` or `metadata.jsonl` beside them, as the package datasets lays it out.

Each line has a `file_name`, relative to the folder of the metadata, mostly a `text`, and further columns:

    file_name,text,tone
    one.png,a red heart,warm
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lightdiff.data.annotations import MOST_VALUES, NO_ANNOTATIONS, Annotations, Column
from lightdiff.data.errors import DataError
from lightdiff.utils.text import listed, printable

FILE_NAME = "file_name"
TEXT = "text"
IGNORE = "dataset.source.metadata=null ignores it"
LISTED = 3
"""Largest number of file names in a message."""

Row = dict[str, str | None]
"""The values of a line by the names of their columns, apart from `file_name`; None: no value."""


def metadata_files(images: Iterable[str], root: Path) -> list[str]:
    """Return the metadata files beside image files or in a folder above them, those nearest to the root first.

    Args:
        images: paths of the images below `root`, with / between folders.
        root: the folder of the data set.

    Raises:
        DataError: a folder has both kinds.
    """
    folders = {
        parent for folder in {PurePosixPath(name).parent for name in images} for parent in (folder, *folder.parents)
    }
    files = []
    for folder in sorted(folders, key=lambda path: (len(path.parts), path)):
        found = [name for name in READERS if (root / folder / name).is_file()]
        if len(found) > 1:
            raise DataError(f"{root / folder}: {' and '.join(found)}; keep one of them, or {IGNORE}")
        files += [(folder / name).as_posix() for name in found]
    return files


def read_annotations(
    root: Path,
    images: Sequence[str],
    files: Sequence[str],
    *,
    text_column: str | None = None,
    columns: Sequence[str] | None = None,
) -> Annotations:
    """Return the captions and columns of image files, which every image must have.

    Args:
        root: the folder of the data set.
        images: paths of the images below `root`, with / between folders.
        files: paths of the metadata files below `root`; a later one goes before an earlier one.
        text_column: the column of the captions; None: `text`, where there is one.
        columns: the columns to take; None: all others that have at most `MOST_VALUES` different values.

    Raises:
        DataError: a file cannot be read, a column is missing, a line names an image that is not there, or an image has no line.
    """
    if not files:
        return NO_ANNOTATIONS
    known, rows = set(images), dict[str, Row]()
    for file in files:
        for name, row in _rows(root, file):
            if name not in known:
                raise DataError(f"{root / file}: {printable(name)}: no such image; {IGNORE}")
            rows[name] = row
    missing = [printable(name) for name in images if name not in rows]
    if missing:
        where = " and ".join(files)
        raise DataError(
            f"data_dir={root}: {len(missing)} of {len(images)} images have no line in {where}: {listed(missing, LISTED)}; "
            "dataset.source.metadata=null ignores these files"
        )
    found = list(dict.fromkeys(name for row in rows.values() for name in row))
    wanted = [*([text_column] if text_column else []), *(columns or [])]
    unknown = next((name for name in wanted if name not in found), None)
    if unknown is not None:
        raise DataError(
            f"{root / files[-1]}: no column {printable(unknown)}; columns: {listed(list(map(printable, found)))}"
        )
    text = text_column or (TEXT if TEXT in found else None)
    captions = None if text is None else [rows[name].get(text) or "" for name in images]
    taken = [name for name in found if name != text] if columns is None else columns
    made = {name: Column.of([rows[image].get(name) for image in images]) for name in taken}
    return Annotations(
        captions,
        {name: column for name, column in made.items() if columns is not None or 0 < len(column.names) <= MOST_VALUES},
    )


def _rows(root: Path, file: str) -> Iterator[tuple[str, Row]]:
    """Yield the path of each image below `root` that a metadata file names, with its values.

    Raises:
        DataError: the file cannot be read, or has a line without `file_name`.
    """
    folder = PurePosixPath(file).parent
    try:
        with (root / file).open(encoding="utf-8-sig", newline="") as lines:
            for number, row in READERS[PurePosixPath(file).name](lines):
                name = row.pop(FILE_NAME, None)
                if not name:
                    raise DataError(f"line {number} has no {FILE_NAME}; {IGNORE}")
                yield (folder / name).as_posix(), row
    except DataError as error:
        raise DataError(f"{root / file}: {error}") from None
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise DataError(f"{root / file}: cannot be read ({' '.join(str(error).split())[:200]}); {IGNORE}") from error


def _csv_rows(lines: Iterable[str]) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(lines, strict=True)
    for row in reader:
        if None in row:
            raise DataError(f"line {reader.line_num} has more fields than the first line has columns; {IGNORE}")
        yield reader.line_num, row


def _jsonl_rows(lines: Iterable[str]) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = json.loads(line)
        if not isinstance(row, dict):
            raise DataError(f"line {number} is no object of JSON; {IGNORE}")
        # lists and objects, such as boxes of things in the image, are no values of an attribute
        yield number, {name: _text(value) for name, value in row.items() if not isinstance(value, list | dict)}


def _text(value: Any) -> str | None:
    """Return a number, a truth value or a text as text; None stays None."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


READERS: dict[str, Callable[[Iterable[str]], Iterator[tuple[int, Row]]]] = {
    "metadata.csv": _csv_rows,
    "metadata.jsonl": _jsonl_rows,
}
"""Name of a metadata file -> function that yields its lines with their numbers."""
