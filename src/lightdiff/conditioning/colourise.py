"""Colourise: the condition is the image in shades of gray. The network learns to colour it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightdiff.conditioning.image import ImageConditioner, from_uint8, rounded

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness (ITU-R BT.601), by which image files are read in gray as well."""


class Colourise(ImageConditioner):
    """The brightness of the image, one channel; see `ImageConditioner` for what is done with it.

    Args:
        channels, image_size, drop_prob, augmentation, augmentation_level: as for `ImageConditioner`.

    Raises:
        ValueError: a number is out of its range, or the images have no colours.
    """

    def __init__(
        self,
        channels: int,
        image_size: int | Sequence[int],
        drop_prob: float = 0.0,
        augmentation: float = 0.0,
        augmentation_level: float = 0.0,
    ) -> None:
        super().__init__(channels, image_size, drop_prob, augmentation, augmentation_level)
        if channels != 3:
            raise ValueError(f"channels={channels}: images in colour, of 3 channels, are expected")

    @property
    def condition_shape(self) -> tuple[int, int, int]:
        return (1, *self.size)

    def made(self, images: Tensor, chance: Tensor) -> Tensor:
        weights = torch.tensor(LUMA, device=images.device)[:, None, None]
        return rounded((images.float() * weights).sum(1, keepdim=True))

    def expanded(self, condition: Tensor) -> Tensor:
        return from_uint8(condition)
