"""Paired: the condition is another image, which the data set has for each of its images, such as the edges of a photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightdiff.conditioning.image import ImageConditioner, from_uint8


class Paired(ImageConditioner):
    """The image that the data set gives beside each image as `batch["condition"]`, of the same size; see `ImageConditioner`.

    Args:
        channels, image_size, drop_prob, augmentation, augmentation_level: as for `ImageConditioner`.
        condition_channels: number of channels of the other image.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        channels: int,
        image_size: int | Sequence[int],
        condition_channels: int = 3,
        drop_prob: float = 0.0,
        augmentation: float = 0.0,
        augmentation_level: float = 0.0,
    ) -> None:
        super().__init__(channels, image_size, drop_prob, augmentation, augmentation_level)
        if condition_channels < 1:
            raise ValueError(f"condition_channels={condition_channels}: 1 or more is expected")
        self.condition_channels = condition_channels

    @property
    def condition_shape(self) -> tuple[int, int, int]:
        return (self.condition_channels, *self.size)

    def check(self, batch: dict[str, Any]) -> None:
        condition, expected = batch.get("condition"), (len(batch["image"]), *self.condition_shape)
        if condition is None:
            raise ValueError(
                f"condition=None: Paired needs a second image for each image, uint8 {expected}; choices: dataset=paired, or "
                "dataset=huggingface dataset.source.condition_column=..."
            )
        if not isinstance(condition, Tensor) or condition.dtype != torch.uint8 or tuple(condition.shape) != expected:
            found = (
                f"{condition.dtype} {tuple(condition.shape)}"
                if isinstance(condition, Tensor)
                else type(condition).__name__
            )
            raise ValueError(f"condition={found.removeprefix('torch.')}: uint8 {expected} is expected")

    def condition_of(self, batch: dict[str, Any], chance: Tensor) -> Tensor:
        return batch["condition"]

    def made(self, images: Tensor, chance: Tensor) -> Tensor:
        raise ValueError("condition: it is not made of the images; the data set has to give it (dataset=paired)")

    def expanded(self, condition: Tensor) -> Tensor:
        return from_uint8(condition)
