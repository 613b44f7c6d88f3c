"""The stages that pictures of the process show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightdiff.commands.pictures import Drawn, guidance, history, single_images, stages, steps, strip
from lightdiff.utils.captions import TOP


@pytest.mark.parametrize("frames", range(1, 40))
@pytest.mark.parametrize("count", [1, 2, 7, 10])
def test_each_stage_is_shown_once(frames: int, count: int) -> None:
    shown = stages(frames, count)
    assert len(shown) == len(set(shown)) == min(frames, count)
    assert shown == sorted(shown) and shown[0] == 0
    assert count == 1 or shown[-1] == frames - 1


@pytest.fixture
def drawn() -> Drawn:
    """Three images in four frames, and two of them at three guidance scales."""
    frames = torch.randint(0, 256, (4, 3, 1, 16, 16), dtype=torch.uint8)
    return Drawn(frames[-1], frames, frames.flip(0), frames[:3, :2].flatten(0, 1), times=(1.0, 0.5, 0.25, 0.0))


def without_captions(path: Path, rows: int, columns: int) -> np.ndarray:
    """A picture of rows and columns of 16x16 images at its own size, without what is written above and on the left."""
    pixels = np.asarray(Image.open(path))
    factor = (len(pixels) - TOP) // (17 * rows + 1)
    assert len(pixels) - TOP == factor * (17 * rows + 1)  # every pixel of a sample is a square of the same size
    assert (pixels[:TOP] < 128).any() and (pixels[TOP:, : -factor * (17 * columns + 1)] < 128).any()
    return pixels[TOP::factor, pixels.shape[1] - factor * (17 * columns + 1) :: factor]


def test_the_strip_repeats_no_stage(drawn: Drawn, tmp_path: Path) -> None:
    strip(drawn, tmp_path, {"stages": 10, "show": "x_t"})
    pixels = without_captions(tmp_path / "strip.png", rows=3, columns=4)
    for stage in range(4):
        assert np.array_equal(pixels[18:34, 17 * stage + 1 : 17 * (stage + 1)], drawn.x_t[stage, 1, 0])


def test_the_history_has_the_input_and_the_guess_of_each_stage(drawn: Drawn, tmp_path: Path) -> None:
    history(drawn, tmp_path, {"stages": 10, "columns": 2, "frame_every": 5})
    pixels = without_captions(tmp_path / "history.png", rows=3, columns=2)
    for stage in range(3):
        assert np.array_equal(pixels[1 + 17 * stage : 17 * (stage + 1), -17:-1], drawn.x0_hat[stage, 1, 0])


def test_the_guidance_scales_go_from_left_to_right(drawn: Drawn, tmp_path: Path) -> None:
    guidance(drawn, tmp_path, {"guidance_scales": [0, 2.5, 100]})
    pixels = without_captions(tmp_path / "guidance.png", rows=2, columns=3)
    for image in range(2):
        for scale in range(3):
            tile = pixels[1 + 17 * image : 17 * (image + 1), 1 + 17 * scale : 17 * (scale + 1)]
            assert np.array_equal(tile, drawn.by_guidance[2 * scale + image, 0])


def test_rows_are_called_by_their_class_or_number() -> None:
    nothing = torch.empty(0)
    by_class = Drawn(nothing, nothing, nothing, nothing, torch.tensor([1, 0, 1]), ("cat", "dog"))
    assert by_class.names(2) == ["dog", "cat"]
    assert Drawn(nothing, nothing, nothing, nothing).names(2) == ["0", "1"]


@pytest.mark.parametrize("pixels", [64, 50])
def test_every_image_has_exactly_the_enlargement_asked_for(pixels: int, drawn: Drawn, tmp_path: Path) -> None:
    single = Drawn(drawn.images[:1], drawn.x_t[:, :1], drawn.x0_hat[:, :1], drawn.by_guidance)
    config = {"pixels": pixels, "columns": 8, "show": "x_t", "seed": 2}
    single_images(single, tmp_path, config)
    steps(single, tmp_path, config)
    names = [f"seed2_{i:05d}.png" for i in range(4)]
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == names
    for path in (tmp_path / "images" / "00000.png", tmp_path / "steps" / names[-1]):
        picture = np.asarray(Image.open(path))
        assert picture.shape == (pixels, pixels)
        # nearest pixels: the middle of each is in the middle of its square
        middles = ((np.arange(16) + 0.5) * pixels / 16).astype(int)
        assert np.array_equal(picture[np.ix_(middles, middles)], drawn.images[0, 0])


def test_a_single_image_has_no_border(drawn: Drawn, tmp_path: Path) -> None:
    single = Drawn(drawn.images[:1], drawn.x_t[:, :1], drawn.x0_hat[:, :1], drawn.by_guidance)
    steps(single, tmp_path, {"pixels": None, "columns": 8, "show": "x_t", "seed": 0})
    picture = np.asarray(Image.open(tmp_path / "steps" / "seed0_00003.png"))
    assert np.array_equal(picture, drawn.images[0, 0].numpy().repeat(16, 0).repeat(16, 1))
