"""Rounding of images, their layout in grids, and image files."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
import torch

from lightdiff.utils.images import (
    encode_gif,
    enlarge,
    hold_last,
    make_grid,
    save_mp4,
    save_png,
    to_gray_or_rgb,
    to_uint8,
)


def test_every_gray_level_survives_the_way_to_unit_range_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(levels.float() / 127.5 - 1), levels)


def test_rounding_is_to_the_nearest_level_and_values_outside_are_clamped() -> None:
    values = torch.tensor([-5.0, -1.0, 0.6 / 127.5 - 1, 0.4 / 127.5 - 1, 1.0, 1.01])
    assert to_uint8(values).tolist() == [0, 0, 1, 0, 255, 255]


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_puts_image_i_in_row_and_column(channels: int) -> None:
    images = torch.randint(0, 256, (7, channels, 4, 5), dtype=torch.uint8)
    grid = make_grid(images, columns=3, padding=1)
    assert grid.shape == (channels, 3 * 5 + 1, 3 * 6 + 1)
    for i, image in enumerate(images):
        top, left = 1 + i // 3 * 5, 1 + i % 3 * 6
        assert torch.equal(grid[:, top : top + 4, left : left + 5], image)
    # cells without an image are black
    assert grid[:, -5:, 7:].sum() == 0


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_other_channels_are_shown_side_by_side_in_gray(channels: int, tmp_path: Path) -> None:
    images = torch.randint(0, 256, (3, channels, 4, 5), dtype=torch.uint8)
    grid = make_grid(images, columns=2)
    assert grid.shape == (1, 2 * 5 + 1, 2 * (5 * channels + 1) + 1)
    for channel in range(channels):
        left = 1 + 5 * channels + 1 + 5 * channel
        assert torch.equal(grid[0, 1:5, left : left + 5], images[1, channel])
    save_png(tmp_path / "a.png", images[0])
    assert np.array_equal(iio.imread(tmp_path / "a.png"), torch.cat([*images[0]], dim=-1).numpy())
    frames = iio.imread(encode_gif(images, fps=5), extension=".gif", index=None)
    assert frames.shape[:3] == (3, 4, 5 * channels)
    save_mp4(tmp_path / "film.mp4", images, fps=5)
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "film.mp4"))[0] == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_and_colour_are_shown_as_they_are(channels: int) -> None:
    images = torch.randint(0, 256, (2, channels, 4, 5), dtype=torch.uint8)
    assert to_gray_or_rgb(images) is images


def test_grids_of_frames_are_grids_of_each_frame() -> None:
    frames = torch.randint(0, 256, (4, 6, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(make_grid(frames, 3), torch.stack([make_grid(frame, 3) for frame in frames]))


def test_enlarge_repeats_pixels_by_an_even_factor() -> None:
    image = torch.randint(0, 256, (1, 30, 20), dtype=torch.uint8)
    large = enlarge(image, 100)
    assert large.shape == (1, 120, 80)
    assert torch.equal(large[:, ::4, ::4], image)
    assert enlarge(large, 100) is large


def test_png_keeps_pixels_and_gray_stays_gray(tmp_path: Path) -> None:
    gray, color = (
        torch.randint(0, 256, (1, 9, 7), dtype=torch.uint8),
        torch.randint(0, 256, (3, 9, 7), dtype=torch.uint8),
    )
    save_png(tmp_path / "new" / "gray.png", gray)
    save_png(tmp_path / "color.png", color)
    assert np.array_equal(iio.imread(tmp_path / "new" / "gray.png"), gray[0].numpy())
    assert np.array_equal(iio.imread(tmp_path / "color.png"), color.movedim(0, -1).numpy())


@pytest.mark.parametrize("channels", [1, 3])
def test_gif_has_every_frame_its_duration_and_no_color_in_gray(channels: int) -> None:
    frames = torch.stack([torch.full((channels, 16, 16), 25 * i, dtype=torch.uint8) for i in range(5)])
    gif = encode_gif(hold_last(list(frames), 3), fps=5)
    read = iio.imread(gif, extension=".gif", index=None)
    durations = [iio.immeta(gif, extension=".gif", index=i)["duration"] for i in range(len(read))]
    # equal frames may be stored as one that lasts longer
    assert sum(durations) == pytest.approx(8 * 200)
    assert [int(frame.mean()) for frame in read[:5]] == pytest.approx([0, 25, 50, 75, 100], abs=2)
    assert np.ptp(read.reshape(*read.shape[:3], -1).astype(int), axis=-1).max() == 0


@pytest.mark.parametrize("fps", [0.1, 1, 7, 12, 24, 25, 30, 48, 50])
def test_a_gif_lasts_as_long_as_its_speed_says(fps: float) -> None:
    frames = torch.arange(40, dtype=torch.uint8).reshape(40, 1, 1, 1).expand(-1, 1, 16, 16)
    durations = gif_durations(encode_gif(frames, fps=fps))
    assert len(durations) == 40
    assert sum(durations) == pytest.approx(40_000 / fps, abs=5)
    assert max(durations) - min(durations) <= 10 and min(durations) >= 20


def test_a_gif_holds_a_frame_as_long_as_the_format_allows() -> None:
    frames = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    frames[1] = 255
    assert gif_durations(encode_gif(hold_last(list(frames), 1000), fps=1)) == [1000, 655_350]


def gif_durations(gif: bytes) -> list[int]:
    """Milliseconds of each frame."""
    count = len(iio.imread(gif, extension=".gif", index=None))
    return [iio.immeta(gif, extension=".gif", index=i)["duration"] for i in range(count)]


@pytest.mark.parametrize("shape", [(1, 63, 41), (3, 64, 64)])
def test_mp4_has_every_frame(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    frames = torch.randint(0, 256, (6, *shape), dtype=torch.uint8)
    save_mp4(tmp_path / "film.mp4", frames, fps=5)
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "film.mp4"))[0] == 6
