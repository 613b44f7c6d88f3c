"""Attributes: columns such as category and tone, each of which has a learned vector for every value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightdiff.conditioning.base import Conditioner, Labels, label_choices
from lightdiff.conditioning.chance import numbers_of

NONE = -1
"""The number of no value."""


class AttributeConditioner(Conditioner):
    """`vector (B, cond_dim)`, the sum of one learned vector for each column; every column has one more, for no value.

    With the values a_1, ..., a_K of an image in its K columns, vector = E_1[a_1] + ... + E_K[a_K]. The last row of each table E_k
    stands for "no value": for images without one, for columns that nobody asks for, and for dropped ones. The null condition is
    the sum of these rows.

    Args:
        columns: names of the values of each column.
        cond_dim: width of the vector.
        drop_prob: share of training images that lose all columns (Ho and Salimans 2022).
        column_drop_prob: share of training images that lose a column, for each column on its own, so that samples can be asked
            for by some of the columns.

    Raises:
        ValueError: no columns, a column without values, or a number out of its range.
    """

    by_class = False
    cond_keys = ("vector",)

    def __init__(
        self,
        columns: Mapping[str, Sequence[str]] | None,
        cond_dim: int = 128,
        drop_prob: float = 0.1,
        column_drop_prob: float = 0.1,
    ) -> None:
        super().__init__()
        if not isinstance(columns, Mapping) or not columns or not all(columns.values()):
            raise ValueError(
                f"columns={columns}: a data set with columns is needed, such as a folder with a metadata.csv or dataset=emoji"
            )
        if cond_dim < 1:
            raise ValueError(f"cond_dim={cond_dim}: 1 or more is expected")
        for name, value in (("drop_prob", drop_prob), ("column_drop_prob", column_drop_prob)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value}: a probability in [0, 1] is expected")
        self.columns = {name: list(values) for name, values in columns.items()}
        self.cond_dim, self.drop_prob, self.column_drop_prob = cond_dim, drop_prob, column_drop_prob
        self.tables = nn.ModuleList(nn.Embedding(len(values) + 1, cond_dim) for values in self.columns.values())

    def check(self, batch: dict[str, Any]) -> None:
        given, rows = batch.get("columns"), len(batch["image"])
        expected = f"whole numbers of the shape ({rows},), {NONE} for no value"
        for name, values in self.columns.items():
            numbers = given.get(name) if isinstance(given, Mapping) else None
            if not isinstance(numbers, Tensor) or numbers.is_floating_point() or tuple(numbers.shape) != (rows,):
                found = type(numbers).__name__ if not isinstance(numbers, Tensor) else tuple(numbers.shape)
                raise ValueError(f"columns.{name}={found}: {expected}, are expected")
            low, high = int(numbers.min()), int(numbers.max())
            if low < NONE or high >= len(values):
                raise ValueError(f"columns.{name}={low}..{high}: the model has the values {NONE}..{len(values) - 1}")

    def choice_of(self, batch: dict[str, Any], chance: Tensor) -> Tensor:
        return torch.stack([batch["columns"][name] for name in self.columns], dim=1)

    def inputs(self, batch: dict[str, Any], chance: Tensor) -> Tensor:
        numbers = self.choice_of(batch, chance)
        return numbers.masked_fill(numbers_of(chance, len(self.columns)) < self.column_drop_prob, NONE)

    def choose(self, *, labels: Labels, prompt: str | Sequence[str] | None, condition: Tensor | None = None) -> Tensor:
        if prompt is not None:
            raise ValueError(f"prompt={prompt}: this model knows attributes, not text; {self._choices()}")
        if labels is None:
            first = next(iter(self.columns))
            wishes: list[Any] = [{first: value} for value in self.columns[first]]
        else:
            wishes = list(labels) if isinstance(labels, list | tuple) else [labels]
        if not wishes or not all(isinstance(wish, Mapping) for wish in wishes):
            raise ValueError(f"labels={labels}: {self._choices()}")
        return torch.tensor([[self._number(wish, name) for name in self.columns] for wish in map(self._known, wishes)])

    def _known(self, wish: Mapping[str, Any]) -> Mapping[str, Any]:
        unknown = next((name for name in wish if name not in self.columns), None)
        if unknown is not None:
            raise ValueError(f"labels.{unknown}: no such column; {self._choices()}")
        return wish

    def _number(self, wish: Mapping[str, Any], column: str) -> int:
        """Return the number of the value that is asked for, a name or a number; `NONE` where there is none."""
        value, names = wish.get(column), self.columns[column]
        if value is None:
            return NONE
        if isinstance(value, str) and value in names:
            return names.index(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
            return value
        raise ValueError(f"labels.{column}={value}: choices: {label_choices(len(names), names)}")

    def _choices(self) -> str:
        first, *_ = names = list(self.columns)
        return f"a value of some of these columns is expected, as labels={{{first}: ...}}: {', '.join(names)}"

    def forward(self, inputs: Tensor, drop: Tensor | None = None) -> dict[str, Tensor]:
        numbers = inputs if drop is None else inputs.masked_fill(drop[:, None], NONE)
        vectors = []
        for table, values, column in zip(self.tables, self.columns.values(), numbers.unbind(1), strict=True):
            # the last row of the table is that of no value
            vectors.append(table(column.where(column != NONE, len(values))))
        return {"vector": torch.stack(vectors).sum(0)}

    def null(self) -> dict[str, Tensor]:
        numbers = torch.full((1, len(self.tables)), NONE, device=next(self.parameters()).device)
        return self.forward(numbers)
