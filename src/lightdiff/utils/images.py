"""Functions that round images, arrange them in grids, and write PNG, GIF and MP4 files.

Shapes: N images, C channels, H x W pixels, F frames. Floating-point images are in [-1, 1]. Images of 1 channel are shown in gray
and those of 3 in colour. Of any other number each channel is shown in gray, one beside the other.
"""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import torch
from torch import Tensor

from lightdiff.utils.files import replaced, write_picture

LARGEST = 1000
"""Largest number of rows or columns of a grid. Settings are checked against it, so that a picture does not fail when drawn."""


FASTEST_GIF = 50
"""Most frames a second in a GIF. Players show what is faster at their own, much lower speed."""

LONGEST_FRAME = 2**16 - 1
"""Hundredths of a second for which a GIF can show a frame."""


def to_uint8(images: Tensor) -> Tensor:
    """Return float images in [-1, 1] as uint8 in 0..255, rounded to the nearest level. Values outside are clamped."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_gray_or_rgb(images: Tensor) -> Tensor:
    """Return images (..., C, H, W) as they are if C is 1 or 3, else as (..., 1, H, C W), their channels side by side."""
    if images.shape[-3] in (1, 3):
        return images
    return images.transpose(-3, -2).flatten(-2, -1).unsqueeze(-3)


def beside(left: Tensor, right: Tensor) -> Tensor:
    """Return uint8 images (..., C, H, W1) and (..., C', H, W2) side by side, gray ones in colour where the others are.

    Dimensions in front of the channels are expanded to each other.
    """
    lead = torch.broadcast_shapes(left.shape[:-3], right.shape[:-3])
    return torch.cat([part.expand(*lead, *part.shape[-3:]) for part in _of_one_kind(left, right)], dim=-1)


def below(first: Tensor, others: Tensor) -> Tensor:
    """Return uint8 images (K, C, H, W) followed by others (N, C', H, W), gray ones in colour where the others are."""
    return torch.cat(_of_one_kind(first, others))


def _of_one_kind(*images: Tensor) -> list[Tensor]:
    """Return images (..., C, H, W), of which those of one channel get as many channels as the others have."""
    channels = max(part.shape[-3] for part in images)
    return [part.expand(*part.shape[:-3], channels, -1, -1) if part.shape[-3] == 1 else part for part in images]


def make_grid(images: Tensor, columns: int, padding: int = 1) -> Tensor:
    """Arrange uint8 images in a grid, row by row, on black. A single image stays as it is, without a border.

    Args:
        images: (..., N, C, H, W); those of other than 1 or 3 channels become as wide as `to_gray_or_rgb` makes them.
        columns: images in a row, at most N.
        padding: pixels p between images and at the edges; 0 for a single image.

    Returns:
        (..., 1 or 3, rows (H + p) + p, columns (W + p) + p).
    """
    images = to_gray_or_rgb(images)
    *lead, count, channels, height, width = images.shape
    if count == 1:
        padding = 0
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    cell = images.new_zeros((*lead, rows * columns, channels, height + padding, width + padding))
    cell[..., :count, :, padding:, padding:] = images
    grid = cell.unflatten(len(lead), (rows, columns)).movedim(len(lead) + 2, len(lead))  # (..., C, rows, columns, H, W)
    grid = grid.transpose(-3, -2).flatten(-4, -3).flatten(-2, -1)
    return torch.nn.functional.pad(grid, (0, padding, 0, padding))


def enlarge(images: Tensor, at_least: int = 256) -> Tensor:
    """Enlarge images (..., H, W) until the longer side has at least `at_least` pixels, by repeating each pixel.

    The factor is even. Images that are large enough are returned as they are.
    """
    longer = max(images.shape[-2:])
    if longer >= at_least:
        return images
    factor = 2 * -(-at_least // (2 * longer))
    return images.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def enlarge_to(images: Tensor, pixels: int) -> Tensor:
    """Enlarge images (..., C, H, W) until the longer side has exactly so many pixels, each of the nearest one's colour.

    Where `pixels` is no multiple of the side, some pixels become a row or a column larger than others.
    """
    height, width = images.shape[-2:]
    size = [round(side * pixels / max(height, width)) for side in (height, width)]
    flat = images.reshape(-1, 1, height, width)
    return torch.nn.functional.interpolate(flat, size, mode="nearest-exact").view(*images.shape[:-2], *size)


def save_png(path: Path, image: Tensor) -> None:
    """Write a uint8 image (C, H, W) as PNG, as `to_gray_or_rgb` shows it; see `write_picture`."""
    write_picture(path, encode_png(image))


def encode_png(image: Tensor) -> bytes:
    """Return a uint8 image (C, H, W) as PNG, as `to_gray_or_rgb` shows it."""
    return iio.imwrite("<bytes>", _channels_last(image), extension=".png")


def encode_gif(frames: Tensor, *, fps: float) -> bytes:
    """Return uint8 frames (F, C, H, W) as a GIF that repeats for ever, with `fps` frames a second on average.

    The format counts time in hundredths of a second, so that 30 frames a second are shown for 3, 3 and 4 of them in turn. Equal
    frames in a row are one frame, which lasts for eleven minutes at most.

    Args:
        frames: the frames.
        fps: 0.1 to `FASTEST_GIF`.
    """
    ends = [round(100 * number / fps) for number in range(len(frames) + 1)]
    shown: list[int] = []
    lasting: list[int] = []
    for number, (start, end) in enumerate(pairwise(ends)):
        if shown and torch.equal(frames[number], frames[shown[-1]]):
            lasting[-1] = min(lasting[-1] + end - start, LONGEST_FRAME)
        else:
            shown.append(number)
            lasting.append(end - start)
    durations = [10 * hundredths for hundredths in lasting]
    return iio.imwrite("<bytes>", _channels_last(frames[shown]), extension=".gif", duration=durations, loop=0)


def save_mp4(path: Path, frames: Tensor, *, fps: float) -> None:
    """Write uint8 frames (F, C, H, W) as an H.264 video with `fps` frames a second, as `write_picture` does.

    The format needs even sizes, so an odd height or width gets one more line of black pixels.

    Raises:
        OSError: the disk is full or broken. The error names `path`.
    """
    from imageio_ffmpeg import get_ffmpeg_exe

    path.parent.mkdir(exist_ok=True)
    frames = to_gray_or_rgb(frames)
    height, width = frames.shape[-2:]
    even = torch.nn.functional.pad(frames, (0, width % 2, 0, height % 2))
    rgb = even.expand(-1, 3, -1, -1) if even.shape[1] == 1 else even
    height, width = rgb.shape[-2:]
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {Fraction(fps).limit_denominator()} -i -"
    encoding = "-an -vcodec libx264 -pix_fmt yuv420p -crf 25"
    with replaced(path, durable=False) as temporary:
        # not by imageio, which does not ask how the encoder has ended
        done = subprocess.run(
            [get_ffmpeg_exe(), "-y", "-v", "error", *source.split(), *encoding.split(), str(temporary)],
            input=_channels_last(rgb).tobytes(),
            capture_output=True,
        )
        if done.returncode != 0:
            reason = " ".join(done.stderr.decode(errors="replace").split())[:200] or f"exit code {done.returncode}"
            raise OSError(errno.ENOSPC, f"the video could not be written whole ({reason})")


def hold_last(frames: Sequence[Tensor], count: int) -> Tensor:
    """Stack frames (C, H, W) and repeat the last one `count` times: (F + count, C, H, W)."""
    return torch.stack([*frames, *[frames[-1]] * count])


def _channels_last(images: Tensor) -> Any:
    """Return images as a numpy array for a file, (..., H, W, 3) or (..., H, W), as `to_gray_or_rgb` shows them."""
    images = to_gray_or_rgb(images).cpu().movedim(-3, -1)
    return (images[..., 0] if images.shape[-1] == 1 else images).contiguous().numpy()
