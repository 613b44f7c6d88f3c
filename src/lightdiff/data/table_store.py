"""Images in the columns of tables of the package datasets, alone or with a second image as the condition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lightdiff.data.errors import DataError
from lightdiff.data.image_store import DecodingStore
from lightdiff.data.paired_store import PairedDecodingStore

if TYPE_CHECKING:
    from datasets import Dataset
    from typing_extensions import Self


class TableStore(DecodingStore):
    """Encoded images in a column of a table.

    Args:
        rows: the table; an entry of its column of images is {"bytes": content or None, "path": file or None}.
        labels: int64 (N,).
        column: the column of the images, by which messages call them.
        folder: images given by path must lie in this folder; others are refused.
        split: name of the split, for messages.
        settings: as for every `DecodingStore`.
    """

    def __init__(
        self, rows: Dataset, labels: Tensor, *, folder: Path, split: str, column: str = "image", **settings: Any
    ) -> None:
        super().__init__(labels, **settings)
        self.rows = rows
        self.folder = folder.resolve()
        self.split = split
        self.column = column

    def name_of(self, row: int) -> str:
        return f"{self.column} {row} of split {self.split}"

    def select(self, rows: Sequence[int]) -> Self:
        chosen = super().select(rows)
        chosen.rows = self.rows.select(rows)
        return chosen

    def identity(self) -> list[Any]:
        # datasets computes it from the table's content and all operations on it
        return [self.rows._fingerprint]

    def encoded(self, row: int) -> bytes | Path:
        with naming_errors(self.name_of(row)):
            entry = self.rows[row][self.column] or {}
            if entry.get("bytes"):
                return entry["bytes"]
            if not entry.get("path"):
                raise DataError(f"{self.name_of(row)}: there is no image in this row")
            file = Path(entry["path"])
            if not file.resolve().is_relative_to(self.folder):
                raise DataError(f"{self.name_of(row)}: {file} leads out of {self.folder}")
            # reading anything else, such as a pipe, could wait for ever
            if not file.is_file():
                raise DataError(f"{self.name_of(row)}: {file}: no such file")
            return file


class PairedTableStore(PairedDecodingStore, TableStore):
    """Images in a column of a table, each with a condition in another column."""


@contextmanager
def naming_errors(what: str) -> Iterator[None]:
    """Turn every error of other packages within the block into DataError: the files may be garbled in any way."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{what}: {' '.join(str(error).split())[:300] or type(error).__name__}") from error
