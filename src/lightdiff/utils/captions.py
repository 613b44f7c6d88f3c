"""Captions of pictures: a word for each row and column of a grid in a white margin, or one above each image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from lightdiff.utils.images import enlarge, make_grid, to_gray_or_rgb
from lightdiff.utils.text import printable

SIZE, LEAST_SIZE = 14, 8
"""Height of the letters in pixels, and the least to which they shrink where a caption is wider than its place."""

GAP = 6
"""Pixels between a caption and the picture, and between a caption and the edge."""

TOP = GAP + SIZE + GAP
"""Height of a line of captions in pixels."""

CAPTIONED = 480
"""Least width in pixels of a picture with captions above its columns, so that they have room."""

WIDEST_CELL = 160
"""Pixels to which a small image grows, at most, so that the caption above it has room."""


WIDEST_MARGIN = 320
"""Pixels of the margin beside a picture, at most. Longer captions of rows are written smaller or cut off."""


def widened(picture: Tensor) -> Tensor:
    """Enlarge a picture (..., H, W) until it is wide enough for captions above its columns; see `enlarge`."""
    height, width = picture.shape[-2:]
    return enlarge(picture, CAPTIONED * max(height, width) // width)


def captioned(picture: Tensor, rows: Sequence[str], columns: Sequence[str], corner: str = "") -> Tensor:
    """Return the picture with captions on its left and above it; its own pixels stay as they are.

    Args:
        picture: uint8 (C, H, W), of rows of the same height and columns of the same width.
        rows: a caption for each row, from top to bottom. None: there is no margin beside the picture, except for the corner's.
        columns: a caption for each column, from left to right.
        corner: what the captions of the columns are, written at the left of them.

    Returns:
        uint8 (C, TOP + H, margin + W), where the margin is as wide as the longest caption of a row.
    """
    height, width = picture.shape[-2:]
    widest = max((GAP + round(_width(text, SIZE)) + GAP for text in (corner, *rows) if text), default=0)
    left = min(widest, WIDEST_MARGIN)
    framed = pad(picture, (left, 0, TOP, 0), value=255)
    if left:
        framed[:, :TOP, :left] = _line(corner, left, "right")
    for i, text in enumerate(rows):
        top, bottom = TOP + i * height // len(rows), TOP + (i + 1) * height // len(rows)
        spare = max(0, TOP - (bottom - top))
        line = _line(text, left, "right")[spare // 2 : TOP - (spare + 1) // 2]
        top += (bottom - top - len(line)) // 2
        framed[:, top : top + len(line), :left] = line
    for i, text in enumerate(columns):
        start, end = left + i * width // len(columns), left + (i + 1) * width // len(columns)
        framed[:, :TOP, start:end] = _line(text, end - start, "center")
    return framed


def labelled(images: Tensor, captions: Sequence[str], columns: int, at_least: int = 64) -> Tensor:
    """Arrange images in a grid on white, row by row, each below its caption.

    Args:
        images: uint8 (N, C, H, W), shown as by `to_gray_or_rgb` and enlarged to at least `at_least` pixels, and further where a
            caption is wider.
        captions: a text for each image. One that has no room even in small letters is cut off.
        columns: images in a row.
        at_least: pixels of the longer side of an image.

    Returns:
        uint8 (1 or 3, height, width).
    """
    images = to_gray_or_rgb(images)
    widest = round(max(_width(caption, LEAST_SIZE) for caption in captions))
    cells = pad(enlarge(images, max(at_least, min(widest, WIDEST_CELL))), (0, 0, TOP, GAP), value=255)
    for cell, caption in zip(cells, captions, strict=True):
        cell[:, :TOP] = _line(caption, cells.shape[-1], "center")
    # the lines between images are white
    return 255 - make_grid(255 - cells, columns, padding=GAP)


@lru_cache(maxsize=1000)
def _line(text: str, width: int, align: str) -> Tensor:
    """Return a line of text, uint8 (TOP, width), in letters of `SIZE` or, where it has no room, in smaller ones, or cut off."""
    size = SIZE
    room = width - (2 * GAP if align == "right" else 2)
    if not text or room < 1:
        return torch.full((TOP, width), 255, dtype=torch.uint8)
    if (wide := _width(text, SIZE)) > room:
        size = max(LEAST_SIZE, int(SIZE * room / wide))
        if (wide := _width(text, size)) > room:
            text = f"{text[: max(0, int(len(text) * room / wide) - 1)]}…"
    figure, canvas = _canvas()
    figure.set_size_inches(width / 72, TOP / 72)
    _write(figure, (width - GAP) / width if align == "right" else 0.5, text, size, align)
    with _silent():
        canvas.draw()
    rgba = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    return rgba.view(TOP, width, 4)[..., 0].clone()


@lru_cache(maxsize=1000)
def _width(text: str, size: int) -> float:
    """Return the width in pixels of a text in letters of this size."""
    figure, canvas = _canvas()
    with _silent():
        return float(_write(figure, 0, text, size, "left").get_window_extent(canvas.get_renderer()).width)


def _canvas() -> tuple[Any, Any]:
    """Return a white figure, in which a point is a pixel, and the canvas that draws it."""
    # matplotlib takes a while to import, and most commands write no captions
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(dpi=72)
    return figure, FigureCanvasAgg(figure)


def _write(figure: Any, x: float, text: str, size: int, align: str) -> Any:
    # names of classes come from folders and may hold anything
    return figure.text(x, 0.5, printable(text), size=size, ha=align, va="center", parse_math=False)


@contextmanager
def _silent() -> Iterator[None]:
    """Suppress the warnings about letters that the font does not have. They are drawn as boxes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
