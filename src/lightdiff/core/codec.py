"""Codecs: from the images of a data set to the x0 that a network is trained on, and back.

    uint8 images --encode--> x0 --noise, network, sampler--> x0_hat --decode--> images in [-1, 1]

Everything between `encode` and `decode` sees x0 only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]
"""Channels, height and width."""


class Codec(nn.Module, ABC):
    """Base class of the codecs.

    Attributes:
        value_range: (lowest, highest) value of x0, to which a sampler with clip_denoised=True clips x0_hat. None: x0 has no such
            bounds, and nothing is clipped.
    """

    value_range: tuple[float, float] | None = None

    @abstractmethod
    def encode(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return x0 (B, ...) of images (B, C, H, W).

        Args:
            images: uint8 in 0..255, or floats in [0, 1].
            dtype: floating type of x0.
        """

    @abstractmethod
    def decode(self, x0: Tensor) -> Tensor:
        """Return the images (B, C, H, W) of x0 (B, ...), in [-1, 1]."""

    @abstractmethod
    def shape(self, image_shape: Sequence[int]) -> Shape:
        """Return the shape of x0 for images of the shape `image_shape`, both (channels, height, width)."""


class PixelCodec(Codec):
    """The pixels themselves: x0 = low + (high - low) * pixel / 255.

    Args:
        value_range: (low, high), to which black and white are mapped.

    Raises:
        ValueError: the range is not two finite numbers, the lower one first.
    """

    value_range: tuple[float, float]

    def __init__(self, value_range: Sequence[float] = (-1.0, 1.0)) -> None:
        super().__init__()
        bounds = tuple(float(bound) for bound in value_range)
        if len(bounds) != 2 or not -math.inf < bounds[0] < bounds[1] < math.inf:
            raise ValueError(f"value_range={list(value_range)}: two numbers, the lower one first, are expected")
        self.value_range = bounds

    def encode(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        low, high = self.value_range
        return images.to(dtype) * ((high - low) / (255 if images.dtype == torch.uint8 else 1)) + low

    def decode(self, x0: Tensor) -> Tensor:
        low, high = self.value_range
        return ((x0 - low) * (2 / (high - low)) - 1).clamp(-1, 1)

    def shape(self, image_shape: Sequence[int]) -> Shape:
        channels, height, width = image_shape
        return channels, height, width
