"""The settings that the commands for trained models share, and their check. Each command adds its own keys in a subclass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from lightdiff.config.instantiate import call
from lightdiff.config.settings import COUNT, Auto, check_groups, check_ranges
from lightdiff.config.trust import Trust

Settings = TypeVar("Settings", bound="ModelSettings")


@dataclass(frozen=True)
class ModelSettings:
    """The keys of every command that takes a trained model."""

    needed: ClassVar[tuple[str, ...]] = ()
    """Groups of the command that may not be empty."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Groups of the command that may be empty."""

    ckpt_path: str
    weights: Literal["ema", "raw"]
    trust: Sequence[str]
    out: str | None

    def __post_init__(self) -> None:
        Trust.of(self.trust)


@dataclass(frozen=True)
class SamplingSettings(ModelSettings):
    """The keys of every command that draws images, beside the groups.

    Raises:
        ConfigError: a number is out of its range.
    """

    needed: ClassVar[tuple[str, ...]] = ("sampler",)
    optional: ClassVar[tuple[str, ...]] = ("guidance",)

    num_samples: int | None
    batch_size: int | None
    seed: int
    guidance_scale: float | None
    condition_noise: float | None
    precision: str
    compile: Auto
    channels_last: Auto
    device: str
    progress: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges("", vars(self), {"num_samples": COUNT, "batch_size": COUNT})


def check_command(config: Mapping[str, Any], kind: type[Settings]) -> Settings:
    """Refuse unknown keys, wrong types and impossible values in the configuration of a command; return its settings.

    Args:
        config: the resolved configuration as plain data.
        kind: the class of the command's settings.

    Raises:
        ConfigError: one line with the key, the value, the choices.
    """
    check_groups(config, kind.needed)
    of_groups = (*kind.needed, *kind.optional)
    settings: Settings = call(kind, {name: value for name, value in config.items() if name not in of_groups}, key="")
    return settings
