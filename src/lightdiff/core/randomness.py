"""Random numbers that depend on a key and on nothing else.

The same key gives the same numbers in every process and at every time, whatever was drawn before. Therefore no state of a random
generator has to be stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

DrawFunction = Callable[[torch.Size, torch.Generator], Tensor]


def keyed_seed(*key: int | str) -> int:
    """Return a seed in [0, 2**63) that depends on every part of the key, and is the same on every machine."""
    text = repr(tuple(part if isinstance(part, str) else int(part) for part in key))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def keyed_generator(device: torch.device | str, *key: int | str) -> torch.Generator:
    """Return a generator on `device`, seeded with `keyed_seed(*key)`."""
    return torch.Generator(device).manual_seed(keyed_seed(*key))


class BlockGenerator:
    """A source of random numbers for a batch of sampled images, in which the numbers of image i do not depend on the batch size.

    Images are numbered 0, 1, 2, ... and divided into blocks of `block_size`. Each block has a generator of its own, keyed by
    ("sample", seed, number of the block). A batch that starts or ends inside a block draws the numbers of the whole block and
    uses those of its own images. So every draw gives image i the same numbers in any batch.

    Args:
        seed: seed of all images.
        first: number of the first image in this batch, 0 or more.
        count: number of images in this batch, 1 or more.
        device: device on which the numbers are drawn. Another kind of device gives other numbers.
        block_size: images in a block, 1 or more. Another block size gives other numbers.

    Raises:
        ValueError: first, count or block_size is out of range.
    """

    def __init__(self, seed: int, first: int, count: int, device: torch.device | str, block_size: int = 16) -> None:
        if first < 0 or count < 1 or block_size < 1:
            raise ValueError(f"first={first}, count={count}, block_size={block_size}: at least 0, 1 and 1 are expected")
        self.first, self.count, self.block_size = first, count, block_size
        self.device = torch.device(device)
        blocks = range(first // block_size, (first + count - 1) // block_size + 1)
        self._generators = [keyed_generator(device, "sample", seed, block) for block in blocks]

    def draw(self, fn: DrawFunction, shape: torch.Size | tuple[int, ...]) -> Tensor:
        """Return the next numbers of these images.

        Args:
            fn: function (shape of a block, generator of the block) -> numbers of the block.
            shape: shape of the result; shape[0] is `count`.

        Raises:
            ValueError: shape[0] is not `count`.
        """
        if shape[0] != self.count:
            raise ValueError(f"shape={tuple(shape)}: this generator serves {self.count} rows")
        block = torch.Size((self.block_size, *shape[1:]))
        rows = torch.cat([fn(block, generator) for generator in self._generators])
        skip = self.first % self.block_size
        return rows[skip : skip + self.count]
