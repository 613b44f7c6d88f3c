"""Images to files: rounding, grids, PNG, GIF, MP4.

Legend: N images, C channels (1 or 3), H x W pixels, F frames. Floating point images are in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import torch
from torch import Tensor

LARGEST = 1000
"""Rows or columns of a grid at most: a larger picture could not be looked at, and would fail only when it is drawn."""


def to_uint8(images: Tensor) -> Tensor:
    """[-1, 1] to 0..255, rounded once (not truncated), clamped; same shape."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def make_grid(images: Tensor, columns: int, padding: int = 1) -> Tensor:
    """uint8 images (..., N, C, H, W) side by side, row by row: (..., C, rows (H + p) + p, columns (W + p) + p) on black."""
    *lead, count, channels, height, width = images.shape
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    cell = images.new_zeros((*lead, rows * columns, channels, height + padding, width + padding))
    cell[..., :count, :, padding:, padding:] = images
    grid = cell.unflatten(len(lead), (rows, columns)).movedim(len(lead) + 2, len(lead))  # (..., C, rows, columns, H, W)
    grid = grid.transpose(-3, -2).flatten(-4, -3).flatten(-2, -1)
    return torch.nn.functional.pad(grid, (0, padding, 0, padding))


def enlarge(images: Tensor, at_least: int = 256) -> Tensor:
    """Repeat pixels by the even factor that brings the longer side to `at_least`; images that are large enough stay."""
    longer = max(images.shape[-2:])
    if longer >= at_least:
        return images
    factor = 2 * -(-at_least // (2 * longer))
    return images.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def save_png(path: Path, image: Tensor) -> None:
    """One uint8 image (C, H, W); one channel stays gray."""
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, _channels_last(image), extension=".png")


def encode_gif(frames: Tensor, *, fps: float) -> bytes:
    """An endless animation of uint8 frames (F, C, H, W)."""
    return iio.imwrite("<bytes>", _channels_last(frames), extension=".gif", duration=1000 / fps, loop=0)


def save_mp4(path: Path, frames: Tensor, *, fps: float) -> None:
    """An H.264 video of uint8 frames (F, C, H, W); odd sizes lose nothing: they are padded by a black line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames.shape[-2:]
    even = torch.nn.functional.pad(frames, (0, width % 2, 0, height % 2))
    rgb = even.expand(-1, 3, -1, -1) if even.shape[1] == 1 else even
    iio.imwrite(path, _channels_last(rgb), plugin="FFMPEG", fps=fps, codec="libx264", macro_block_size=2)


def hold_last(frames: Sequence[Tensor], count: int) -> Tensor:
    """Stack frames and show the last one `count` times more."""
    return torch.stack([*frames, *[frames[-1]] * count])


def _channels_last(images: Tensor) -> Any:
    images = images.cpu().movedim(-3, -1)
    return (images[..., 0] if images.shape[-1] == 1 else images).contiguous().numpy()
