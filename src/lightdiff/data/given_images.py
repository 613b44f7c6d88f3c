"""Image files that a user names to a trained model: images to edit or to restore, and condition images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

CONDITIONS: Mapping[str, Any] = {"resize_mode": "crop", "max_pixels": 50_000_000}
"""How the files of condition images are read."""


def image_files(image: str | Path | Sequence[str | Path], key: str = "image") -> list[Path]:
    """Return the image files that `image` names: each may be a file or a folder, whose images come in the order of their names.

    `key` is the key of the configuration that has the names, for messages.

    Raises:
        ConfigError: one of them does not exist, or none is an image.
    """
    files: list[Path] = []
    for name in [image] if isinstance(image, str | Path) else image:
        path = user_path(name)
        if not path.exists():
            raise ConfigError(f"{key}={name}: no such file or folder")
        with _naming(key, name):
            files += [path / inside for inside in list_images(path).images] if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"{key}={shorten(image)}: no images in it")
    return files


def read_conditions(condition: str | Path | Sequence[str | Path], shape: Sequence[int]) -> Tensor:
    """Read the condition images that `condition` names, as `image_files` does, and bring them to their shape (C, h, w).

    Returns:
        uint8 (K, C, h, w).

    Raises:
        ConfigError: a file does not exist or cannot be read, or files cannot have so many channels.
    """
    files = image_files(condition, "condition")
    if not 1 <= shape[0] <= 4:
        raise ConfigError(f"condition={files[0]}: files are read as 1 to 4 channels, and this condition has {shape[0]}")
    return torch.stack([read_given("condition", file, shape[0], CONDITIONS, shape) for file in files])


def read_given(
    key: str,
    file: Path,
    channels: int,
    config: Mapping[str, Any],
    shape: Sequence[int],
    value_range: Sequence[float] | None = None,
) -> Tensor:
    """Read an image file and bring it to size, uint8 (channels, H, W).

    Args:
        key: the key of the configuration that has the name, for messages.
        file: the file.
        channels: how many channels to read it with, 1 to 4.
        config: resize_mode, max_pixels.
        shape: (C, H, W), of which height and width count.
        value_range: the numbers that are black and white, or None for the range of their type.

    Raises:
        ConfigError: the file cannot be read, or does not fit.
    """
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
