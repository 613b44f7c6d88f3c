"""Distance: how far the network's output is from its target, one number per image, computed in float32 at least."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


class Distance(ABC):
    """Called with output and target (B, ...), gives the mean over everything but the batch, (B,)."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        exact = torch.promote_types(torch.promote_types(output.dtype, target.dtype), torch.float32)
        return self._each(output.to(exact), target.to(exact)).flatten(1).mean(1)

    @abstractmethod
    def _each(self, output: Tensor, target: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class MSE(Distance):
    """Squared error."""

    def _each(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target) ** 2


@dataclass(frozen=True)
class L1(Distance):
    """Absolute error."""

    def _each(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs()


@dataclass(frozen=True)
class Huber(Distance):
    """Half the squared error up to delta, from there on linear: delta * (|error| - delta / 2).

    Raises:
        ValueError: delta not above 0.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(f"delta={self.delta}: a number above 0 is expected")

    def _each(self, output: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(output, target, reduction="none", delta=self.delta)
