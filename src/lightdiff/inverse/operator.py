"""The base class of the operators A of a measurement y = A x0 + noise, and the solver for those without a closed form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from lightdiff.core import keyed_generator, per_image

MOST_ITERATIONS = 200
"""Iterations after which `LinearOperator.solve` gives up in its general form, with the best it has found."""


class LinearOperator(ABC):
    """Base class of the linear operators A, given as functions and not as matrices.

        y = A x0 + noise_std z,    z ~ N(0, 1)

    A subclass implements `__call__` and `adjoint`, and `solve` where that has a closed form.

    Args:
        shape: shape (C, H, W) of the images.
    """

    takes_mask: ClassVar[bool] = False
    """Whether the constructor needs a mask, bool (1, 1, H, W)."""

    def __init__(self, shape: Sequence[int]) -> None:
        channels, height, width = shape
        self.shape = (int(channels), int(height), int(width))
        self._copies: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}

    @abstractmethod
    def __call__(self, x0: Tensor) -> Tensor:
        """Return A x0 (B, ...) for images (B, C, H, W)."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """Return A^T y (B, C, H, W) for measurements (B, ...)."""

    def solve(self, y: Tensor, ridge: Tensor) -> Tensor:
        """Return (A A^T + ridge I)^-1 y (B, ...).

        Here it is computed by conjugate gradients, to a relative residual of 1e-6 or for `MOST_ITERATIONS`. All operators of this
        package have closed forms. At ridge = 0 the result is that of the pseudo-inverse of A A^T, if y is in the range of A.

        Args:
            y: measurements (B, ...).
            ridge: numbers (B,), 0 or more.
        """
        return conjugate_gradients(
            lambda v: self(self.adjoint(v)) + per_image(ridge, v) * v, y, iterations=MOST_ITERATIONS, tolerance=1e-6
        )

    @cached_property
    def gain(self) -> float:
        """Mean of the diagonal of A A^T: how much larger the variance of A x is than that of x, for white noise x.

        Here it is estimated by a keyed vector of random signs, which is exact where A A^T is diagonal.
        """
        y = self(torch.zeros(1, *self.shape, dtype=torch.float64))
        signs = torch.randint(0, 2, y.shape, generator=keyed_generator("cpu", "gain")).to(y) * 2 - 1
        return (self.adjoint(signs).square().sum() / self.count).item()

    @property
    def count(self) -> int:
        """Number of measured values of an image."""
        return self(torch.zeros(1, *self.shape, dtype=torch.float64)).numel()

    @property
    def picture_shape(self) -> tuple[int, int, int] | None:
        """Shape (C', H', W') of a measurement that is an image; None where a measurement is none."""
        return None

    def from_picture(self, picture: Tensor) -> Tensor:
        """Return the measurement (B, ...) that is given as an image (B, *picture_shape)."""
        return picture

    def to_picture(self, y: Tensor) -> Tensor:
        """Return an image (B, C', H', W') that shows a measurement: the measurement itself if it is an image, otherwise A^T y."""
        return y if self.picture_shape is not None else self.adjoint(y)

    def _constant(self, name: str, like: Tensor) -> Tensor:
        """Return the attribute of that name on the device and in the dtype of a tensor. Each copy is made once."""
        key = (name, like.device, like.dtype)
        if key not in self._copies:
            # first the dtype, because some devices have no float64
            self._copies[key] = getattr(self, name).to(like.dtype).to(like.device)
        return self._copies[key]


def conjugate_gradients(
    matrix: Callable[[Tensor], Tensor], right: Tensor, *, iterations: int, tolerance: float = 0.0
) -> Tensor:
    """Return the solution v (B, ...) of matrix(v) = right by the method of conjugate gradients, for each of B rows alone.

    A row is finished when its residual is small enough, and when the matrix is not positive in the direction of its next step,
    which rounding and matrices that are only nearly symmetric can cause. It then keeps what it has.

    Args:
        matrix: function that multiplies (B, ...) by a symmetric positive matrix for each row.
        right: right-hand sides (B, ...).
        iterations: largest number of steps.
        tolerance: norm of the residual, relative to that of the right-hand side, at which a row is finished.
    """
    v, residual, direction = torch.zeros_like(right), right, right
    squared = _dot(residual, residual)
    enough = tolerance**2 * squared
    active = squared > 0
    for _ in range(iterations):
        product = matrix(direction)
        curvature = _dot(direction, product)
        active = active & (curvature > 0) & (squared > enough)
        if not active.any():
            break
        step = per_image(torch.where(active, squared / curvature, 0), v)
        v = v + step * direction
        residual = residual - step * product
        following = _dot(residual, residual)
        direction = residual + per_image(torch.where(active, following / squared, 0), v) * direction
        squared = torch.where(active, following, squared)
    return v


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each row: (B,)."""
    return (a * b).flatten(1).sum(1)
