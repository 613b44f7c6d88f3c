"""Conditioner: from labels or captions to the tensors a network is conditioned on.

A condition is a dict with any of `vector (B, D)`, `tokens (B, L, D)` and `mask (B, L)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Labels = int | str | Sequence[int | str] | Tensor | None
"""Classes a user asks for: numbers or names, one or several; None: each class once."""
LISTED = 30
"""Number of classes that a message lists."""


class Conditioner(nn.Module, ABC):
    """Trained together with the network, averaged and saved with it.

    `drop_prob` is the share of training images, chosen one by one, whose condition is replaced by the null condition:
    classifier-free guidance needs that trained unconditional branch. `cond_keys` names the entries of a condition.
    `class_names` are the names of the labels 0, 1, ..., where they are known.
    """

    cond_keys: tuple[str, ...]
    drop_prob: float
    class_names: list[str] | None = None

    @property
    def num_labels(self) -> int | None:
        """Number of labels that `inputs` can take, 0..num_labels - 1; None: unknown."""
        return None if self.class_names is None else len(self.class_names)

    @property
    def names_of_labels(self) -> tuple[str, ...]:
        """A name for each of the labels 0, 1, ...: its class's, or its number where the class has no name; () if there are no
        labels."""
        names = tuple(self.class_names or ())
        return names + tuple(str(number) for number in range(len(names), self.num_labels or 0))

    @abstractmethod
    def inputs(self, batch: dict[str, Tensor], chance: Tensor) -> Tensor:
        """What `forward` takes, (B, ...), out of a batch of the data set; `chance` (B,), uniform in [0, 1), decides what is
        left to chance, such as the template of a caption."""

    @abstractmethod
    def choose(self, *, labels: Labels, prompt: str | Sequence[str] | None) -> Tensor:
        """What `forward` takes, (K, ...), for a user's wish. Image i shows entry i modulo K."""

    @abstractmethod
    def forward(self, inputs: Tensor, drop: Tensor | None = None) -> dict[str, Tensor]:
        """Conditions of B images; rows where `drop` (B,) is true get the null condition."""

    @abstractmethod
    def null(self) -> dict[str, Tensor]:
        """The null condition, as a batch of 1."""

    def inputs_of_rows(self, choice: Tensor, rows: range, device: torch.device) -> Tensor:
        """The entries of `choice` (K, ...) for images `rows`."""
        return choice[torch.arange(rows.start, rows.stop) % len(choice)].to(device)


def chosen_labels(labels: Labels, num_classes: int, class_names: Sequence[str] | None = None) -> Tensor:
    """Turn the classes a user asks for into labels (K,) int64; None asks for each class once.

    Args:
        labels: numbers of classes, or their names; a text is always a name.
        num_classes: how many classes there are.
        class_names: their names, where they are known.

    Raises:
        ValueError: a number outside 0..num_classes - 1, or an unknown name; the message lists the names.
    """
    if labels is None:
        return torch.arange(num_classes)
    number_of = {name: number for number, name in enumerate(class_names or ())}
    asked = [labels] if isinstance(labels, str) else labels
    if isinstance(asked, Sequence):
        asked = [number_of.get(label, -1) if isinstance(label, str) else label for label in asked]
    try:
        chosen = torch.as_tensor(asked).reshape(-1)
    # anything that is no number
    except (TypeError, ValueError, RuntimeError):
        chosen = torch.empty(0)
    whole = not chosen.is_floating_point() and chosen.dtype != torch.bool
    if not whole or len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= num_classes:
        shown = f"[{', '.join(map(str, labels))}]" if isinstance(labels, list | tuple) else labels
        raise ValueError(f"labels={shown}: choices: {label_choices(num_classes, class_names)}")
    return chosen.to(torch.int64)


def label_choices(num_classes: int, class_names: Sequence[str] | None) -> str:
    """Say which labels there are, for messages: "0 cat, 1 dog", or whole numbers where there are no names beside them."""
    names = list(class_names or ())
    if all(name == str(number) for number, name in enumerate(names)):
        return f"whole numbers in 0..{num_classes - 1}"
    numbered = [f"{number} {name}" for number, name in enumerate(names)]
    numbered += [str(number) for number in range(len(names), num_classes)]
    more = f", ... ({num_classes} in all)" if num_classes > LISTED else ""
    return ", ".join(numbered[:LISTED]) + more
