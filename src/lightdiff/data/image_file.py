"""Read an image file. Files may come from strangers, so format and size are checked before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from lightdiff.data.errors import DataError
from lightdiff.data.formats import readable_formats
from lightdiff.data.in_flight import in_flight
from lightdiff.data.pixel_values import extent, number_type, numbers_of, to_levels

COLOUR = "colour"
"""The type of numbers of an image that has several per pixel: 8 bits for each of red, green and blue."""

KINDS = {
    1: ("L", False),
    2: ("L", True),
    3: ("RGB", False),
    4: ("RGB", True),
}
"""Number of channels -> Pillow's mode of the colours, and whether the last channel is the transparency."""

SCALED = {"L;2": 255 // 3, "L;4": 255 // 15}
"""How Pillow decodes the pixels of a PNG -> the factor by which it brings them, but not the transparent value, to 8 bits."""


def read_image(
    file: Path | BinaryIO,
    channels: int,
    max_pixels: int,
    *,
    name: str | None = None,
    value_range: Sequence[float] | None = None,
    background: int = 0,
) -> Tensor:
    """Read one image, the first in its file, upright as its EXIF entry says, with transparent parts on one level.

    Args:
        file: its path, or an open file.
        channels: 1 for grayscale, 3 for RGB; 2 and 4 add the transparency (alpha, 255 is opaque) as the last channel.
        max_pixels: images with more pixels are refused before they are decoded.
        name: how messages call the image, or None for its path.
        value_range: the numbers in the file that are black and white, for images of one number per pixel. None takes the range
            of the numbers' type: 0..1, 0..255, 0..4095 or 0..65535.
        background: the level on which transparent parts are laid, 0 black to 255 white. Images of premultiplied gray ("La") are
            on black.

    Returns:
        uint8 (channels, h, w).

    Raises:
        DataError: the file is no image in one of the formats of `lightdiff.data.formats`, has more than `max_pixels` pixels, or
            its numbers have no range, or not this one.
    """
    mode, with_alpha = KINDS[channels]
    with _opened(file, max_pixels, name or str(file)) as image:
        colours, alpha = _in_mode(image, mode, value_range, background)
        return torch.cat([pil_to_tensor(part) for part in ((colours, alpha) if with_alpha else (colours,))])


def read_extent(file: Path | BinaryIO, max_pixels: int) -> tuple[str, float, float]:
    """Return the type of an image's numbers, such as "uint16" or `COLOUR`, the lowest and the highest of them.

    Raises:
        DataError: the image cannot be read.
    """
    with _opened(file, max_pixels, str(file)) as image:
        kind = number_type(image)
        if kind is None:
            levels = pil_to_tensor(_in_mode(image, "RGB", None)[0])
            return COLOUR, float(levels.min()), float(levels.max())
        return kind, *extent(numbers_of(image, kind))


@contextmanager
def _opened(file: Path | BinaryIO, max_pixels: int, name: str) -> Iterator[Image.Image]:
    """Decode an image and turn it upright; turn every error, also within the with block, into DataError.

    The arguments are those of `read_image`.
    """
    # Pillow's own limit might refuse an image that `max_pixels` allows
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
    try:
        with ExitStack() as stack:
            # Pillow scrambles the pixels of some turned TIFF files that it opens itself
            source = stack.enter_context(file.open("rb")) if isinstance(file, Path) else file
            image = stack.enter_context(Image.open(source, formats=readable_formats()))
            # Pillow has only warned of a size that it finds suspicious
            width, height = image.size
            if width * height > max_pixels:
                raise DataError(f"{width}x{height} pixels are more than max_pixels={max_pixels} allows")
            in_flight.claim(width * height)
            _scale_transparency(image)
            ImageOps.exif_transpose(image, in_place=True)
            yield image
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    # the warning is an error where a program has made it one
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name}: more pixels than max_pixels={max_pixels} allows ({error})") from error
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a readable image (no format or kind of numbers that is read here)") from None
    # decoders raise anything, from OSError to struct.error and SyntaxError
    except Exception as error:
        raise DataError(
            f"{name}: not a readable image ({' '.join(str(error).split()) or type(error).__name__})"
        ) from error


def _scale_transparency(image: ImageFile.ImageFile) -> None:
    """Bring the transparent level of gray of a PNG, if there is one, to the 8 bits that its pixels will have."""
    transparent = image.info.get("transparency")
    if image.mode == "L" and isinstance(transparent, int) and image.tile:
        image.info["transparency"] = transparent * SCALED.get(str(image.tile[0][3]), 1)


def check_readable(channels: int) -> None:
    """Raise ValueError if image files cannot be read with so many channels."""
    if channels not in KINDS:
        raise ValueError(
            f"channels={channels}: choices for image files: 1 (grayscale), 3 (RGB), 2 and 4 (the same, then transparency)"
        )


def _in_mode(
    image: Image.Image, mode: str, value_range: Sequence[float] | None, background: int = 0
) -> tuple[Image.Image, Image.Image]:
    """Convert an image to Pillow's mode "L" (grayscale) or "RGB", laid on a level, and return its transparency beside it."""
    kind = number_type(image)
    if kind is None and value_range is not None:
        raise DataError(
            f"dataset.source.range=[{value_range[0]:g},{value_range[1]:g}] is for images of one number per pixel, "
            f"and this one is {image.mode}"
        )
    if kind is not None and (value_range is not None or kind not in ("uint1", "uint8")):
        image = to_levels(image, kind, value_range)
    alpha = Image.new("L", image.size, 255)
    # premultiplied alpha: the gray is the one on black
    if image.mode == "La":
        image, alpha = image.split()
    # Pillow converts it to RGB only
    if image.mode == "LAB":
        image = image.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        level = Image.new("RGBA", image.size, (background, background, background, 255))
        image = Image.alpha_composite(level, image)
    return image.convert(mode), alpha
