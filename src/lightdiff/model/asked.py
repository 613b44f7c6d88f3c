"""What a user asks of a model when images are drawn: how many, on which condition images, with how much noise in these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from lightdiff.model.model import DiffusionModel

Images = Tensor | str | Path | Sequence[str | Path] | None
"""Condition images: uint8 (K, C', h, w), an image file, a folder of images, or several of these; None: there are none."""


def read_condition(condition: Images, model: DiffusionModel) -> Any:
    """Return the condition images, read from their files where these are given and the model takes images.

    Raises:
        ValueError: a file does not exist or cannot be read, or the value is neither images nor files.
    """
    if condition is None or isinstance(condition, Tensor):
        return condition
    names = [condition] if isinstance(condition, str | Path) else condition
    if not isinstance(names, list | tuple) or not all(isinstance(name, str | Path) for name in names):
        kind = type(condition).__name__
        raise ValueError(
            f"condition={kind}: a tensor of uint8 images (K, C, h, w) is expected, or the names of image files"
        )
    if model.conditioning is None or "condition" not in model.conditioning.takes:
        return condition
    # most models take no images, and the reader brings all of the data with it
    from lightdiff.data.given_images import read_conditions

    return read_conditions(names, model.conditioning.condition_shape)


def check_number(num_samples: int, **asked: Any) -> None:
    """Refuse a number of images below 1, or one that leaves out labels or prompts that were asked for.

    Raises:
        ValueError: one line with the argument, its value and what is expected.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples={num_samples}: 1 or more is expected")
    for name, values in asked.items():
        single = isinstance(values, str) or not isinstance(values, Sequence | Tensor)
        count = 1 if single else values.numel() if isinstance(values, Tensor) and values.ndim < 3 else len(values)
        if count == 0:
            raise ValueError(f"{name}={said(values)}: at least one is expected")
        if count > num_samples:
            raise ValueError(
                f"num_samples={num_samples}: {count} or more is expected, one for each of {name}={said(values)}"
            )


def check_noise(level: float | None, model: DiffusionModel) -> None:
    """Refuse a level of noise in the condition images that training has not shown to the model.

    Raises:
        ValueError: one line with the level and what is expected.
    """
    if level is None:
        return
    highest = getattr(model.conditioning, "augmentation", 0.0)
    if not highest:
        raise ValueError(
            f"condition_noise={level:g}: this model was trained without noise in condition images "
            "(conditioning.augmentation=0); choices: null"
        )
    if not 0 <= level <= highest:
        raise ValueError(
            f"condition_noise={level:g}: a number in [0, {highest:g}] is expected, as in training (conditioning.augmentation)"
        )


def said(value: Any) -> Any:
    """Return what a message shows of a value: the size of images, and all else as it is."""
    is_images = isinstance(value, Tensor) and value.ndim > 1
    return f"{'x'.join(map(str, value.shape))} (images, channels, height, width)" if is_images else value
