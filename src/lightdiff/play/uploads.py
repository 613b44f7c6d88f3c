"""Read a picture that a visitor has put in. It may be anything: its format and size are checked before it is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from lightdiff.config.instantiate import ConfigError
from lightdiff.data.errors import DataError
from lightdiff.data.image_file import read_image
from lightdiff.data.resize import Fit
from lightdiff.utils.text import shorten

MOST_BYTES = 32 * 2**20
"""Larger files are refused while they arrive."""
MOST_PIXELS = 50_000_000
"""As `max_pixels` of edit.yaml."""


def read_picture(path: Path, shape: Sequence[int]) -> Tensor:
    """Read a picture and bring it to the size of the model: scaled until it covers that, then cut to its centre.

    The file is removed, because the page has no more use for it.

    Args:
        path: the file.
        shape: (C, H, W), as which the picture is read.

    Returns:
        uint8 (C, H, W).

    Raises:
        ConfigError: one line that says why the file is refused.
    """
    channels, *size = shape
    name = shorten(path.name)
    try:
        if not 1 <= channels <= 4:
            raise ConfigError(f"{name}: pictures are read as 1 to 4 channels, and this model has {channels}")
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{name}: a file of more than {MOST_BYTES // 2**20} MiB is refused")
        return Fit((size[0], size[1]), "crop")(read_image(path, channels, MOST_PIXELS, name=name)[None])[0]
    except (DataError, ValueError) as error:
        raise ConfigError(f"picture={' '.join(str(error).split())}") from error
    finally:
        path.unlink(missing_ok=True)
