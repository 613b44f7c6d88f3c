"""Broadcasting numbers per image over images."""

from __future__ import annotations

from torch import Tensor


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """`values` (B,) as (B, 1, ..., 1) in the dtype of `images` (B, ...), so that they multiply each image as a whole."""
    return values.to(images.dtype).reshape(-1, *[1] * (images.ndim - 1))
