"""Captions beside pictures: a word for each row and each column of a grid, in a white margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

SIZE = 14
"""Height of the letters in pixels."""

GAP = 6
"""Pixels between a caption and the picture, and between a caption and the edge."""


def captioned(picture: Tensor, rows: Sequence[str], columns: Sequence[str], corner: str = "") -> Tensor:
    """Return the picture with captions on its left and above it; its own pixels stay as they are.

    Args:
        picture: uint8 (C, H, W), of rows of the same height and columns of the same width.
        rows: a caption for each row, from top to bottom.
        columns: a caption for each column, from left to right.
        corner: what the captions of the columns are, written at the left of them.

    Returns:
        uint8 (C, GAP + SIZE + GAP + H, margin + W), where the margin is as wide as the longest caption of a row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = picture.shape[-2:]
    figure = Figure(dpi=72)  # at which a point is a pixel
    canvas: Any = FigureCanvasAgg(figure)
    top = GAP + SIZE + GAP
    in_margin = [figure.text(0, 0, text, size=SIZE, ha="right", va="center") for text in (corner, *rows)]
    left = GAP + round(max(text.get_window_extent(canvas.get_renderer()).width for text in in_margin)) + GAP
    figure.set_size_inches((left + width) / 72, (top + height) / 72)
    heights = [top / 2, *(top + (i + 0.5) * height / len(rows) for i in range(len(rows)))]
    for text, y in zip(in_margin, heights, strict=True):
        text.set_position(((left - GAP) / (left + width), 1 - y / (top + height)))
    for i, caption in enumerate(columns):
        x = left + (i + 0.5) * width / len(columns)
        figure.text(x / (left + width), 1 - top / 2 / (top + height), caption, size=SIZE, ha="center", va="center")
    canvas.draw()
    rgba = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    drawn = rgba.view(top + height, left + width, 4)[..., : len(picture)].movedim(-1, 0).clone()
    drawn[:, top:, left:] = picture
    return drawn
