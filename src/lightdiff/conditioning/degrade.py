"""Degrade: the condition is the image after blur, noise and JPEG compression. The network learns to restore it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightdiff.conditioning.chance import normals_of, numbers_of
from lightdiff.conditioning.image import ImageConditioner, from_uint8, rounded
from lightdiff.conditioning.jpeg import compressed


class Degrade(ImageConditioner):
    """The image blurred, then with noise, then compressed, each as strongly as chance has it; see `ImageConditioner`.

    Args:
        channels, image_size, drop_prob, augmentation, augmentation_level: as for `ImageConditioner`.
        blur: (least, greatest) standard deviation of the Gaussian kernel in pixels, 0 or more. None: no blur.
        noise: (least, greatest) standard deviation of the noise, as a share of the range from black to white, 0 to 1. None: no
            noise.
        jpeg: (least, greatest) quality of JPEG, whole numbers from 1 to 100; for images of 1 or 3 channels. It is computed on the
            CPU, one image after the other. None: no compression.

    Raises:
        ValueError: a number is out of its range, nothing is to be done, or JPEG is asked for images of other channels.
    """

    def __init__(
        self,
        channels: int,
        image_size: int | Sequence[int],
        blur: Sequence[float] | None = (0.0, 2.0),
        noise: Sequence[float] | None = (0.0, 0.1),
        jpeg: Sequence[int] | None = None,
        drop_prob: float = 0.0,
        augmentation: float = 0.0,
        augmentation_level: float = 0.0,
    ) -> None:
        super().__init__(channels, image_size, drop_prob, augmentation, augmentation_level)
        longest = max(self.size)
        for name, pair, lowest, highest in (("blur", blur, 0, longest), ("noise", noise, 0, 1), ("jpeg", jpeg, 1, 100)):
            if pair is not None and not (len(pair) == 2 and lowest <= pair[0] <= pair[1] <= highest):
                raise ValueError(
                    f"{name}={list(pair)}: two numbers, the lower one first, in [{lowest}, {highest}] are expected, or null"
                )
        if blur is None and noise is None and jpeg is None:
            raise ValueError("blur=null: at least one of blur, noise and jpeg is expected")
        if jpeg is not None and channels not in (1, 3):
            raise ValueError(f"jpeg={list(jpeg)}: images of 1 or 3 channels are expected, and these have {channels}")
        self.blur, self.noise, self.jpeg = (None if pair is None else list(pair) for pair in (blur, noise, jpeg))

    @property
    def condition_shape(self) -> tuple[int, int, int]:
        return (self.channels, *self.size)

    def made(self, images: Tensor, chance: Tensor) -> Tensor:
        blur, noise, own, jpeg = numbers_of(chance, 4).unbind(1)
        x = images.float()
        if self.blur is not None:
            x = blurred(x, _between(self.blur, blur), _reach(self.blur[1]))
        if self.noise is not None:
            x = x + 255 * _between(self.noise, noise)[:, None, None, None] * normals_of(own, x.shape[1:])
        condition = rounded(x)
        if self.jpeg is not None:
            low, high = self.jpeg
            condition = compressed(condition, (low + (jpeg * (high - low + 1)).floor().clamp(max=high - low)).long())
        return condition

    def expanded(self, condition: Tensor) -> Tensor:
        return from_uint8(condition)


def blurred(images: Tensor, sigma: Tensor, reach: int) -> Tensor:
    """Return images blurred by Gaussian kernels. Beyond the edges the pixels of the edge go on.

    Args:
        images: (B, C, H, W), floating point.
        sigma: standard deviation of the kernel of each image (B,), in pixels.
        reach: pixels on each side of the middle at which the kernels end.
    """
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    kernel = (-0.5 * (offsets / sigma[:, None].clamp(min=1e-3)).square()).exp()
    kernel = kernel / kernel.sum(1, keepdim=True)
    for dim in (-1, -2):
        images = _filtered(images.transpose(dim, -1), kernel, reach).transpose(dim, -1)
    return images


def _filtered(images: Tensor, kernel: Tensor, reach: int) -> Tensor:
    """Return images (B, C, H, W) filtered along their last dimension by kernels (B, 2 reach + 1)."""
    padded = F.pad(images, (reach, reach, 0, 0), mode="replicate")
    # shifted copies are added one by one, so that an image has the same bits in any batch
    total = torch.zeros_like(images)
    for offset, weights in enumerate(kernel.unbind(1)):
        total = total + weights[:, None, None, None] * padded[..., offset : offset + images.shape[-1]]
    return total


def _reach(sigma: float) -> int:
    """Return the pixels to which a kernel of that standard deviation reaches: three standard deviations, 1 at least."""
    return max(1, math.ceil(3 * sigma))


def _between(pair: Sequence[float], u: Tensor) -> Tensor:
    return pair[0] + (pair[1] - pair[0]) * u
