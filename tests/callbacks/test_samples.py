"""The pictures drawn while training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from lightdiff.utils.ranks import rank_rows
from runs import tiny, train


def pictures(folder: Path) -> tuple[np.ndarray, list[np.ndarray], list[int]]:
    """The last grid, the frames of the last GIF and their durations in milliseconds."""
    grid = np.asarray(Image.open(sorted((folder / "samples").glob("*.png"))[-1]))
    with Image.open(sorted((folder / "samples").glob("*.gif"))[-1]) as gif:
        frames = [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(gif)]
    return grid, [frame for frame, _ in frames], [duration for _, duration in frames]


def test_colour_images_stay_coloured(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(40):
        Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "images" / f"{i}.png")
    overrides = [
        "dataset=folder",
        f"dataset.data_dir={tmp_path / 'images'}",
        "dataset.image_size=8",
        "dataset.num_workers=0",
        "trainer.log_every_n_steps=1",
    ]
    folder = tmp_path / "version_0"
    train(tiny(*overrides, "dataset.batch_size=16", "trainer.max_epochs=1"), folder)
    grid, frames, _ = pictures(folder)
    assert grid.ndim == 3
    assert (grid[..., 0] != grid[..., 1]).any()
    assert (frames[0][..., 0] != frames[0][..., 2]).any()


def test_gif_of_the_tutorial(tmp_path: Path) -> None:
    """3x3, a frame each 50 steps, 10 held frames, 5 a second: at T = 200 that is 4 frames, the result, and 2 s of it."""
    folder = tmp_path / "version_0"
    settings = [
        "sampler=ddpm",
        "schedule.betas.T=200",
        "sampler.num_steps=200",
        "trainer.max_epochs=1",
        "callbacks.samples.frame_every=50",
    ]
    train(tiny(*settings), folder)
    grid, frames, durations = pictures(folder)
    assert grid.shape[0] == grid.shape[1]
    assert len(frames) == 5  # equal frames are one that is shown longer
    assert durations == [200] * 4 + [200 * 11]
    assert np.array_equal(frames[-1][..., 0], grid)
    noisy, clean = (np.abs(np.diff(frame[..., 0].astype(int))).mean() for frame in (frames[0], frames[-1]))
    assert noisy > 0
    assert clean > 0


def test_x0_hat_can_be_shown_and_pictures_can_be_rare(tmp_path: Path) -> None:
    shown = {}
    for show in ("x_t", "x0_hat"):
        folder = tmp_path / show / "version_0"
        settings = [
            f"callbacks.samples.show={show}",
            "callbacks.samples.frame_every=1",
            "callbacks.samples.every_n_epochs=5",
        ]
        train(tiny(*settings), folder)
        assert len(list((folder / "samples").glob("step_*.png"))) == 1  # at the end
        shown[show] = pictures(folder)
    assert np.array_equal(shown["x_t"][0], shown["x0_hat"][0])
    assert not np.array_equal(shown["x_t"][1][0], shown["x0_hat"][1][0])


def test_pictures_do_not_disturb_training(tmp_path: Path) -> None:
    with_pictures = train(tiny(), tmp_path / "with" / "version_0")["state_dict"]
    without = train(tiny("callbacks=no_samples"), tmp_path / "without" / "version_0")["state_dict"]
    for name, value in without.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, with_pictures[name]), name


@pytest.mark.parametrize(("count", "world_size"), [(9, 1), (9, 2), (3, 8), (64, 5)])
def test_ranks_draw_every_image_once(count: int, world_size: int) -> None:
    rows = [row for rank in range(world_size) for row in rank_rows(count, rank, world_size)]
    assert rows == list(range(count))
