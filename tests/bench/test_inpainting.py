"""The measure of the seam, and the seam itself with the shipped model on real digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inpainting import SAMPLERS, border_jump, fill, masks
from lightdiff import DiffSet, load_model
from typed_commands import ROOT


def test_the_jump_is_that_across_the_border_alone() -> None:
    mask = torch.zeros(4, 6)
    mask[1:3, 2:5] = 1
    # a border of 2 * 2 + 2 * 3 pairs of pixels; what differs within one side does not count
    images = torch.where(mask > 0, 0.75, torch.linspace(0, 0.5, 6).expand(4, 6))[None, None]
    beside = [0.75 - 0.1, 0.75 - 0.5] * 2
    above = [0.75 - 0.2, 0.75 - 0.3, 0.75 - 0.4] * 2
    assert border_jump(images, mask) == pytest.approx(sum(beside + above) / 10)
    assert border_jump(torch.full((2, 3, 4, 6), 0.3), mask) == 0


def test_the_regions_are_a_square_and_a_half() -> None:
    regions = masks(28, 28)
    assert [int(region.sum()) for region in regions.values()] == [14 * 14, 14 * 28]


@pytest.mark.slow
def test_with_resamples_the_seam_is_no_larger_than_in_real_digits(real_data: Path) -> None:
    model = load_model(ROOT / "models" / "mnist_fast")
    data = DiffSet("mnist", data_dir=str(real_data), channels=1, image_size=28)
    data.setup()
    images = next(iter(data.val_dataloader()))["image"][:60]
    mask = masks(28, 28)["square in the middle"]
    real = border_jump(images / 255, mask)
    once, five = (
        border_jump(fill(model, model.encode(images), mask, SAMPLERS["ddpm"], 20, resamples), mask)
        for resamples in (1, 5)
    )
    assert five < 1.05 * real < once
