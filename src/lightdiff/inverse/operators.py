"""The operators: inpainting, super-resolution, blur, colour removal and compressed sensing.

Each is one class here and one YAML file in conf/operator. All of them solve (A A^T + ridge I) v = y in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from lightdiff.core import keyed_generator, per_image
from lightdiff.inverse.operator import LinearOperator

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness (ITU-R BT.601), with which image files are turned to gray as well."""
SMALLEST_RESPONSE = 1e-3
"""Share of its amplitude below which a frequency counts as lost in a blur, where no noise of the measurement says so."""


class Inpaint(LinearOperator):
    """Keep the pixels where the mask is 0. The measurement is an image in which all other pixels are 0 (middle gray).

        A x = known * x,    A A^T = diag(known)

    Args:
        shape: shape (C, H, W) of the images.
        mask: 1 (or True) at unknown pixels, 0 at known ones. It broadcasts over images (B, C, H, W).

    Raises:
        ValueError: no pixel is known.
    """

    takes_mask: ClassVar[bool] = True

    def __init__(self, shape: Sequence[int], mask: Tensor) -> None:
        super().__init__(shape)
        self.known = (mask <= 0).double().expand(1, *self.shape)
        if not self.known.any():
            raise ValueError("mask: nothing in it is black, so that nothing is measured")

    def __call__(self, x0: Tensor) -> Tensor:
        return self._constant("known", x0) * x0

    def adjoint(self, y: Tensor) -> Tensor:
        return self(y)

    def solve(self, y: Tensor, ridge: Tensor) -> Tensor:
        # what is unknown is 0 in every measurement, and is left so
        return self(y) / (1 + per_image(ridge, y))

    @property
    def count(self) -> int:
        return int(self.known.sum())

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        return self.shape

    def from_picture(self, picture: Tensor) -> Tensor:
        return self(picture)


class SuperResolution(LinearOperator):
    """Take the mean of each square of factor x factor pixels. The measurement is an image (B, C, H / factor, W / factor).

        A A^T = I / factor^2

    Args:
        shape: shape (C, H, W) of the images.
        factor: side of a square, 1 or more; it divides H and W.

    Raises:
        ValueError: factor is no such number.
    """

    def __init__(self, shape: Sequence[int], factor: int = 4) -> None:
        super().__init__(shape)
        height, width = self.shape[1:]
        if factor < 1 or height % factor or width % factor:
            raise ValueError(f"factor={factor}: a whole number that divides {height} and {width} is expected")
        self.factor = factor

    def __call__(self, x0: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(x0, self.factor)

    def adjoint(self, y: Tensor) -> Tensor:
        spread = y.repeat_interleave(self.factor, -1).repeat_interleave(self.factor, -2)
        return spread / self.factor**2

    def solve(self, y: Tensor, ridge: Tensor) -> Tensor:
        return y / (1 / self.factor**2 + per_image(ridge, y))

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.shape
        return channels, height // self.factor, width // self.factor


class Blur(LinearOperator):
    """Blur with a Gaussian, with reflecting edges: beyond an edge the image goes on as its mirror image.

        A x = D^T (response * D x),    response(k, l) = exp(-std^2 (w_k^2 + w_l^2) / 2),    w_k = pi k / H,  w_l = pi l / W

    D is the orthonormal cosine transform (DCT-II) along both axes, whose waves reflect at the edges. A spreads brightness as heat
    spreads in a plate of that size in the time std^2 / 2. It is symmetric, and A A^T has the eigenvalues response^2.

    Frequencies whose response is below `SMALLEST_RESPONSE` count as lost when there is no noise: `solve` returns 0 for them at
    ridge = 0.

    Args:
        shape: shape (C, H, W) of the images.
        std: standard deviation of the Gaussian in pixels, above 0.

    Raises:
        ValueError: std is not above 0.
    """

    def __init__(self, shape: Sequence[int], std: float = 2.0) -> None:
        super().__init__(shape)
        if not 0 < std < math.inf:
            raise ValueError(f"std={std}: a number above 0 is expected")
        self.std = std
        self.rows, self.columns = (cosine_transform(size) for size in self.shape[1:])
        down, across = (
            torch.exp(-((std * math.pi * torch.arange(size, dtype=torch.float64) / size) ** 2) / 2)
            for size in self.shape[1:]
        )
        self.response = torch.outer(down, across)

    def __call__(self, x0: Tensor) -> Tensor:
        return self._back(self._constant("response", x0) * self._waves(x0))

    def adjoint(self, y: Tensor) -> Tensor:
        return self(y)

    def solve(self, y: Tensor, ridge: Tensor) -> Tensor:
        response = self._constant("response", y)
        eigenvalues = response.square() + per_image(ridge, y)
        # below this nothing but rounding errors would be amplified
        kept = eigenvalues >= SMALLEST_RESPONSE**2
        return self._back(torch.where(kept, self._waves(y) / eigenvalues, 0))

    @property
    def gain(self) -> float:
        return self.response.square().mean().item()

    def _waves(self, x: Tensor) -> Tensor:
        return self._constant("rows", x) @ x @ self._constant("columns", x).T

    def _back(self, waves: Tensor) -> Tensor:
        return self._constant("rows", waves).T @ waves @ self._constant("columns", waves)

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        return self.shape


class ColourRemoval(LinearOperator):
    """Keep the brightness of each pixel. The measurement is an image (B, 1, H, W).

        A x = 0.299 red + 0.587 green + 0.114 blue,    A A^T = I (0.299^2 + 0.587^2 + 0.114^2)

    Args:
        shape: shape (3, H, W) of the images.

    Raises:
        ValueError: the images have another number of channels.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(shape)
        if self.shape[0] != 3:
            raise ValueError(f"images of 3 channels are expected, and this model has {self.shape[0]}")
        self.weights = torch.tensor(LUMA, dtype=torch.float64)[:, None, None]

    def __call__(self, x0: Tensor) -> Tensor:
        return (self._constant("weights", x0) * x0).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._constant("weights", y) * y

    def solve(self, y: Tensor, ridge: Tensor) -> Tensor:
        return y / (self.weights.square().sum().item() + per_image(ridge, y))

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        return 1, *self.shape[1:]


class CompressedSensing(LinearOperator):
    """Measure random sums of all pixels of a channel: the signs of the pixels are changed at random, then a cosine transform is
    taken, of which a random part is kept (B, M).

        A = choose M of C H W  *  orthonormal DCT-II of each channel  *  random signs,    A A^T = I

    Such randomised transforms measure as well as independent random sums, at the cost of a transform (Do et al. 2012,
    IEEE Transactions on Signal Processing 60, "Fast and efficient compressive sensing using structurally random matrices").

    Args:
        shape: shape (C, H, W) of the images.
        share: M / (C H W), above 0 and at most 1. M is rounded, and at least 1.
        seed: key of the signs and of the choice.

    Raises:
        ValueError: share is out of its range.
    """

    def __init__(self, shape: Sequence[int], share: float = 0.25, seed: int = 0) -> None:
        super().__init__(shape)
        if not 0 < share <= 1:
            raise ValueError(f"share={share}: a number above 0 and at most 1 is expected")
        self.share = share
        size = math.prod(self.shape)
        generator = keyed_generator("cpu", "compressed sensing", seed)
        self.signs = torch.randint(0, 2, self.shape, generator=generator).double() * 2 - 1
        self.chosen = torch.randperm(size, generator=generator)[: max(1, round(share * size))].sort().values
        self.rows, self.columns = (cosine_transform(size) for size in self.shape[1:])

    def __call__(self, x0: Tensor) -> Tensor:
        mixed = self._constant("signs", x0) * x0
        waves = self._constant("rows", x0) @ mixed @ self._constant("columns", x0).T
        return waves.flatten(1)[:, self.chosen.to(x0.device)]

    def adjoint(self, y: Tensor) -> Tensor:
        waves = y.new_zeros(len(y), math.prod(self.shape))
        waves[:, self.chosen.to(y.device)] = y
        mixed = self._constant("rows", y).T @ waves.reshape(-1, *self.shape) @ self._constant("columns", y)
        return self._constant("signs", y) * mixed

    def solve(self, y: Tensor, ridge: Tensor) -> Tensor:
        return y / (1 + per_image(ridge, y))


def cosine_transform(size: int) -> Tensor:
    """Return the orthonormal matrix (size, size) of the cosine transform DCT-II, float64; its rows are the waves."""
    k, i = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)
    waves = torch.cos(math.pi * k * (2 * i + 1) / (2 * size)) * math.sqrt(2 / size)
    waves[0] /= math.sqrt(2)
    return waves
