"""SuperResolution: the condition is the image itself, made smaller. The network learns to enlarge it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from lightdiff.conditioning.image import ImageConditioner, from_uint8, rounded

Kernel = Literal["bicubic", "bilinear", "box"]


class SuperResolution(ImageConditioner):
    """The image, `factor` times smaller in height and width; see `ImageConditioner` for what is done with it.

    The small image is rounded to uint8, as files have it, and brought back to the full size before the network sees it, as in SR3
    (Saharia et al. 2021, arXiv:2104.07636, section 2.2).

    Args:
        channels, image_size, drop_prob, augmentation, augmentation_level: as for `ImageConditioner`.
        factor: how many times smaller the condition is, 2 or more, a divisor of height and width.
        kernel: how the image is made smaller and larger: "bicubic" and "bilinear" (smaller with antialiasing), or "box", which
            takes the mean of each square of factor x factor pixels and fills such squares with it.

    Raises:
        ValueError: a number is out of its range, factor does not divide the size, or there is no such kernel.
    """

    def __init__(
        self,
        channels: int,
        image_size: int | Sequence[int],
        factor: int = 4,
        kernel: Kernel = "bicubic",
        drop_prob: float = 0.0,
        augmentation: float = 0.0,
        augmentation_level: float = 0.0,
    ) -> None:
        super().__init__(channels, image_size, drop_prob, augmentation, augmentation_level)
        if kernel not in get_args(Kernel):
            raise ValueError(f"kernel={kernel}: choices: {', '.join(get_args(Kernel))}")
        height, width = self.size
        if factor < 2 or height % factor or width % factor:
            fitting = [n for n in range(2, min(self.size) + 1) if not height % n and not width % n]
            raise ValueError(
                f"factor={factor}: images of {height}x{width} cannot be made so many times smaller; choices: "
                f"{', '.join(map(str, fitting)) or 'none for this size'}"
            )
        self.factor, self.kernel = factor, kernel

    @property
    def condition_shape(self) -> tuple[int, int, int]:
        height, width = self.size
        return self.channels, height // self.factor, width // self.factor

    def made(self, images: Tensor, chance: Tensor) -> Tensor:
        size = self.condition_shape[1:]
        if self.kernel == "box":
            return rounded(F.avg_pool2d(images.float(), self.factor))
        return rounded(F.interpolate(images.float(), size=size, mode=self.kernel, antialias=True))

    def expanded(self, condition: Tensor) -> Tensor:
        image = from_uint8(condition)
        if self.kernel == "box":
            return F.interpolate(image, size=self.size, mode="nearest")
        return F.interpolate(image, size=self.size, mode=self.kernel).clamp(-1, 1)
