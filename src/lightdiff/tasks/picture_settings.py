"""Check the keys of the commands that draw pictures: sample.yaml and edit.yaml."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lightdiff.data.resize import ResizeMode
from lightdiff.tasks.settings import COUNT, Auto, Range, check_groups, check_ranges
from lightdiff.utils.config import call
from lightdiff.utils.images import FASTEST_GIF, LARGEST

Files = Literal["grid", "png", "npz", "gif", "mp4", "strip", "steps", "history", "guidance"]
EditFiles = Literal["grid", "input", "png", "npz", "gif", "mp4", "strip", "steps", "history"]


@dataclass(frozen=True)
class PictureSettings:
    """The keys that sample.yaml and edit.yaml share, beside the groups."""

    ckpt_path: str
    num_samples: int | None
    batch_size: int | None
    seed: int
    weights: Literal["ema", "raw"]
    guidance_scale: float | None
    labels: int | str | Sequence[int | str] | None
    prompt: str | Sequence[str] | None
    precision: str
    compile: Auto
    channels_last: Auto
    device: str
    save: Sequence[str]
    columns: int
    pixels: int | None
    stages: int
    frame_every: int
    hold_frames: int
    fps: float
    show: Literal["x_t", "x0_hat"]
    progress: bool
    out: str | None
    overwrite: bool

    def __post_init__(self) -> None:
        ranges: dict[str, Range] = dict.fromkeys(("num_samples", "batch_size", "columns", "frame_every"), COUNT)
        ranges["pixels"] = (lambda value: 1 <= value <= 4096, "1 to 4,096 is expected")
        ranges["stages"] = (lambda value: 1 <= value <= LARGEST, f"1 to {LARGEST} is expected")
        ranges["hold_frames"] = (lambda value: 0 <= value <= LARGEST, f"0 to {LARGEST} is expected")
        ranges["fps"] = (lambda value: 1 <= value < math.inf, "1 or more is expected")
        if "gif" in self.save and self.fps > FASTEST_GIF:
            raise ValueError(
                f"fps={self.fps:g}: at most {FASTEST_GIF} is expected for save=gif (players slow a faster GIF down); save=mp4 "
                "takes more"
            )
        check_ranges("", vars(self), ranges)


@dataclass(frozen=True)
class SampleSettings(PictureSettings):
    """The keys of sample.yaml beside the groups."""

    num_samples: int
    save: Sequence[Files]
    guidance_scales: Sequence[float]

    def __post_init__(self) -> None:
        if "guidance" in self.save and not self.guidance_scales:
            raise ValueError("guidance_scales=[]: at least one is expected for save=guidance")
        super().__post_init__()


@dataclass(frozen=True)
class EditSettings(PictureSettings):
    """The keys of edit.yaml beside the groups."""

    save: Sequence[EditFiles]
    image: str | Sequence[str]
    mask: str | None
    resize_mode: ResizeMode
    range: tuple[float, float] | None
    max_pixels: int

    def __post_init__(self) -> None:
        check_ranges("", vars(self), {"max_pixels": COUNT})
        super().__post_init__()


def check_sample_settings(config: dict[str, Any]) -> None:
    """Refuse unknown keys, wrong types and impossible values of sample.yaml; `save=png` is short for `save=[png]`.

    Raises:
        ConfigError: one line with the key, the value, the choices.
    """
    _check(config, SampleSettings, ("sampler",))


def check_edit_settings(config: dict[str, Any]) -> None:
    """Refuse unknown keys, wrong types and impossible values of edit.yaml; `save=png` is short for `save=[png]`.

    Raises:
        ConfigError: one line with the key, the value, the choices.
    """
    _check(config, EditSettings, ("task", "sampler"))


def _check(config: dict[str, Any], kind: type[PictureSettings], needed: Sequence[str]) -> None:
    if isinstance(config["save"], str):
        config["save"] = [config["save"]]
    check_groups(config, needed)
    of_groups = (*needed, "guidance")
    call(kind, {name: value for name, value in config.items() if name not in of_groups}, key="")
