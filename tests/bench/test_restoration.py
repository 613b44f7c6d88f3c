"""The measurement of restorations: its rows, and that the shipped model restores real digits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from lightdiff import DiffSet, load_model
from restoration import OPERATORS, rows
from typed_commands import ROOT


def test_a_method_has_a_row_beside_the_images_and_the_small_images() -> None:
    model = load_model(ROOT / "models" / "mnist_fast")
    images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 8:20, 12:16] = 255
    lines = list(rows(model, images, torch.ones(3, dtype=torch.int64), 2, "DiffPIR, renoise", False))
    names = [re.match(r"\| (.*?) \| [\d.]+ ± [\d.]+ \| [\d.]+ % \| [\d.]+ \| \d+ \|$", line) for line in lines[2:]]
    assert [found and found[1] for found in names] == [
        "the images themselves",
        "the pseudoinverse of the measurement",
        "DiffPIR, renoise",
    ]


@pytest.mark.parametrize("measured", list(OPERATORS))
def test_every_measurement_has_rows(measured: str) -> None:
    model = load_model(ROOT / "models" / "mnist_fast")
    images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    labels = torch.ones(2, dtype=torch.int64)
    assert len(list(rows(model, images, labels, 1, "PiGDM, renoise", False, measured))) == 5


@pytest.mark.slow
def test_real_digits_are_restored(real_data: Path) -> None:
    model = load_model(ROOT / "models" / "mnist_fast")
    data = DiffSet("mnist", data_dir=str(real_data), channels=1, image_size=28)
    data.setup()
    batch = next(iter(data.val_dataloader()))
    *_, small, line = rows(model, batch["image"][:50], batch["label"][:50], 50, "PiGDM, renoise", False)
    before, after = ([float(number) for number in re.findall(r"[\d.]+(?= ±| %)", text)] for text in (small, line))
    assert after[0] > before[0] + 3
    assert after[1] > 88 > 50 > before[1]
