"""Flip: mirror images at random."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightdiff.core.randomness import keyed_generator


def flip(images: Tensor, generator: torch.Generator, rank: int = 0, world_size: int = 1) -> Tensor:
    """Mirror each of the images (B, C, H, W) left to right with probability 1/2.

    Args:
        images: this process's rows of the global batch.
        generator: the same in all processes: the choice is drawn for the whole global batch.
        rank, world_size: number of this process, and how many there are.
    """
    chosen = torch.rand(len(images) * world_size, generator=generator, device=images.device) < 0.5
    return torch.where(chosen[rank::world_size, None, None, None], images.flip(-1), images)


def flip_batch(batch: dict[str, Any], seed: int, batch_number: int, rank: int, world_size: int) -> dict[str, Any]:
    """Return a batch with its images flipped, and the condition images of paired data together with them.

    Args:
        batch: the rows of this process.
        seed, batch_number: key of the choice.
        rank, world_size: as for `flip`.
    """
    flipped = {}
    for name in batch.keys() & {"image", "condition"}:
        generator = keyed_generator(batch[name].device, "flip", seed, batch_number)
        flipped[name] = flip(batch[name], generator, rank, world_size)
    return {**batch, **flipped}
