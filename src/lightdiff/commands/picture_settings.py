"""The settings that sample.py, edit.py and restore.py share beside those of all commands that draw: the files and their look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lightdiff.config.command_settings import SamplingSettings, check_command
from lightdiff.config.settings import COUNT, Range, check_ranges
from lightdiff.utils.images import FASTEST_GIF, LARGEST

RANGES: dict[str, Range] = {
    "columns": COUNT,
    "frame_every": COUNT,
    "pixels": (lambda value: 1 <= value <= 4096, "1 to 4,096 is expected"),
    "stages": (lambda value: 1 <= value <= LARGEST, f"1 to {LARGEST} is expected"),
    "hold_frames": (lambda value: 0 <= value <= LARGEST, f"0 to {LARGEST} is expected"),
    "fps": (lambda value: 1 <= value < math.inf, "1 or more is expected"),
}
"""The numbers that describe the files."""


@dataclass(frozen=True)
class PictureSettings(SamplingSettings):
    """The keys that sample.yaml, edit.yaml and restore.yaml share, beside the groups.

    Raises:
        ConfigError: a number is out of its range.
        ValueError: a GIF is to be faster than players show it.
    """

    labels: int | str | Sequence[Any] | Mapping[str, Any] | None
    prompt: str | Sequence[str] | None
    condition: str | Sequence[str] | None
    save: Sequence[str]
    columns: int
    pixels: int | None
    stages: int
    frame_every: int
    hold_frames: int
    fps: float
    show: Literal["x_t", "x0_hat"]
    overwrite: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if "gif" in self.save and self.fps > FASTEST_GIF:
            raise ValueError(
                f"fps={self.fps:g}: at most {FASTEST_GIF} is expected for save=gif (players slow a faster GIF down); save=mp4 "
                "takes more"
            )
        check_ranges("", vars(self), RANGES)


def check_pictures(config: dict[str, Any], kind: type[PictureSettings]) -> None:
    """Check the configuration of a command as `check_command` does; `save=png` is short for `save=[png]`.

    Raises:
        ConfigError: one line with the key, the value, the choices.
    """
    if isinstance(config.get("save"), str):
        config["save"] = [config["save"]]
    check_command(config, kind)
