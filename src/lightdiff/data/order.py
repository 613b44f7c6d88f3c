"""Which images make up batch n: a function of the numbers given here and of nothing else.

So a run that stops anywhere continues with exactly the batch it would have seen, and P processes, each taking every
P-th row of the global batch, see together what one process sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from lightdiff.core.randomness import keyed_generator


class BatchOrder(Protocol):
    """Numbered global batches; `len` of them show every image once (training: save for a rest that fills no batch)."""

    def __len__(self) -> int: ...

    def rows(self, n: int) -> Tensor:
        """Indices (int64) of the images in global batch n = 0, 1, ..."""
        ...


class TrainOrder:
    """Shuffled anew in every data epoch, endless; the rest that fills no batch is left out until the next epoch.

    Args:
        num_images: how many there are.
        batch_size: of the global batch.
        seed: with the data epoch n // len, the key of the permutation.

    Raises:
        ValueError: there are fewer images than a batch needs.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int) -> None:
        if batch_size > num_images:
            raise ValueError(
                f"batch_size={batch_size}: there are only {num_images} training images; use a batch_size of at most "
                f"{num_images}, or null, which chooses one"
            )
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return self.num_images // self.batch_size

    def rows(self, n: int) -> Tensor:
        epoch, position = divmod(n, len(self))
        if epoch != self._epoch:
            generator = keyed_generator("cpu", "order", self.seed, epoch)
            self._epoch, self._permutation = epoch, torch.randperm(self.num_images, generator=generator)
        return self._permutation[position * self.batch_size : (position + 1) * self.batch_size]


class FixedOrder:
    """All images once, in the order they are stored.

    A last batch of less than half the size shares its images evenly with the batch before, so that each batch has at
    least half of `batch_size` images (if there are that many at all) and no process is left without one. The batches do
    not depend on the number of processes.
    """

    def __init__(self, num_images: int, batch_size: int) -> None:
        starts = list(range(0, num_images, batch_size))
        if len(starts) > 1 and 2 * (num_images - starts[-1]) < batch_size:
            starts[-1] = (starts[-2] + num_images + 1) // 2
        self.bounds = [*starts, num_images]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def smallest(self) -> int:
        """Number of images in the smallest batch."""
        return min((self.rows(n).numel() for n in range(len(self))), default=0)

    def rows(self, n: int) -> Tensor:
        return torch.arange(self.bounds[n], self.bounds[n + 1])


class RankBatches:
    """The rows of one process, batch by batch: rows [rank::world_size] of each global batch.

    One pass gives `len(order)` batches, beginning at batch `start()`, which is asked anew at every pass.
    """

    def __init__(self, order: BatchOrder, start: Callable[[], int], rank: int = 0, world_size: int = 1) -> None:
        self.order = order
        self.start = start
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[list[int]]:
        first = self.start()
        for n in range(first, first + len(self)):
            yield self.order.rows(n)[self.rank :: self.world_size].tolist()


def keyed_split(num_images: int, val_fraction: float) -> tuple[list[int], list[int]]:
    """Indices for training and for validation, both ascending: the same split whatever the seed of a run.

    So a run that starts from another run's weights never validates on images those were trained on.
    """
    num_val = min(max(1, round(val_fraction * num_images)), num_images - 1)
    permutation = torch.randperm(num_images, generator=keyed_generator("cpu", "split", num_images)).tolist()
    return sorted(permutation[num_val:]), sorted(permutation[:num_val])
