"""Pictures of what the network makes of noisy images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightdiff.callbacks import ShowPredictions
from runs import differences, tiny, train


def test_rows_are_input_corrupted_input_and_prediction(tmp_path: Path) -> None:
    folder = tmp_path / "version_0"
    train(tiny("callbacks=predictions", "conditioning=label"), folder)
    pictures = sorted((folder / "samples").glob("prediction_*.png"))
    assert [path.stem for path in pictures] == ["prediction_0000007", "prediction_0000014"]
    pixels = np.asarray(Image.open(pictures[-1])).astype(float)
    assert pixels.shape[1] / pixels.shape[0] == pytest.approx(8 / 3, rel=0.1)
    height = len(pixels) // 3
    first_row, second_row = pixels[:height], pixels[height : 2 * height]
    half = pixels.shape[1] // 2
    difference = np.abs(first_row - second_row)
    assert difference[:, :half].mean() < difference[:, half:].mean()  # more noise to the right


def test_training_is_not_disturbed(tmp_path: Path) -> None:
    with_pictures = train(tiny("callbacks=predictions"), tmp_path / "with" / "version_0")["state_dict"]
    without = train(tiny(), tmp_path / "without" / "version_0")["state_dict"]
    assert differences(without, with_pictures) == []


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="columns=0"):
        ShowPredictions(columns=0)
