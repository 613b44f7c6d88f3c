"""Flip: mirror images at random."""

from __future__ import annotations

import torch
from torch import Tensor


def flip(images: Tensor, generator: torch.Generator, rank: int = 0, world_size: int = 1) -> Tensor:
    """Mirror each of the images (B, C, H, W) left to right with probability 1/2.

    Args:
        images: this process's rows of the global batch.
        generator: the same in all processes: the choice is drawn for the whole global batch.
        rank, world_size: number of this process, and how many there are.
    """
    chosen = torch.rand(len(images) * world_size, generator=generator, device=images.device) < 0.5
    return torch.where(chosen[rank::world_size, None, None, None], images.flip(-1), images)
