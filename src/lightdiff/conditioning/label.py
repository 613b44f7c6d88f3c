"""Class labels: one learned vector a class, and one more for "no class"."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lightdiff.conditioning.base import Conditioner, Labels, chosen_labels, label_choices


class LabelConditioner(Conditioner):
    """`vector (B, cond_dim)` by a table of num_classes + 1 rows; the last row is the null condition.

    Args:
        num_classes: classes of the data set.
        cond_dim: width of the vectors.
        drop_prob: share of training images whose label is dropped (Ho and Salimans 2022).
        class_names: names of the classes, by which samples can be asked for; None: by number only.
    """

    cond_keys = ("vector",)

    def __init__(
        self,
        num_classes: int,
        cond_dim: int = 128,
        drop_prob: float = 0.1,
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes={num_classes}: a data set with labels is needed for conditioning=label")
        if cond_dim < 1:
            raise ValueError(f"cond_dim={cond_dim}: 1 or more is expected")
        if not 0 <= drop_prob <= 1:
            raise ValueError(f"drop_prob={drop_prob}: a probability in [0, 1] is expected")
        if class_names is not None and len(class_names) > num_classes:
            raise ValueError(f"num_classes={num_classes}: the data set has {len(class_names)} classes")
        self.num_classes = num_classes
        self.class_names = None if class_names is None else list(class_names)
        self.cond_dim = cond_dim
        self.drop_prob = drop_prob
        self.table = nn.Embedding(num_classes + 1, cond_dim)

    @property
    def num_labels(self) -> int:
        return self.num_classes

    def inputs(self, batch: dict[str, Tensor], chance: Tensor) -> Tensor:
        return batch["label"]

    def choose(self, *, labels: Labels, prompt: str | Sequence[str] | None, condition: Tensor | None = None) -> Tensor:
        if prompt is not None:
            choices = label_choices(self.num_classes, self.class_names)
            raise ValueError(f"prompt={prompt}: this model knows class labels, not text; choices for labels: {choices}")
        return chosen_labels(labels, self.num_classes, self.class_names)

    def forward(self, inputs: Tensor, drop: Tensor | None = None) -> dict[str, Tensor]:
        labels = inputs if drop is None else inputs.masked_fill(drop, self.num_classes)
        return {"vector": self.table(labels)}

    def null(self) -> dict[str, Tensor]:
        return {"vector": self.table.weight[-1:]}
