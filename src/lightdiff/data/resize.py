"""Bring images to one size.

N images a batch, C channels, h x w pixels before and H x W after. All in uint8, antialiased, and for each image
independent of the others, so that an image has the same pixels whether it is read alone or with the whole data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

ResizeMode = Literal["pad", "resize", "crop", "none"]


@dataclass(frozen=True)
class Fit:
    """Images (N, C, h, w) to (N, C, H, W), both uint8.

    Args:
        size: (H, W).
        mode: pad: centre on black; resize: scale both sides (the shape may change); crop: scale until the image covers
            H x W, then cut out the centre; none: images must have that size.

    Raises:
        ValueError: an unknown mode; when called: images that the mode cannot fit.
    """

    size: tuple[int, int]
    mode: ResizeMode = "pad"

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise ValueError(f"resize_mode={self.mode}: choices: {', '.join(get_args(ResizeMode))}")

    def __call__(self, images: Tensor) -> Tensor:
        if tuple(images.shape[-2:]) == self.size:
            return images
        return _MODES[self.mode](images, self.size)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale to `size` (H, W), bilinear with antialiasing."""
    return F.interpolate(images.contiguous(), size=size, mode="bilinear", antialias=True, align_corners=False)


def pad(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Centre on black; an odd row or column more goes below or to the right."""
    missing_h, missing_w = size[0] - images.shape[-2], size[1] - images.shape[-1]
    if missing_h < 0 or missing_w < 0:
        raise ValueError(
            f"resize_mode=pad: an image of {_size_of(images)} does not fit into {_text(size)}; use resize or crop"
        )
    left, top = missing_w // 2, missing_h // 2
    return F.pad(images, (left, missing_w - left, top, missing_h - top))


def crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale so that the image just covers `size`, then cut out the centre."""
    h, w = images.shape[-2:]
    scale = max(size[0] / h, size[1] / w)
    covering = (max(size[0], round(h * scale)), max(size[1], round(w * scale)))
    images = resize(images, covering)
    top, left = (covering[0] - size[0]) // 2, (covering[1] - size[1]) // 2
    return images[..., top : top + size[0], left : left + size[1]]


def refuse(images: Tensor, size: tuple[int, int]) -> Tensor:
    """For mode `none`: there is an image of another size."""
    raise ValueError(f"resize_mode=none: an image of {_size_of(images)} is not {_text(size)}; use pad, resize or crop")


_MODES = {"pad": pad, "resize": resize, "crop": crop, "none": refuse}


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} (height x width)"


def _size_of(images: Tensor) -> str:
    return f"{images.shape[-2]}x{images.shape[-1]}"
