"""The numbers that an image file holds, and the levels 0..255 that they become.

A number of 1, 8, 12 or 16 bits without a sign says by its type which values are black and white. All other types (floats, signed
integers, 32 bits) do not, and need a range from the user.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from lightdiff.data.errors import DataError

WHITE = {"uint1": 1, "uint8": 2**8 - 1, "uint12": 2**12 - 1, "uint16": 2**16 - 1}
"""Type of a number -> the number of white. Black is 0."""

PHOTOMETRIC, BITS, PLANES, SAMPLE_FORMAT = 262, 258, 284, 339
"""Numbers of the tags of a TIFF: what 0 means, bits per number, the order of the numbers, their kind."""

SAMPLE_FORMATS = {1: "uint", 2: "int", 3: "float"}
"""Values of the tag SAMPLE_FORMAT."""


def check_range(value_range: Sequence[float] | None) -> None:
    """Raise ValueError if a range is neither None nor two finite numbers, the lower one first."""
    if value_range is not None and not (
        len(value_range) == 2 and all(map(math.isfinite, value_range)) and value_range[0] < value_range[1]
    ):
        raise ValueError(
            f"range={list(value_range)}: two numbers [a,b] are expected, the values of black and white, a < b"
        )


def number_type(image: Image.Image) -> str | None:
    """Return the type of the numbers of an image that has one per pixel, such as "uint16"; None for colours.

    Pillow brings 2 and 4 bits to 8, and in PGM files any number of bits above 8 to 16.

    Raises:
        DataError: Pillow would read the numbers wrongly.
    """
    tags = getattr(image, "tag_v2", {})
    bits, kind = max(tags.get(BITS, (8,))), SAMPLE_FORMATS.get(tags.get(SAMPLE_FORMAT, (1,))[0], "")
    if tags.get(PLANES) == 2 and bits > 8 and len(image.getbands()) > 1:
        raise DataError(f"colours of {bits} bits in separate planes are not read; convert the image")
    if image.mode == "1":
        return "uint1"
    if image.mode == "L":
        return "int8" if kind == "int" else "uint8"
    if image.mode == "F":
        return "float32"
    if image.mode.startswith("I"):
        return f"{kind}{bits}" if tags else "uint16"
    return None


def numbers_of(image: Image.Image, kind: str) -> np.ndarray:
    """Return the numbers of an image, (h, w).

    Args:
        image: one number per pixel.
        kind: what `number_type` says. Pillow itself ignores some signs.
    """
    array = np.asarray(image)
    return array.view(kind) if kind in ("int8", "uint32") else array


def extent(numbers: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest of the numbers that are finite, or 0 and 0 if none is."""
    finite = numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def to_levels(image: Image.Image, kind: str, value_range: Sequence[float] | None) -> Image.Image:
    """Return an image of mode "L" in which the first value of a range is 0, the last one 255, and all between are in proportion.

    Values beyond the range are cut off, and NaN becomes black. Where one number is transparent, the mode is "LA".

    Args:
        image: one number per pixel.
        kind: what `number_type` says.
        value_range: the range, or None for the one that the type has.

    Raises:
        DataError: neither is there.
    """
    found = numbers_of(image, kind)
    if value_range is None and kind not in WHITE:
        low, high = extent(found)
        raise DataError(
            f"{kind} has no range of its own, the values here go from {low:g} to {high:g}; give the values of black and white "
            "as dataset.source.range=[a,b], or convert the images to 8 bits"
        )
    numbers = torch.from_numpy(found.astype(np.float64))
    blank = numbers.isnan()
    transparent = None
    if isinstance(image.info.get("transparency"), int):
        transparent = (numbers == image.info["transparency"]).numpy()
    black, white = value_range or (0, WHITE[kind])
    numbers.sub_(black).mul_(255 / (white - black)).round_().clamp_(0, 255)
    # Pillow turns around only images of up to 8 bits
    if image.mode[0] in "IF" and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0:
        numbers.neg_().add_(255)
    numbers[blank] = 0
    levels = Image.fromarray(numbers.to(torch.uint8).numpy())
    if transparent is not None:
        levels.putalpha(Image.fromarray(np.where(transparent, 0, 255).astype(np.uint8)))
    return levels
