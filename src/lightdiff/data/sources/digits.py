"""Digits: 1,797 handwritten digits of 8x8 pixels that come with scikit-learn, so that nothing has to be downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from lightdiff.data.image_store import MemoryStore
from lightdiff.data.order import keyed_split
from lightdiff.data.resize import Fit, ResizeMode
from lightdiff.data.sources.base import Source, Splits, check_channels, check_val_fraction


@dataclass(frozen=True)
class Digits(Source):
    """Small handwritten digits, usually scaled up to 16x16.

    Args:
        val_fraction: share of the images to validate on, the same ones for every seed.
    """

    val_fraction: float = 0.1

    usual_channels: ClassVar[int] = 1
    usual_image_size: ClassVar[tuple[int, int]] = (16, 16)
    usual_resize_mode: ClassVar[ResizeMode] = "resize"
    licence: ClassVar[str] = "CC BY 4.0"

    def __post_init__(self) -> None:
        check_val_fraction(self.val_fraction)

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        # imported here, because it takes a second and only this data set needs it
        from sklearn.datasets import load_digits

        check_channels(channels, 1, "Digits")
        data = load_digits()
        # values from 0 to 16
        values = torch.from_numpy(data.images)[:, None]
        images = fit((values * (255 / 16)).round().to(torch.uint8))
        labels = torch.from_numpy(data.target).to(torch.int64)
        train, val = keyed_split(len(images), self.val_fraction)
        return Splits(
            MemoryStore(images[train], labels[train]),
            MemoryStore(images[val], labels[val]),
            tuple("0123456789"),
        )
