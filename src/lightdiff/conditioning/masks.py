"""Random masks of the pixels that inpainting fills.

A kind of mask is a function (u (B, NUMBERS), size (H, W)) -> whether each pixel is to be filled, bool (B, H, W). All that is
random in it comes from u, uniform in [0, 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

NUMBERS = 16
"""How many uniform numbers a mask may use."""
SEGMENTS = 4
"""Straight parts of a stroke."""


def box(u: Tensor, size: tuple[int, int]) -> Tensor:
    """Return masks of one rectangle, whose sides are a quarter to three quarters of those of the image."""
    inside = torch.ones(len(u), *size, dtype=torch.bool, device=u.device)
    for dim, length in enumerate(size):
        side = (length * (0.25 + 0.5 * u[:, dim])).round().clamp(min=1)
        start = (u[:, 2 + dim] * (length - side + 1)).floor()
        position = torch.arange(length, device=u.device)
        within = (position >= start[:, None]) & (position < (start + side)[:, None])
        inside &= within[:, :, None] if dim == 0 else within[:, None, :]
    return inside


def half(u: Tensor, size: tuple[int, int]) -> Tensor:
    """Return masks of one half of the image: left, right, upper or lower."""
    height, width = size
    rows = torch.arange(height, device=u.device)[:, None].expand(size) < height / 2
    columns = torch.arange(width, device=u.device).expand(size) < width / 2
    halves = torch.stack([columns, ~columns, rows, ~rows])
    return halves[(u[:, 0] * 4).long().clamp(max=3)]


def stroke(u: Tensor, size: tuple[int, int]) -> Tensor:
    """Return masks of one stroke of a brush, of `SEGMENTS` straight parts, as wide as 5 to 15 % of the shorter side."""
    height, width = size
    sides = torch.tensor([height, width], device=u.device, dtype=torch.float32)
    # the corners of the stroke, anywhere in the image: (B, SEGMENTS + 1, 2)
    corners = u[:, 1 : 1 + 2 * (SEGMENTS + 1)].unflatten(1, (SEGMENTS + 1, 2)) * sides
    start, step = corners[:, :-1, None, None], (corners[:, 1:] - corners[:, :-1])[:, :, None, None]
    rows, columns = (torch.arange(length, device=u.device) + 0.5 for length in size)
    pixels = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)
    # the nearest point of each straight part to each pixel: (B, SEGMENTS, H, W, 2)
    along = ((pixels - start) * step).sum(-1) / step.square().sum(-1).clamp(min=1e-6)
    distance = (start + along.clamp(0, 1)[..., None] * step - pixels).square().sum(-1).sqrt().amin(1)
    brush = min(size) * (0.05 + 0.1 * u[:, 0]) / 2
    # half the diagonal of a pixel, so that no stroke is empty
    return distance <= brush.clamp(min=math.sqrt(0.5))[:, None, None]


MASKS: dict[str, Callable[[Tensor, tuple[int, int]], Tensor]] = {"box": box, "stroke": stroke, "half": half}
"""Name -> kind of mask."""
