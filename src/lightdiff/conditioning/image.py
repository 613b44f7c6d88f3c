"""ImageConditioner, the base of the conditioners whose condition is an image, which the network gets beside the noisy one."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightdiff.conditioning.base import Conditioner, Labels
from lightdiff.conditioning.chance import chance_of_rows, normals_of, numbers_of
from lightdiff.utils.sizes import two_sizes


class ImageConditioner(Conditioner):
    """Base class of the conditioners that give `image (B, image_channels, H, W)` in [-1, 1].

    The condition of an image is itself an image: uint8 (C', h, w), as a user has it in a file. In training, `made` makes it of
    the image that the network learns to generate. `expanded` brings it to the size of that image.

    With `augmentation` a > 0 the condition is mixed with noise (conditioning augmentation; Ho et al. 2022, arXiv:2106.15282,
    section 4.1), so that the network learns not to trust every detail of it:

        sqrt(1 - s^2) * condition + s * noise,    s uniform in [0, a] in training and `augmentation_level` when sampling

    The level s is a further, constant channel, so that the network knows it.

    Args:
        channels: channels C of the images.
        image_size: side of the images, or (height, width).
        drop_prob: share of training images whose condition is replaced by an image of zeros, in [0, 1]. At 0, guidance keeps the
            condition image and exaggerates the other conditions only.
        augmentation: highest level a of the noise, in [0, 1]. 0: there is no noise, and no channel for its level.
        augmentation_level: level s of the noise when sampling, in [0, augmentation], if none is asked for.

    Raises:
        ValueError: a number is out of its range.
    """

    takes = ("condition",)
    cond_keys = ("image",)
    _like: Tensor

    def __init__(
        self,
        channels: int,
        image_size: int | Sequence[int],
        drop_prob: float = 0.0,
        augmentation: float = 0.0,
        augmentation_level: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value, highest in (
            ("drop_prob", drop_prob, 1.0),
            ("augmentation", augmentation, 1.0),
            ("augmentation_level", augmentation_level, augmentation),
        ):
            if not 0 <= value <= highest:
                raise ValueError(f"{name}={value}: a number in [0, {highest:g}] is expected")
        if channels < 1:
            raise ValueError(f"channels={channels}: 1 or more is expected")
        self.channels, self.image_size, self.drop_prob = channels, image_size, drop_prob
        self.augmentation, self.augmentation_level = augmentation, augmentation_level
        self.size = two_sizes(image_size)
        # it has the device and the type of the weights
        self.register_buffer("_like", torch.zeros(()), persistent=False)

    @property
    @abstractmethod
    def condition_shape(self) -> tuple[int, int, int]:
        """Shape (C', h, w) of the condition of one image, as a user gives it."""

    @property
    def expanded_channels(self) -> int:
        """Number of channels that `expanded` returns."""
        return self.condition_shape[0]

    @property
    def image_channels(self) -> int:
        """Number of channels of `image` in a condition, with that for the level of the noise."""
        return self.expanded_channels + (1 if self.augmentation else 0)

    @abstractmethod
    def made(self, images: Tensor, chance: Tensor) -> Tensor:
        """Return the conditions of images, uint8 (B, C', h, w).

        Args:
            images: uint8 (B, C, H, W).
            chance: uniform numbers (B,) in [0, 1), which decide all that is random.
        """

    @abstractmethod
    def expanded(self, condition: Tensor) -> Tensor:
        """Return conditions, uint8 (B, C', h, w), as images of the full size, float32 (B, expanded_channels, H, W) in [-1, 1]."""

    def pictured(self, condition: Tensor) -> Tensor:
        """Return conditions, uint8 (B, C', h, w), as pictures for people, float32 (B, 1 or C, H, W) in [-1, 1]."""
        return self.expanded(condition)

    def condition_of(self, batch: dict[str, Any], chance: Tensor) -> Tensor:
        return self.made(as_uint8(batch["image"]), chance)

    def check(self, batch: dict[str, Any]) -> None:
        # the images themselves are checked for every model
        pass

    def example(self) -> dict[str, Any]:
        return {"condition": torch.zeros((1, *self.condition_shape), dtype=torch.uint8)}

    def choice_of(self, batch: dict[str, Any], chance: Tensor) -> Tensor:
        return self.condition_of(batch, chance)

    def inputs(self, batch: dict[str, Any], chance: Tensor) -> Tensor:
        making, level, noise = numbers_of(chance, 3).unbind(1)
        return self._image(self.condition_of(batch, making), self.augmentation * level, noise)

    def choose(self, *, labels: Labels, prompt: str | Sequence[str] | None, condition: Tensor | None = None) -> Tensor:
        for name, value in (("labels", labels), ("prompt", prompt)):
            if value is not None:
                raise ValueError(f"{name}={value}: this model is conditioned on images alone; choices: condition=...")
        channels, height, width = self.condition_shape
        if condition is None:
            raise ValueError(
                f"condition: images are needed, on which this model is conditioned, of {channels}x{height}x{width} (channels, "
                "height, width)"
            )
        found = tuple(condition.shape)
        if condition.dtype != torch.uint8 or found[1:] != self.condition_shape or not found[0]:
            dtype = str(condition.dtype).removeprefix("torch.")
            raise ValueError(
                f"condition={dtype} {found}: uint8 images (K, {channels}, {height}, {width}) are expected, one or more"
            )
        return condition

    def inputs_of_rows(self, choice: Tensor, rows: range, device: torch.device, noise: float | None = None) -> Tensor:
        condition = choice[torch.arange(rows.start, rows.stop) % len(choice)].to(device)
        s = self.augmentation_level if noise is None else noise
        level = torch.full((len(rows),), float(s), device=device)
        return self._image(condition, level, chance_of_rows(rows).to(device))

    def forward(self, inputs: Tensor, drop: Tensor | None = None) -> dict[str, Tensor]:
        image = inputs.to(self._like.dtype)
        if drop is not None:
            image = torch.where(drop[:, None, None, None], self.null()["image"], image)
        return {"image": image}

    def null(self) -> dict[str, Tensor]:
        return {"image": self._like.new_zeros((1, self.image_channels, *self.size))}

    @property
    def guidance_acts(self) -> bool:
        return self.drop_prob > 0

    def unconditional(self, cond: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.null() if self.guidance_acts else {"image": cond["image"]}

    def same_inputs(self, other: Conditioner) -> bool:
        return type(self) is type(other) and self._settings() == other._settings()

    def _settings(self) -> dict[str, Any]:
        """Return the arguments of the constructor that decide what `inputs` returns."""
        names = [name for name in inspect.signature(type(self)).parameters if name not in ("drop_prob", "image_size")]
        return {"size": self.size, **{name: getattr(self, name) for name in names}}

    def _image(self, condition: Tensor, level: Tensor, chance: Tensor) -> Tensor:
        """Return the condition as the network gets it, float32 (B, image_channels, H, W).

        Args:
            condition: uint8 (B, C', h, w).
            level: level s of the noise (B,).
            chance: uniform numbers (B,) in [0, 1), which decide the noise.
        """
        image = self.expanded(condition)
        if not self.augmentation:
            return image
        s = level[:, None, None, None]
        noisy = (1 - s.square()).sqrt() * image + s * normals_of(chance, image.shape[1:])
        return torch.cat([noisy, s.expand(-1, 1, *self.size)], dim=1)


def as_uint8(images: Tensor) -> Tensor:
    """Return images of a batch, uint8 in 0..255 or floats in [0, 1], as uint8."""
    return (images.float() * 255).round().clamp(0, 255).to(torch.uint8) if images.is_floating_point() else images


def from_uint8(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def rounded(images: Tensor) -> Tensor:
    """Return floating-point images in 0..255 as uint8, rounded to the nearest level. Values outside are clamped."""
    return images.round().clamp(0, 255).to(torch.uint8)
