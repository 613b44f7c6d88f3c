"""Class labels: one learned vector a class, and one more for "no class"."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lightdiff.conditioning.base import Conditioner, chosen_labels


class LabelConditioner(Conditioner):
    """`vector (B, cond_dim)` by a table of num_classes + 1 rows; the last row is the null condition.

    Args:
        num_classes: classes of the data set.
        cond_dim: width of the vectors.
        drop_prob: share of training images whose label is dropped (Ho and Salimans 2022).
    """

    cond_keys = ("vector",)

    def __init__(self, num_classes: int, cond_dim: int = 128, drop_prob: float = 0.1) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes={num_classes}: a data set with labels is needed for conditioning=label")
        if cond_dim < 1:
            raise ValueError(f"cond_dim={cond_dim}: 1 or more is expected")
        if not 0 <= drop_prob <= 1:
            raise ValueError(f"drop_prob={drop_prob}: a probability in [0, 1] is expected")
        self.num_classes = num_classes
        self.cond_dim = cond_dim
        self.drop_prob = drop_prob
        self.table = nn.Embedding(num_classes + 1, cond_dim)

    def inputs(self, batch: dict[str, Tensor], chance: Tensor) -> Tensor:
        return batch["label"]

    def choose(self, *, labels: int | Sequence[int] | Tensor | None, prompt: str | Sequence[str] | None) -> Tensor:
        if prompt is not None:
            raise ValueError(
                f"prompt={prompt}: this model knows class labels, not text; choices: labels=0..{self.num_classes - 1}"
            )
        return chosen_labels(labels, self.num_classes)

    def forward(self, inputs: Tensor, drop: Tensor | None = None) -> dict[str, Tensor]:
        labels = inputs if drop is None else inputs.masked_fill(drop, self.num_classes)
        return {"vector": self.table(labels)}

    def null(self) -> dict[str, Tensor]:
        return {"vector": self.table.weight[-1:]}
