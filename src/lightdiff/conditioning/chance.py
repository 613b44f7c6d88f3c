"""Random numbers of an image, which are a function of one uniform number that training has drawn for it.

Training draws `chance` (B,) for the global batch. A conditioner that needs more numbers than one derives them from it by a hash
of (chance, position). They are therefore the same on every kind of device, for any number of processes, and in a resumed run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

BITS = 24
"""Bits of a uniform number in float32."""
_LOW_32 = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9
"""2^32 divided by the golden ratio, an odd number whose multiples are spread evenly."""


def numbers_of(chance: Tensor, count: int) -> Tensor:
    """Return `count` independent numbers, uniform in [0, 1), for each of B images: (B, count) in float32.

    Args:
        chance: uniform numbers (B,) in [0, 1), one for each image, of which the first 24 bits are used.
        count: how many numbers each image needs.
    """
    key = _mixed((chance * 2**BITS).to(torch.int64))[:, None]
    positions = torch.arange(1, count + 1, device=chance.device) * _GOLDEN
    return (_mixed(_mixed(key + positions) + key) >> (32 - BITS)).float() / 2**BITS


def normals_of(chance: Tensor, shape: Sequence[int]) -> Tensor:
    """Return standard normal numbers (B, *shape) in float32, by the transform of Box and Muller (1958); see `numbers_of`."""
    first, second = numbers_of(chance, 2 * math.prod(shape)).chunk(2, dim=1)
    # 1 - first is in (0, 1], so that the logarithm is finite
    normals = (-2 * (1 - first).log()).sqrt() * (2 * math.pi * second).cos()
    return normals.unflatten(1, tuple(shape))


def chance_of_rows(rows: range) -> Tensor:
    """Return numbers (len(rows),) in [0, 1) that take the place of `chance` for images of which only the numbers are known."""
    return torch.arange(rows.start, rows.stop).remainder(2**BITS).float() / 2**BITS


def _mixed(x: Tensor) -> Tensor:
    """Return a hash of whole numbers, each in 0..2^32 - 1, as int64.

    It is the hash with two multiplications and the least bias that the search of C. Wellons (hash-prospector, 2018) has found.
    """
    x = x & _LOW_32
    # products overflow 64 bits, which leaves their last 32 bits right
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        x = ((x ^ (x >> shift)) * factor) & _LOW_32
    return x ^ (x >> 15)
