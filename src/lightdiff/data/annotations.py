"""What is known of images beside their labels: captions, and columns such as category and tone.

Annotations follow the rows of a store as its labels do. A batch has them under "caption", a list of B texts, and "columns",
{name: int64 (B,)}, whose values index the names of the column, and are -1 where an image has none.

Captions can also be made of the names of the classes. These say nothing that the labels do not say, so that they are no part of
the hash by which data are known again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightdiff.utils.text import escaped, natural_order

MOST_VALUES = 1000
"""Largest number of different values of a column that nobody has named; a column with more is no attribute."""


class Column(NamedTuple):
    """A column of N images.

    Args:
        numbers: int64 (N,), which index `names`; -1 where an image has no value.
        names: the different values.
    """

    numbers: Tensor
    names: tuple[str, ...]

    @classmethod
    def of(cls, values: Sequence[str | None]) -> Column:
        """Return the column of these values, one for each image, with names in natural order; None and "" are no value."""
        shown = [escaped(value) if value else None for value in values]
        names = tuple(sorted({value for value in shown if value is not None}, key=natural_order))
        number_of: dict[str | None, int] = {name: number for number, name in enumerate(names)}
        return cls(torch.tensor([number_of.get(value, -1) for value in shown], dtype=torch.int64), names)


@dataclass(frozen=True)
class Annotations:
    """Captions and columns of N images.

    Args:
        captions: a text for each image; None: the images have no captions.
        columns: columns by name.
        of_classes: whether the captions are made of the names of the classes.
    """

    captions: list[str] | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    of_classes: bool = False

    def __bool__(self) -> bool:
        return self.captions is not None or bool(self.columns)

    def select(self, rows: Sequence[int]) -> Annotations:
        """Return the annotations of these images, in this order; columns keep the names of all their values."""
        captions = None if self.captions is None else [self.captions[row] for row in rows]
        index = torch.as_tensor(rows, dtype=torch.int64)
        columns = {name: Column(column.numbers[index], column.names) for name, column in self.columns.items()}
        return replace(self, captions=captions, columns=columns)

    def on(self, device: torch.device) -> Annotations:
        """Return the annotations with their columns on a device."""
        return replace(
            self, columns={name: Column(each.numbers.to(device), each.names) for name, each in self.columns.items()}
        )

    def batch(self, rows: Sequence[int], index: Tensor) -> dict[str, Any]:
        """Return the entries of a batch; those that the images lack are left out.

        Args:
            rows: the images of the batch.
            index: the same rows, int64 (B,), on the device of the columns.
        """
        entries: dict[str, Any] = {}
        if self.captions is not None:
            entries["caption"] = [self.captions[row] for row in rows]
        if self.columns:
            entries["columns"] = {name: each.numbers.index_select(0, index) for name, each in self.columns.items()}
        return entries

    def facts(self) -> list[Any]:
        """Return plain data that changes with any caption of the images' own or any value; [] where there are none."""
        columns = [(name, column.names, column.numbers.tolist()) for name, column in self.columns.items()]
        own = None if self.of_classes else self.captions
        return [own, columns] if own is not None or columns else []

    def with_captions_of_classes(self, labels: Tensor, names: Sequence[str], templates: Sequence[str]) -> Annotations:
        """Return the annotations with captions made of the names of the classes, if the images have none of their own.

        Image i has the template i modulo T. It therefore has the same caption in every batch, and all templates are used alike.

        Args:
            labels: the classes (N,), int64.
            names: the names of the classes 0, 1, ...
            templates: T texts with one {} each for the name.

        Raises:
            ValueError: a template without {}.
        """
        if self.captions is not None:
            return self
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"templates={template!r}: a text with one {{}} for the class is expected")
        texts = [[template.replace("{}", name) for template in templates] for name in names]
        captions = [texts[label][i % len(templates)] for i, label in enumerate(labels.tolist())]
        return replace(self, captions=captions, of_classes=True)


NO_ANNOTATIONS = Annotations()
