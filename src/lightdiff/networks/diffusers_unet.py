"""Adapters that give the UNets of the package diffusers (extra `diffusers`) the interface of this project's networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from lightdiff.config.extras import require
from lightdiff.networks.attention import zeroed
from lightdiff.networks.checks import (
    check_cond,
    check_divisible,
    check_levels,
    check_positive,
    check_widths,
)
from lightdiff.networks.condition import SplitConv2d, keys_of
from lightdiff.utils.sizes import two_sizes


def _diffusers() -> ModuleType:
    require("diffusers", "a network of diffusers")
    import diffusers

    return diffusers


class _DiffusersUNet(nn.Module):
    """Base class of the adapters: it checks the arguments, translates them for diffusers, and embeds the condition's vector."""

    def __init__(
        self,
        channels: int,
        image_size: int | Sequence[int],
        widths: Sequence[int],
        blocks_per_level: int,
        attention_levels: Sequence[int],
        cond_dim: int | None,
        image_channels: int | None,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, blocks_per_level=blocks_per_level, cond_dim=cond_dim)
        check_positive(image_channels=image_channels)
        check_widths(widths)
        if any(width % 8 for width in widths):
            raise ValueError(f"widths={list(widths)}: multiples of 8 are expected (diffusers has heads of 8 channels)")
        check_levels(attention_levels, len(widths))
        self.channels, self.image_size, self.blocks_per_level = channels, image_size, blocks_per_level
        self.widths, self.attention_levels = tuple(widths), tuple(attention_levels)
        self.cond_dim, self.image_channels = cond_dim, image_channels
        self.image_shape = (channels, *two_sizes(image_size))
        self.condition = zeroed(nn.Linear(cond_dim, 4 * widths[0])) if cond_dim is not None else None

    def _settings(self, attention: str) -> dict[str, Any]:
        """Return the arguments of diffusers' constructors. `attention` is the prefix of the names of its attention blocks."""
        kinds = [attention if level in self.attention_levels else "" for level in range(len(self.widths))]
        return {
            "sample_size": self.image_shape[1:],
            "in_channels": self.channels,
            "out_channels": self.channels,
            "layers_per_block": self.blocks_per_level,
            "block_out_channels": self.widths,
            "norm_num_groups": math.gcd(32, *self.widths),
            "down_block_types": tuple(f"{kind}DownBlock2D" for kind in kinds),
            "up_block_types": tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
            "class_embed_type": "identity" if self.cond_dim is not None else None,
        }

    def _with_image(self, unet: nn.Module) -> nn.Module:
        """Return diffusers' network, which takes the condition image as further channels if this network has one."""
        if self.image_channels is not None:
            unet.conv_in = SplitConv2d(unet.conv_in, self.image_channels)  # type: ignore[arg-type]
        return unet

    def _joined(self, x: Tensor, cond: dict[str, Tensor]) -> Tensor:
        """Return x (B, C, H, W) with the condition image as further channels, if this network takes one."""
        return x if self.image_channels is None else torch.cat([x, cond["image"]], dim=1)

    def _vector(self, cond: dict[str, Tensor]) -> Tensor | None:
        """Return the embedding (B, 4 widths[0]) of the condition's vector. diffusers adds it to the embedding of the time."""
        return None if self.condition is None else self.condition(cond["vector"])


class DiffusersUNet2D(_DiffusersUNet):
    """diffusers' UNet2DModel. Where an argument is None, it is as in the tutorial diffusing_digits.

    Args:
        channels: channels of the images.
        image_size: side of the images, or (height, width), divisible by 2^(len(widths) - 1).
        widths: channels of each level, from full resolution down, multiples of 8. None: 128, 128, 256, 512.
        blocks_per_level: residual blocks of each level. None: 2.
        attention_levels: levels with self-attention, on the way down and up. 0 is full resolution. None: level 2.
        cond_dim: width of `cond["vector"]` (B, cond_dim). None: the network takes no vector.
        image_channels: channels of `cond["image"]` (B, image_channels, H, W), which is joined to the noisy image. The weights for
            it start at 0. None: the network takes no image.
        further: further arguments of UNet2DModel by name, which pretrained models need. None: diffusers' own defaults.

    Raises:
        ValueError: an argument is out of range.
        MissingExtra: the extra diffusers is not installed.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int | Sequence[int] = 32,
        widths: Sequence[int] | None = None,
        blocks_per_level: int | None = None,
        attention_levels: Sequence[int] | None = None,
        cond_dim: int | None = None,
        image_channels: int | None = None,
        further: Mapping[str, Any] | None = None,
    ) -> None:
        widths = (128, 128, 256, 512) if widths is None else widths
        blocks_per_level = 2 if blocks_per_level is None else blocks_per_level
        attention_levels = (2,) if attention_levels is None else attention_levels
        super().__init__(channels, image_size, widths, blocks_per_level, attention_levels, cond_dim, image_channels)
        check_divisible(image_size, 2 ** (len(widths) - 1))
        self.cond_keys = keys_of(cond_dim, image_channels=image_channels)
        self.further = further
        settings = {**self._settings("Attn"), **(further or {})}
        self.unet = self._with_image(_diffusers().UNet2DModel(**settings))

    def forward(self, x: Tensor, time: Tensor | None = None, cond: dict[str, Tensor] | None = None) -> Tensor:
        """Return the output (B, C, H, W).

        Args:
            x: images (B, C, H, W).
            time: timesteps (B,). None is taken as 0.
            cond: dict with the network's `cond_keys`, or None where it takes no condition.
        """
        check_cond(self, cond, x)
        cond = cond or {}
        time = x.new_zeros(len(x)) if time is None else time
        return self.unet(self._joined(x, cond), time, class_labels=self._vector(cond)).sample


class DiffusersUNet2DCondition(_DiffusersUNet):
    """diffusers' UNet2DConditionModel, with cross-attention to tokens. The defaults are those of the tutorial text_to_digit.

    Args:
        channels: channels of the images.
        image_size: side of the images, or (height, width). Any size fits.
        widths: channels of each level, from full resolution down, multiples of 8.
        blocks_per_level: residual blocks of each level.
        attention_levels: levels with self- and cross-attention, on the way down and up. 0 is full resolution.
        token_dim: width of `cond["tokens"]` (B, L, token_dim). `cond["mask"]` (B, L) may come with them.
        cond_dim: width of `cond["vector"]` (B, cond_dim). None: the network takes no vector.
        image_channels: channels of `cond["image"]` (B, image_channels, H, W), which is joined to the noisy image. The weights for
            it start at 0. None: the network takes no image.

    Raises:
        ValueError: an argument is out of range.
        MissingExtra: the extra diffusers is not installed.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int | Sequence[int] = 28,
        widths: Sequence[int] = (32, 64, 64, 32),
        blocks_per_level: int = 2,
        attention_levels: Sequence[int] = (1, 2),
        token_dim: int = 512,
        cond_dim: int | None = None,
        image_channels: int | None = None,
    ) -> None:
        super().__init__(channels, image_size, widths, blocks_per_level, attention_levels, cond_dim, image_channels)
        check_positive(token_dim=token_dim)
        self.token_dim = token_dim
        self.cond_keys = keys_of(cond_dim, token_dim, image_channels)
        settings = {"mid_block_type": "UNetMidBlock2DCrossAttn", "cross_attention_dim": token_dim}
        self.unet = self._with_image(_diffusers().UNet2DConditionModel(**self._settings("CrossAttn"), **settings))

    def forward(self, x: Tensor, time: Tensor | None = None, cond: dict[str, Tensor] | None = None) -> Tensor:
        """Return the output (B, C, H, W).

        Args:
            x: images (B, C, H, W).
            time: timesteps (B,). None is taken as 0.
            cond: `tokens` (B, L, token_dim), with `mask` (B, L) if some are padding, and with `vector` if cond_dim is set,
                and with `image` (B, image_channels, H, W) if image_channels is set.
        """
        check_cond(self, cond, x)
        cond = cond or {}
        time = x.new_zeros(len(x)) if time is None else time
        return self.unet(
            self._joined(x, cond),
            time,
            encoder_hidden_states=cond["tokens"],
            encoder_attention_mask=cond.get("mask"),
            class_labels=self._vector(cond),
        ).sample


def save_pipeline(
    network: DiffusersUNet2D, folder: str, pipeline: str, scheduler: str, settings: dict[str, Any]
) -> None:
    """Save a network as a folder of safetensors and JSON files, which `from_pretrained` of diffusers' pipeline can load.

    Args:
        network: network without a condition (cond_dim and image_channels are None).
        folder: path of the folder.
        pipeline: name of diffusers' class of the pipeline, which is made of a unet and a scheduler.
        scheduler: name of diffusers' class of the scheduler.
        settings: arguments of the scheduler.
    """
    diffusers = _diffusers()
    made = getattr(diffusers, pipeline)(unet=network.unet, scheduler=getattr(diffusers, scheduler)(**settings))
    made.save_pretrained(folder, safe_serialization=True)
