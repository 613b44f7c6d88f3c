"""Batches as `DiffusionModel` takes them: {"image": (B, C, H, W), "label": (B,)}, made from what loaders give, and checked.

Images are uint8 in 0..255, as `DiffSet` gives them, or floats in [0, 1], as torchvision's ToTensor makes them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightdiff.conditioning.base import Conditioner
from lightdiff.core import Codec

SMALL_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32)
ROUNDING = 1e-3
"""How far floats may lie outside [0, 1], as resizing and 16-bit floats leave them."""


def as_batch(batch: Any) -> dict[str, Tensor]:
    """Name the parts of a batch: a dict stays as it is, (image,) and (image, label) and an image alone become one.

    Labels of a smaller integer type become int64.

    Raises:
        ValueError: anything else.
    """
    if isinstance(batch, Tensor):
        return {"image": batch}
    if isinstance(batch, tuple | list) and 1 <= len(batch) <= 2:
        batch = dict(zip(("image", "label"), batch, strict=False))
    if not isinstance(batch, dict) or "image" not in batch:
        found = f"a dict with {', '.join(map(str, batch))}" if isinstance(batch, dict) else type(batch).__name__
        found += f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise ValueError(
            f"batch={found}: a dict with image (and label), or a tuple (image,) or (image, label), is expected"
        )
    label = batch.get("label")
    if isinstance(label, Tensor) and label.dtype in SMALL_INTEGERS:
        return {**batch, "label": label.long()}
    return batch


def check_batch(
    batch: dict[str, Tensor], image_shape: tuple[int, int, int], conditioning: Conditioner | None, codec: Codec
) -> None:
    """Refuse a batch that would train on something else than its images; it reads every value.

    Args:
        batch: as `as_batch` gives it.
        image_shape: shape (C, H, W) of the model's x0.
        conditioning: checks what it reads of the batch; None: nothing but the images is read.
        codec: what turns the images into x0.

    Raises:
        ValueError: one line with the part of the batch, what it is, and what is expected.
    """
    _check_images(batch["image"], image_shape, codec)
    if conditioning is not None:
        conditioning.check(batch)


def _check_images(images: Any, image_shape: tuple[int, int, int], codec: Codec) -> None:
    expected = "uint8 in 0..255 or floats in [0, 1]"
    if not isinstance(images, Tensor):
        raise ValueError(f"image={type(images).__name__}: a tensor is expected, {expected}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(f"image={_name(images.dtype)}: {expected} are expected")
    wanted = f"(B, {', '.join(map(str, image_shape))}), images x channels x height x width, is expected"
    made = codec.shape(images.shape[1:]) if images.ndim == 4 else None
    if made not in (None, tuple(images.shape[1:]), image_shape):
        raise ValueError(
            f"image={tuple(images.shape)}: {type(codec).__name__} makes x0 of {made}, not of {image_shape}"
        )
    if made != image_shape:
        channels, *size = image_shape
        last = images.ndim == 4 and tuple(images.shape[1:]) == (*size, channels)
        hint = "; these have their channels last: image.permute(0, 3, 1, 2)" if last else ""
        raise ValueError(f"image={tuple(images.shape)}: the shape {wanted}{hint}")
    if images.is_floating_point() and images.numel():
        low, high = images.min().item(), images.max().item()
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):
            raise ValueError(f"image={low:g}..{high:g}: {expected} are expected (the model normalises them itself)")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
