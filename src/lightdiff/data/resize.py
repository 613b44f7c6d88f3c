"""Bring images to one size.

Shapes: N images, C channels, h x w pixels before and H x W after. Everything is uint8 and scaling is antialiased. An image gets
the same pixels whether it is read alone or with the whole data set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

LONGEST = 16
"""Proportion, to that of the wanted size, from which on the ends of an image are cut off before it is scaled."""
LARGEST = 2**26
"""Pixels of an image between the scaling of its width and of its height. Photographs stay far below."""

ResizeMode = Literal["pad", "resize", "crop", "none"]


@dataclass(frozen=True)
class Fit:
    """Function that brings uint8 images (N, C, h, w) to (N, C, H, W).

    Args:
        size: (H, W).
        mode: "pad" centres the image on black, "resize" scales both sides (which may distort it), "crop" scales until the
            image covers H x W and cuts out the centre, "none" accepts only images of that size.

    Raises:
        ValueError: the mode is unknown, or, when called, the images do not fit.
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
    """Scale images to `size` (H, W), bilinearly with antialiasing."""
    # torch scales the width first, for which a tall and narrow image would become a tall and wide one
    if images.shape[-2] * size[1] > LARGEST:
        images = _scaled(images, (size[0], images.shape[-1]))
    return _scaled(images, size)


def _scaled(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images.contiguous(), size=size, mode="bilinear", antialias=True, align_corners=False)


def pad(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Centre images on black; of an odd number of rows or columns to add, the extra one goes below or to the right.

    Raises:
        ValueError: the images are larger than `size`.
    """
    missing_h, missing_w = size[0] - images.shape[-2], size[1] - images.shape[-1]
    if missing_h < 0 or missing_w < 0:
        raise ValueError(
            f"resize_mode=pad: an image of {_size_of(images)} does not fit into {_text(size)}; choices: {_others('pad', 'none')}"
        )
    left, top = missing_w // 2, missing_h // 2
    return F.pad(images, (left, missing_w - left, top, missing_h - top))


def crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale images so that they just cover `size`, then cut out the centre.

    Of an image more than `LONGEST` times as long as `size`, in proportion, only the middle is scaled.
    """
    images = _shortened(images, LONGEST * size[0] / size[1], LONGEST * size[1] / size[0])
    h, w = images.shape[-2:]
    scale = max(size[0] / h, size[1] / w)
    covering = (max(size[0], round(h * scale)), max(size[1], round(w * scale)))
    images = resize(images, covering)
    top, left = (covering[0] - size[0]) // 2, (covering[1] - size[1]) // 2
    return images[..., top : top + size[0], left : left + size[1]]


def _shortened(images: Tensor, tallest: float, widest: float) -> Tensor:
    """Cut the same from both ends of images that are taller or wider, as multiples of the other side, than these numbers."""
    h, w = images.shape[-2:]
    height, width = min(h, math.ceil(tallest * w)), min(w, math.ceil(widest * h))
    # both ends lose the same number, so that the middle of the image stays the middle
    top, left = (h - height) // 2, (w - width) // 2
    return images[..., top : h - top, left : w - left]


def refuse(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Raise ValueError, because mode `none` accepts no images of another size."""
    raise ValueError(
        f"resize_mode=none: an image of {_size_of(images)} is not {_text(size)}; choices: {_others('none')}"
    )


_MODES = {"pad": pad, "resize": resize, "crop": crop, "none": refuse}


def _others(*modes: str) -> str:
    """Return all modes but these, for messages."""
    return ", ".join(mode for mode in _MODES if mode not in modes)


def _text(size: tuple[int, int]) -> str:
    """Return a size for messages."""
    return f"{size[0]}x{size[1]} (height x width)"


def _size_of(images: Tensor) -> str:
    """Return the images' size for messages."""
    return f"{images.shape[-2]}x{images.shape[-1]}"
