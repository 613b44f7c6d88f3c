"""Shapes that broadcast one number for each image over its pixels."""

from __future__ import annotations

from torch import Tensor


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """Return `values` (B,) as (B, 1, ..., 1) in the dtype of `images` (B, ...), so that each multiplies one whole image.

    A single number () stays as it is: it multiplies all images, on any device, in their dtype.
    """
    return values if values.ndim == 0 else values.to(images.dtype).reshape(-1, *[1] * (images.ndim - 1))
