"""The stages that pictures of the process show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightdiff.tasks.pictures import Drawn, guidance, history, stages, strip
from lightdiff.utils.captions import GAP, SIZE

TOP = GAP + SIZE + GAP


@pytest.mark.parametrize("frames", range(1, 40))
@pytest.mark.parametrize("count", [1, 2, 7, 10])
def test_each_stage_is_shown_once(frames: int, count: int) -> None:
    shown = stages(frames, count)
    assert len(shown) == len(set(shown)) == min(frames, count)
    assert shown == sorted(shown) and shown[0] == 0
    assert count == 1 or shown[-1] == frames - 1


@pytest.fixture
def drawn() -> Drawn:
    frames = torch.randint(0, 256, (4, 3, 1, 16, 16), dtype=torch.uint8)
    return Drawn(frames[-1], frames, frames.flip(0), frames[:2, :2].flatten(0, 1))


def test_the_strip_repeats_no_stage(drawn: Drawn, tmp_path: Path) -> None:
    strip(drawn, tmp_path, {"stages": 10, "show": "x_t"})
    pixels = np.asarray(Image.open(tmp_path / "strip.png"))
    factor = len(pixels) // (17 * 3 + 1)
    second_row = pixels[::factor, ::factor][18:34]
    assert second_row.shape[1] == 17 * 4 + 1
    for stage in range(4):
        assert np.array_equal(second_row[:, 17 * stage + 1 : 17 * (stage + 1)], drawn.x_t[stage, 1, 0])


def test_captions_leave_the_samples_alone(drawn: Drawn, tmp_path: Path) -> None:
    history(drawn, tmp_path, {"stages": 10, "columns": 2, "frame_every": 5})
    guidance(drawn, tmp_path, {"guidance_scales": [0, 2.5]})
    for name, rows, expected in (
        ("history", 3, drawn.x0_hat[:3, 1, 0]),
        ("guidance", 2, drawn.by_guidance[1::2, 0]),
    ):
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png"))
        factor = (len(pixels) - TOP) // (17 * rows + 1)
        assert len(pixels) - TOP == factor * (17 * rows + 1)  # every pixel of a sample is a square of the same size
        assert (pixels[:TOP] < 128).any()
        for row in range(rows):
            top = TOP + factor * (17 * row + 1)
            last = pixels[top : top + 16 * factor, -17 * factor : -factor]
            assert np.array_equal(last, expected[row].numpy().repeat(factor, 0).repeat(factor, 1))
