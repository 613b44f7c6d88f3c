"""The size of images as a user gives it: one side, or height and width."""

from __future__ import annotations

from collections.abc import Sequence


def two_sizes(image_size: int | Sequence[int]) -> tuple[int, int]:
    """Return (height, width) of one side or two.

    Raises:
        ValueError: it is anything else, or a side is shorter than one pixel.
    """
    sizes = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sizes) != 2 or min(sizes) < 1:
        shown = image_size if isinstance(image_size, int) else list(image_size)
        raise ValueError(f"image_size={shown}: one side or [height, width] is expected, each at least 1")
    return sizes[0], sizes[1]
