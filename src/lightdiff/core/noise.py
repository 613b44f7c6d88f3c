"""Distributions of the noise that images are mixed with. The same object draws the noise of training and of x_T."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightdiff.core.randomness import BlockGenerator


class Noise(ABC):
    """Base class of the noise distributions. The numbers of all pixels are independent."""

    is_gaussian: ClassVar[bool] = False
    """Whether the noise is Gaussian. Samplers that add noise on the way need that, because they add Gaussian noise."""

    def like(self, x: Tensor, generator: torch.Generator | BlockGenerator | None = None) -> Tensor:
        """Return noise with the shape, dtype and device of x. It is drawn on the generator's device, then moved.

        Args:
            x: tensor (B, ...).
            generator: source of the numbers. None takes torch's global generator of the device of x.
        """

        def draw(shape: torch.Size, source: torch.Generator | None) -> Tensor:
            device = x.device if source is None else source.device
            return self._draw(shape, source, x.dtype, device).to(x.device)

        return generator.draw(draw, x.shape) if isinstance(generator, BlockGenerator) else draw(x.shape, generator)

    @abstractmethod
    def _draw(
        self, shape: torch.Size, generator: torch.Generator | None, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """Return noise of this shape and dtype, drawn on `device`, where the generator is."""


@dataclass(frozen=True)
class GaussianNoise(Noise):
    """Standard normal noise, N(0, 1)."""

    is_gaussian: ClassVar[bool] = True

    def _draw(
        self, shape: torch.Size, generator: torch.Generator | None, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype, device=device)


@dataclass(frozen=True)
class UniformNoise(Noise):
    """Noise that is uniform in [0, 1), for images in [0, 1]. Only samplers that add no noise on the way work with it."""

    def _draw(
        self, shape: torch.Size, generator: torch.Generator | None, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=dtype, device=device)
