"""The noise that images are mixed with. The same object draws training noise and x_T."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightdiff.core.randomness import BlockGenerator


class Noise(ABC):
    """A distribution of independent numbers per pixel."""

    is_gaussian: ClassVar[bool] = False
    """Samplers that add noise on the way add Gaussian noise, which fits only a model trained with it."""

    def like(self, x: Tensor, generator: torch.Generator | BlockGenerator | None = None) -> Tensor:
        """Noise of the shape, dtype and device of x; drawn where the generator lives, then moved."""

        def draw(shape: torch.Size, source: torch.Generator | None) -> Tensor:
            device = x.device if source is None else source.device
            return self._draw(shape, source, x.dtype, device).to(x.device)

        return generator.draw(draw, x.shape) if isinstance(generator, BlockGenerator) else draw(x.shape, generator)

    @abstractmethod
    def _draw(
        self, shape: torch.Size, generator: torch.Generator | None, dtype: torch.dtype, device: torch.device
    ) -> Tensor: ...


@dataclass(frozen=True)
class GaussianNoise(Noise):
    """Standard normal, N(0, 1)."""

    is_gaussian: ClassVar[bool] = True

    def _draw(
        self, shape: torch.Size, generator: torch.Generator | None, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype, device=device)


@dataclass(frozen=True)
class UniformNoise(Noise):
    """Uniform in [0, 1): for images in [0, 1] that are mixed linearly with noise; only for samplers that add none."""

    def _draw(
        self, shape: torch.Size, generator: torch.Generator | None, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=dtype, device=device)
