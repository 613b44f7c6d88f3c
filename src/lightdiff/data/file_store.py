"""Images that are files in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lightdiff.data.image_store import DecodingStore
from lightdiff.data.traces import names_and_sizes

if TYPE_CHECKING:
    from typing_extensions import Self


class FileStore(DecodingStore):
    """Image files in a folder.

    Args:
        root: the folder.
        files: names of the files below `root`.
        labels, settings: as for every `DecodingStore`.
    """

    def __init__(self, root: Path, files: Sequence[str], labels: Tensor, **settings: Any) -> None:
        super().__init__(labels, **settings)
        self.root = root
        self.files = list(files)

    def name_of(self, row: int) -> str:
        return str(self.root / self.files[row])

    def encoded(self, row: int) -> Path:
        return self.root / self.files[row]

    def select(self, rows: Sequence[int]) -> Self:
        chosen = super().select(rows)
        chosen.files = [self.files[row] for row in rows]
        return chosen

    def listing(self) -> list[Any]:
        return names_and_sizes(self.root, self.files)

    def identity(self) -> list[Any]:
        found = [(self.root / name).stat() for name in self.files]
        return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in zip(self.files, found, strict=True)]
