"""Captions and attributes in the columns of tables of the package datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightdiff.config.instantiate import suggest
from lightdiff.data.annotations import Annotations, Column
from lightdiff.data.errors import DataError
from lightdiff.data.metadata import TEXT

if TYPE_CHECKING:
    from datasets import Dataset


def annotations_of(
    tables: Sequence[Dataset], text_column: str | None, columns: Sequence[str] | None
) -> list[Annotations]:
    """Return the captions and attributes of the images of each table.

    Args:
        tables: tables of the same columns.
        text_column: the column of the captions; None: `text`, where it holds texts.
        columns: the columns of attributes; None: none.

    Raises:
        DataError: there is no such column, or it holds something else than texts, numbers and truth values.
    """
    features = tables[0].features
    text = text_column or (TEXT if _holds_texts(features.get(TEXT)) else None)
    taken = list(columns or ())
    # the folder may ask for rows as objects of other packages
    tables = [table.with_format(None) for table in tables]
    for key, name in [("text_column", text), *(("columns", name) for name in taken)]:
        if name is None:
            continue
        if any(name not in table.column_names for table in tables):
            raise DataError(f"source.{key}={name}: no such column; {suggest(name, list(features))}")
        if type(features[name]).__name__ not in ("Value", "ClassLabel"):
            raise DataError(f"source.{key}={name}: a column of texts or numbers is expected, and this one holds others")
    captions = None if text is None else [[str(value or "") for value in table[text]] for table in tables]
    made = {name: Column.of([value for table in tables for value in _values(table, name)]) for name in taken}
    sizes = [len(table) for table in tables]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return [
        Annotations(
            None if captions is None else captions[number],
            {name: Column(each.numbers[start : start + size], each.names) for name, each in made.items()},
        )
        for number, (start, size) in enumerate(zip(starts, sizes, strict=True))
    ]


def _holds_texts(feature: object) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _values(table: Dataset, name: str) -> list[str | None]:
    """Return the values of a column as texts, those of class labels by the names of the classes."""
    names = getattr(table.features[name], "names", None)
    if names is None:
        return [None if value is None else str(value) for value in table[name]]
    return [names[value] if value is not None and value >= 0 else None for value in table[name]]
