"""JPEG compression of a batch of images, by Pillow."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor


def compressed(images: Tensor, quality: Tensor) -> Tensor:
    """Return images after JPEG compression and decompression, one by one on the CPU.

    Args:
        images: uint8 (B, C, H, W), of 1 or 3 channels.
        quality: quality of each image (B,), whole numbers from 1 to 100.
    """
    pairs = zip(images.cpu(), quality.tolist(), strict=True)
    return torch.stack([_compressed(image, level) for image, level in pairs]).to(images.device)


def _compressed(image: Tensor, quality: int) -> Tensor:
    """Return an image (C, H, W) after compression and decompression."""
    # nothing else in this room needs Pillow
    from PIL import Image

    pixels = image[0] if len(image) == 1 else image.movedim(0, -1)
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "jpeg", quality=quality)
    with Image.open(file) as opened:
        decoded = torch.from_numpy(np.array(opened))
    return decoded[None] if decoded.ndim == 2 else decoded.movedim(-1, 0)
