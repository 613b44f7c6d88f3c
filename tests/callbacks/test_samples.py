"""The pictures drawn while training."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightdiff.callbacks import SampleImages
from lightdiff.config.instantiate import ConfigError
from lightdiff.jobs.trainer import build_callbacks
from lightdiff.samplers import DDIM, DDPM, Heun
from lightdiff.utils.ranks import rank_rows
from runs import composed, tiny, train


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


@pytest.mark.parametrize(
    ("settings", "drawn"),
    [
        ([], (DDIM, 30)),
        (["callbacks.samples.fast_steps=20"], (DDIM, 20)),
        (["callbacks.samples.fast_steps=null"], (DDPM, 1000)),
        (["sampler.num_steps=1000"], (DDPM, 1000)),
        (["sampler.num_steps=10"], (DDPM, 10)),
        (["schedule.betas.T=25"], (DDPM, 25)),
        (["sampler=heun"], (Heun, 25)),
        (["schedule=flow", "objective=flow"], (DDIM, 30)),
        (["experiment=ddpm_unet"], (DDPM, 1000)),
        (["experiment=cars"], (DDIM, 30)),
        (["experiment=mnist_fast"], (DDPM, 20)),
        (["experiment=toy"], (DDIM, 40)),
        (["experiment=text_to_digit"], (DDPM, 50)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_only_every_timestep_is_replaced_by_fast_steps(settings: list[str], drawn: tuple[type, int]) -> None:
    config = composed(*settings)
    (callback,) = (found for found in build_callbacks(config) if isinstance(found, SampleImages))
    timesteps = config["schedule"].get("betas", {}).get("T", 1000)
    sampler, num_steps = callback._drawing(timesteps)
    assert (type(sampler), num_steps) == drawn


def test_fast_steps_keep_the_rest_of_the_sampler() -> None:
    settings = ("sampler.clip_denoised=false", "sampler.dynamic_threshold=0.9", "sampler/grid=uniform")
    (callback,) = (found for found in build_callbacks(composed(*settings)) if isinstance(found, SampleImages))
    sampler, _ = callback._drawing(1000)
    assert (sampler.clip_denoised, sampler.dynamic_threshold, type(sampler.grid).__name__) == (
        False,
        0.9,
        "UniformGrid",
    )


@pytest.mark.parametrize(("num_steps", "frames"), [("null", 6), (6, 6), (70, 24)])
def test_a_gif_has_at_most_30_frames_before_the_result(num_steps: object, frames: int, tmp_path: Path) -> None:
    settings = ["sampler=ddpm", f"sampler.num_steps={num_steps}", "callbacks.samples.fast_steps=6"]
    train(tiny(*settings, "trainer.max_epochs=1", "trainer.limit_train_batches=3"), tmp_path)
    assert len(pictures(tmp_path)[1]) == frames + 1


@pytest.mark.parametrize("setting", ["fast_steps", "frame_every"])
def test_impossible_numbers_are_refused_by_name(setting: str) -> None:
    with pytest.raises(ConfigError, match=f"callbacks.samples.{setting}=0: 1 or more is expected"):
        build_callbacks(tiny(f"callbacks.samples.{setting}=0"))


@pytest.mark.parametrize(("count", "world_size"), [(9, 1), (9, 2), (3, 8), (64, 5)])
def test_ranks_draw_every_image_once(count: int, world_size: int) -> None:
    rows = [row for rank in range(world_size) for row in rank_rows(count, rank, world_size)]
    assert rows == list(range(count))


@pytest.mark.parametrize(("columns", "moving"), [(5, 16), (3, 12)])
def test_tensorboard_gets_at_most_16_moving_images(columns: int, moving: int, tmp_path: Path) -> None:
    size = ["callbacks.samples.rows=4", f"callbacks.samples.columns={columns}", "callbacks.samples.frame_every=1"]
    train(tiny(*size, "trainer.max_epochs=1", "trainer.limit_train_batches=3", "trainer.limit_val_batches=1"), tmp_path)
    events = EventAccumulator(str(tmp_path)).Reload()
    with Image.open(io.BytesIO(events.Images("samples/denoising")[-1].encoded_image_string)) as gif:
        shown = np.asarray(gif.convert("L"))[:: gif.height // 69, :: gif.height // 69]
    _, frames, _ = pictures(tmp_path)
    with Image.open(io.BytesIO(events.Images("samples/grid")[-1].encoded_image_string)) as grid:
        whole = np.asarray(grid.convert("L"))
    # 16x16 images with a line between them
    assert whole.shape == (69, 17 * columns + 1)
    assert shown.shape == (69, 17 * (moving // 4) + 1)
    assert frames[0].shape[1] / frames[0].shape[0] == pytest.approx(whole.shape[1] / 69)
    # row by row, the first images are the same as in the file
    factor = frames[0].shape[0] // 69
    assert np.array_equal(
        shown[:17, : min(moving // 4, columns) * 17], frames[0][::factor, ::factor, 0][:17, : moving // 4 * 17]
    )


@pytest.mark.parametrize("fps", ["0", "60"])
def test_a_speed_that_no_gif_has_is_refused_by_name(fps: str) -> None:
    with pytest.raises(ConfigError, match=rf"callbacks\.samples\.fps={fps}\S*: 0.1 to 50 is expected \(players slow"):
        build_callbacks(tiny(f"callbacks.samples.fps={fps}"))
