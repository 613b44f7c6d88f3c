"""One image file to pixels. Files may come from strangers: format and size are checked before anything is decoded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from lightdiff.data.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Whatever a file's name says: Pillow itself would also hand PostScript, which is code, to another program."""

warnings.filterwarnings("error", category=Image.DecompressionBombWarning)  # becomes the message below


def read_image(file: Path | BinaryIO, channels: int, max_pixels: int, *, name: str | None = None) -> Tensor:
    """Pixels (channels, h, w) as uint8: grayscale for 1 channel, RGB for 3. Messages call the image by `name`, or its path.

    Turned upright as its EXIF entry says; transparent parts become black; 16 bits a pixel are scaled down to 8.

    Raises:
        DataError: the file is no readable image of one of `FORMATS`, or has more than `max_pixels` pixels.
    """
    name = name or str(file)
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own limit, which would refuse what `max_pixels` allows
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise DataError(f"{name}: {width}x{height} pixels are more than max_pixels={max_pixels} allows")
            return pil_to_tensor(_in_mode(ImageOps.exif_transpose(image), "L" if channels == 1 else "RGB"))
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name}: more pixels than max_pixels={max_pixels} allows ({error})") from error
    except Exception as error:  # decoders raise anything, from OSError to struct.error and SyntaxError
        raise DataError(
            f"{name}: not a readable image ({' '.join(str(error).split()) or type(error).__name__})"
        ) from error


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, which Pillow's own conversion cuts off instead of scaling
        pixels = pil_to_tensor(image)[0].to(torch.float64) / 257
        image = Image.fromarray(pixels.round().clamp(0, 255).to(torch.uint8).numpy())
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert(mode)
