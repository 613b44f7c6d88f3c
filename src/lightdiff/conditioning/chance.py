"""Further random numbers for each image of a batch, as a function of the one that training draws for it."""

from __future__ import annotations

import torch
from torch import Tensor

MASK = 2**32 - 1


def numbers_of(chance: Tensor, count: int) -> Tensor:
    """Return `count` numbers (B, count), uniform in [0, 1), that depend on nothing but the number `chance` (B,) of each image.

    They are hashes of chance and the counter 0..count - 1, in whole numbers of 32 bits, and therefore the same on every device
    and for every number of processes.

    Args:
        chance: uniform in [0, 1).
        count: how many numbers each image gets, 0 or more.
    """
    seeds = chance.float().contiguous().view(torch.int32).to(torch.int64)[:, None]
    counter = torch.arange(1, count + 1, device=chance.device)
    mixed = (seeds * 0x9E3779B1 + counter * 0x85EBCA77) & MASK
    # each round spreads every bit over all others
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        mixed = ((mixed ^ (mixed >> shift)) * factor) & MASK
    mixed = mixed ^ (mixed >> 16)
    # 24 bits, as many as float32 holds without rounding up to 1
    return (mixed >> 8).float() / 2**24
