"""InpaintMask: the condition is the image with a hole. The network learns to fill it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightdiff.conditioning.chance import numbers_of
from lightdiff.conditioning.image import ImageConditioner, from_uint8
from lightdiff.conditioning.masks import MASKS, NUMBERS


class InpaintMask(ImageConditioner):
    """The image without the pixels of a random mask, and the mask as a further channel, as in Palette (Saharia et al. 2022,
    arXiv:2111.05826, section 4); see `ImageConditioner` for what is done with it.

    As a user has it in a file, the condition is an image with transparency, C + 1 channels: what is less than half opaque is to
    be filled. The network gets 0 for such pixels, and the mask as 1 there and 0 elsewhere.

    Args:
        channels, image_size, drop_prob: as for `ImageConditioner`.
        masks: kinds of masks, of which each training image gets one at random: "box" (a rectangle), "stroke" (of a brush), "half"
            (one half of the image).

    Raises:
        ValueError: a number is out of its range, or there is no such kind of mask.
    """

    def __init__(
        self,
        channels: int,
        image_size: int | Sequence[int],
        masks: Sequence[str] = ("box", "stroke"),
        drop_prob: float = 0.0,
    ) -> None:
        super().__init__(channels, image_size, drop_prob)
        unknown = [name for name in masks if name not in MASKS]
        if unknown or not masks:
            raise ValueError(f"masks={list(masks)}: choices, one or more: {', '.join(MASKS)}")
        self.masks = list(masks)

    @property
    def condition_shape(self) -> tuple[int, int, int]:
        return (self.channels + 1, *self.size)

    def made(self, images: Tensor, chance: Tensor) -> Tensor:
        first, *_ = numbers_of(chance, 1).unbind(1)
        kind = (first * len(self.masks)).long().clamp(max=len(self.masks) - 1)
        u = numbers_of(first, NUMBERS)
        kinds = torch.stack([MASKS[name](u, self.size) for name in self.masks])
        opaque = ~kinds[kind, torch.arange(len(images), device=images.device)][:, None]
        return torch.cat([images * opaque, opaque.to(torch.uint8) * 255], dim=1)

    def expanded(self, condition: Tensor) -> Tensor:
        hidden = condition[:, -1:] < 128
        return torch.cat([from_uint8(condition[:, :-1]).masked_fill(hidden, 0), hidden.float()], dim=1)

    def pictured(self, condition: Tensor) -> Tensor:
        return self.expanded(condition)[:, :-1]
