"""Read the images and the mask that edit.py and restore.py are given, and bring them to the model's size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightdiff.config.instantiate import ConfigError
from lightdiff.data.given_images import read_given
from lightdiff.utils.files import user_path

HALF = 128
"""Level from which on a pixel of the mask is white."""


def read_images(files: Sequence[Path], config: dict[str, Any], shape: Sequence[int]) -> Tensor:
    """Read image files and bring them to the model's size.

    Args:
        files: the files.
        config: resize_mode, range, max_pixels.
        shape: (C, H, W) of the model.

    Returns:
        uint8 (K, C, H, W).

    Raises:
        ConfigError: a file cannot be read, or does not fit.
    """
    channels = shape[0]
    if channels not in (1, 3):
        raise ConfigError(f"image={files[0]}: files are read as 1 or 3 channels, and this model has {channels}")
    return torch.stack([read_given("image", file, channels, config, shape, config["range"]) for file in files])


def read_mask(name: str, config: dict[str, Any], shape: Sequence[int]) -> Tensor:
    """Read the mask, brought to the model's size as the images are.

    Returns:
        Whether each pixel is to be filled, bool (1, 1, H, W).

    Raises:
        ConfigError: the file cannot be read, does not fit, or has nothing that is white.
    """
    path = user_path(name)
    if not path.is_file():
        raise ConfigError(f"mask={name}: no such file")
    mask = read_given("mask", path, 1, config, shape)[None] >= HALF
    if not mask.any():
        raise ConfigError(f"mask={name}: nothing in it is white, so that there is nothing to fill")
    return mask
