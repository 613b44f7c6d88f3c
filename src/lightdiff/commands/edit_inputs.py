"""Read the images and the mask that edit.py and restore.py are given, and bring them to the model's size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightdiff.config.instantiate import ConfigError
from lightdiff.data.errors import DataError
from lightdiff.data.image_file import read_image
from lightdiff.data.listing import list_images
from lightdiff.data.resize import Fit
from lightdiff.utils.files import user_path
from lightdiff.utils.text import shorten

HALF = 128
"""Level from which on a pixel of the mask is white."""


CONDITIONS = {"resize_mode": "crop", "max_pixels": 50_000_000}
"""How the files of condition images are read."""


def image_files(image: str | Sequence[str], key: str = "image") -> list[Path]:
    """Return the image files that `image` names: each may be a file or a folder, whose images come in the order of their names.

    `key` is the key of the configuration that has the names, for messages.

    Raises:
        ConfigError: one of them does not exist, or none is an image.
    """
    files: list[Path] = []
    for name in [image] if isinstance(image, str) else image:
        path = user_path(name)
        if not path.exists():
            raise ConfigError(f"{key}={name}: no such file or folder")
        with _naming(key, name):
            files += [path / inside for inside in list_images(path).images] if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"{key}={shorten(image)}: no images in it")
    return files


def read_conditions(condition: str | Sequence[str], shape: Sequence[int]) -> Tensor:
    """Read the condition images that `condition` names, as `image_files` does, and bring them to their shape (C, h, w).

    Returns:
        uint8 (K, C, h, w).

    Raises:
        ConfigError: a file does not exist or cannot be read, or files cannot have so many channels.
    """
    files = image_files(condition, "condition")
    if not 1 <= shape[0] <= 4:
        raise ConfigError(f"condition={files[0]}: files are read as 1 to 4 channels, and this condition has {shape[0]}")
    return torch.stack([_read("condition", file, shape[0], CONDITIONS, shape, None) for file in files])


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
    return torch.stack([_read("image", file, channels, config, shape, config["range"]) for file in files])


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
    mask = _read("mask", path, 1, config, shape, None)[None] >= HALF
    if not mask.any():
        raise ConfigError(f"mask={name}: nothing in it is white, so that there is nothing to fill")
    return mask


def _read(
    key: str,
    file: Path,
    channels: int,
    config: dict[str, Any],
    shape: Sequence[int],
    value_range: Sequence[float] | None,
) -> Tensor:
    fit = Fit((shape[1], shape[2]), config["resize_mode"])
    with _naming(key, file):
        return fit(read_image(file, channels, config["max_pixels"], value_range=value_range)[None])[0]


@contextmanager
def _naming(key: str, path: Path | str) -> Iterator[None]:
    """Turn an error about a file into one line that names the key."""
    try:
        yield
    except DataError as error:
        # the reader names the file, or its own key, and the key of a data set for the range
        text = str(error).replace("dataset.source.range", "range").removeprefix(f"data_dir={path}: ")
        raise ConfigError(f"{key}={text}" if text.startswith(str(path)) else f"{key}={path}: {text}") from error
    except ValueError as error:
        raise ConfigError(f"{key}={path}: {error}") from error
