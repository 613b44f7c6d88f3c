"""Normalisations and activations that networks take by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

NormName = Literal["batch", "group", "none"]
ActivationName = Literal["relu", "silu", "gelu"]


def group_norm(channels: int, group_channels: int = 16) -> nn.GroupNorm:
    """Return a GroupNorm with the largest possible number of groups, at most 32, of at least `group_channels` channels each."""
    groups = next(n for n in range(min(32, max(1, channels // group_channels)), 0, -1) if channels % n == 0)
    return nn.GroupNorm(groups, channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "group": group_norm, "none": nn.Identity}
"""Name of a normalisation -> the function that makes it for a number of channels."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}
"""Name of an activation -> its class."""
