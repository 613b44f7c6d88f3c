"""Random numbers as functions of a key, so that nothing random has to be stored.

The same key gives the same numbers in any process, at any time, whatever was drawn before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

DrawFunction = Callable[[torch.Size, torch.Generator], Tensor]


def keyed_seed(*key: int | str) -> int:
    """A seed in [0, 2**63) that depends on every part of the key and is the same in every process and on every machine."""
    text = repr(tuple(part if isinstance(part, str) else int(part) for part in key))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def keyed_generator(device: torch.device | str, *key: int | str) -> torch.Generator:
    """A generator on `device` that starts at `keyed_seed(*key)`."""
    return torch.Generator(device).manual_seed(keyed_seed(*key))


class BlockGenerator:
    """Random numbers for the rows first, ..., first + count - 1 of an endless list of images.

    The list is cut into blocks of `block_size` rows, each with a generator of its own, keyed by ("sample", seed, block). A
    batch that begins or ends inside a block draws the whole block and keeps its own rows. So row i sees the same numbers
    whatever the batch size, and stays in step over any number of draws.

    Args:
        seed: key of the list.
        first: row of the list where this batch begins.
        count: number of rows in this batch.
        device: where numbers are drawn; another kind of device gives other numbers.
        block_size: rows of a block; another block size gives another list.
    """

    def __init__(self, seed: int, first: int, count: int, device: torch.device | str, block_size: int = 16) -> None:
        if first < 0 or count < 1 or block_size < 1:
            raise ValueError(f"first={first}, count={count}, block_size={block_size}: at least 0, 1 and 1 are expected")
        self.first, self.count, self.block_size = first, count, block_size
        self.device = torch.device(device)
        blocks = range(first // block_size, (first + count - 1) // block_size + 1)
        self._generators = [keyed_generator(device, "sample", seed, block) for block in blocks]

    def draw(self, fn: DrawFunction, shape: torch.Size | tuple[int, ...]) -> Tensor:
        """The next numbers of these rows: `fn(shape of a block, its generator)` block by block; shape[0] must be `count`."""
        if shape[0] != self.count:
            raise ValueError(f"shape={tuple(shape)}: this generator serves {self.count} rows")
        block = torch.Size((self.block_size, *shape[1:]))
        rows = torch.cat([fn(block, generator) for generator in self._generators])
        skip = self.first % self.block_size
        return rows[skip : skip + self.count]
