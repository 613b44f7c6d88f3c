"""Clipping of x0_hat to the range of the pixel values."""

from __future__ import annotations

import torch
from torch import Tensor

from lightdiff.core import per_image


def clip_x0(
    x0_hat: Tensor, value_range: tuple[float, float] | None, clip_denoised: bool, dynamic_threshold: float | None
) -> Tensor:
    """Return x0_hat (B, ...) clipped to `value_range`, or unchanged if neither setting asks for clipping.

    With dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487, section 2.3) each image is first shrunk towards the middle
    of the range until the share `dynamic_threshold` of its pixels is inside, and then clipped.

    Args:
        x0_hat: estimated images (B, ...).
        value_range: (lowest, highest) value of x0. None: it has no bounds, and nothing is clipped.
        clip_denoised: whether to clip.
        dynamic_threshold: share of pixels in (0, 1]. None: images are not shrunk.
    """
    if value_range is None:
        return x0_hat
    low, high = value_range
    if dynamic_threshold is not None:
        middle, half = (low + high) / 2, (high - low) / 2
        away = (x0_hat - middle).abs().flatten(1)
        reach = torch.quantile(away.to(torch.promote_types(away.dtype, torch.float32)), dynamic_threshold, dim=1)
        x0_hat = middle + (x0_hat - middle) * per_image(half / reach.clamp(min=half), x0_hat)
    return x0_hat.clamp(low, high) if clip_denoised or dynamic_threshold is not None else x0_hat
