"""Distances between the network's output and its target: one number for each image, computed in at least float32."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


class Distance(ABC):
    """Base class of the distances. A subclass says how the error of one value counts."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the distance of output (B, ...) from target (B, ...), averaged over each image: (B,)."""
        exact = torch.promote_types(torch.promote_types(output.dtype, target.dtype), torch.float32)
        return self._each(output.to(exact), target.to(exact)).flatten(1).mean(1)

    @abstractmethod
    def _each(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the distance of each value: (B, ...)."""


@dataclass(frozen=True)
class MSE(Distance):
    """The squared error (output - target)^2."""

    def _each(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target) ** 2


@dataclass(frozen=True)
class L1(Distance):
    """The absolute error |output - target|."""

    def _each(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs()


@dataclass(frozen=True)
class Huber(Distance):
    """The Huber loss: error^2 / 2 where |error| <= delta, and delta * (|error| - delta / 2) beyond.

    Args:
        delta: error at which the loss becomes linear, above 0.

    Raises:
        ValueError: delta is not above 0.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(f"delta={self.delta}: a number above 0 is expected")

    def _each(self, output: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(output, target, reduction="none", delta=self.delta)


@dataclass(frozen=True)
class PseudoHuber(Distance):
    """The pseudo-Huber distance of whole images, sqrt(e^2 + c^2) - c, where e^2 is the mean of an image's squared errors.

    It is Song & Dhariwal 2023 (arXiv:2310.14189, eq. 7), divided by the root of the number of values. Its gradient has the same
    size for images with a large and with a small error, as long as e is above c.

    Args:
        c: error below which the distance is quadratic, above 0. The paper uses 0.00054.

    Raises:
        ValueError: c is not above 0.
    """

    c: float = 0.00054

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise ValueError(f"c={self.c}: a number above 0 is expected")

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return (super().__call__(output, target) + self.c**2).sqrt() - self.c

    def _each(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target) ** 2
