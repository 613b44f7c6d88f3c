"""Conditioner: from labels or captions to the tensors a network is conditioned on.

A condition is a dict with any of `vector (B, D)`, `tokens (B, L, D)` and `mask (B, L)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Conditioner(nn.Module, ABC):
    """Trained together with the network, averaged and saved with it.

    `drop_prob` is the share of training images, chosen one by one, whose condition is replaced by the null condition:
    classifier-free guidance needs that trained unconditional branch. `cond_keys` names the entries of a condition.
    """

    cond_keys: tuple[str, ...]
    drop_prob: float

    @abstractmethod
    def inputs(self, batch: dict[str, Tensor], chance: Tensor) -> Tensor:
        """What `forward` takes, (B, ...), out of a batch of the data set; `chance` (B,), uniform in [0, 1), decides what is
        left to chance, such as the template of a caption."""

    @abstractmethod
    def choose(self, *, labels: int | Sequence[int] | Tensor | None, prompt: str | Sequence[str] | None) -> Tensor:
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


def chosen_labels(labels: int | Sequence[int] | Tensor | None, num_classes: int) -> Tensor:
    """Labels (K,) int64 for a user's wish; None: each class once.

    Raises:
        ValueError: something else than labels in 0..num_classes - 1.
    """
    if labels is None:
        return torch.arange(num_classes)
    chosen = torch.as_tensor(labels).reshape(-1)
    if chosen.is_floating_point() or len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= num_classes:
        raise ValueError(f"labels={labels}: whole numbers in 0..{num_classes - 1} are expected")
    return chosen.to(torch.int64)
