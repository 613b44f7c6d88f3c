"""Read an image file. Files may come from strangers, so format and size are checked before anything is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from lightdiff.data.errors import DataError
from lightdiff.data.formats import readable_formats
from lightdiff.data.in_flight import in_flight


def read_image(file: Path | BinaryIO, channels: int, max_pixels: int, *, name: str | None = None) -> Tensor:
    """Read one image, upright as its EXIF entry says, with transparent parts black and 16 bits per value scaled down to 8.

    Args:
        file: its path, or an open file.
        channels: 1 for grayscale, 3 for RGB.
        max_pixels: images with more pixels are refused before they are decoded.
        name: how messages call the image, or None for its path.

    Returns:
        uint8 (channels, h, w).

    Raises:
        DataError: the file is no image in one of the formats of `lightdiff.data.formats`, or has more than `max_pixels` pixels.
    """
    name = name or str(file)
    # Pillow's own limit might refuse an image that `max_pixels` allows
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
    try:
        with Image.open(file, formats=readable_formats()) as image:
            # Pillow has only warned of a size that it finds suspicious
            width, height = image.size
            if width * height > max_pixels:
                raise DataError(f"{name}: {width}x{height} pixels are more than max_pixels={max_pixels} allows")
            in_flight.claim(width * height)
            return pil_to_tensor(_in_mode(ImageOps.exif_transpose(image), "L" if channels == 1 else "RGB"))
    except DataError:
        raise
    # the warning is an error where a program has made it one
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name}: more pixels than max_pixels={max_pixels} allows ({error})") from error
    # decoders raise anything, from OSError to struct.error and SyntaxError
    except Exception as error:
        raise DataError(
            f"{name}: not a readable image ({' '.join(str(error).split()) or type(error).__name__})"
        ) from error


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image to Pillow's mode "L" (grayscale) or "RGB"."""
    # 16 bits: Pillow's own conversion would clip the values instead of scaling them
    if image.mode.startswith("I"):
        pixels = pil_to_tensor(image)[0].to(torch.float64) / 257
        image = Image.fromarray(pixels.round().clamp(0, 255).to(torch.uint8).numpy())
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert(mode)
