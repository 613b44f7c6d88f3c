"""Decide which images make up batch n, as a function of n, the seed and the sizes only.

A run that stops anywhere therefore continues with exactly the batch that it would have seen, and P processes, each of which
takes every P-th row of the global batch, see together the images that one process would see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from lightdiff.core.randomness import keyed_generator


class BatchOrder(Protocol):
    """Numbered global batches.

    `len` of them show every image once; in training the images left over that fill no batch may be missing.
    """

    def __len__(self) -> int: ...

    def rows(self, n: int) -> Tensor:
        """Return the indices, int64 (B,), of the images in global batch n = 0, 1, ..."""
        ...


class TrainOrder:
    """Endless order that shuffles the images anew in every data epoch.

    Args:
        num_images: number of images.
        batch_size: images in a global batch.
        seed: together with the data epoch n // len, the key of the permutation.
        drop_last: whether the images left over that fill no batch skip the epoch. Otherwise they are its last, smaller batch.

    Raises:
        ValueError: there are fewer images than `batch_size`, so that without the last batch there is none.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int, drop_last: bool = True) -> None:
        if drop_last and batch_size > num_images:
            raise ValueError(
                f"batch_size={batch_size}: there are only {num_images} training images; use a batch_size of at most "
                f"{num_images}, or null, which chooses one, or drop_last=false"
            )
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.left_over = 0 if drop_last else num_images % batch_size
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return self.num_images // self.batch_size + (self.left_over > 0)

    def check_shares(self, world_size: int) -> None:
        """Check that processes can share each batch evenly.

        Raises:
            ValueError: they cannot. The message names the nearest sizes that fit.
        """
        if self.batch_size % world_size:
            lower = self.batch_size - self.batch_size % world_size
            nearest = " or ".join(str(size) for size in (lower, lower + world_size) if size)
            raise ValueError(
                f"batch_size={self.batch_size}: not divisible by {world_size} processes; nearest: {nearest}"
            )
        if self.left_over % world_size:
            raise ValueError(
                f"drop_last=false: the last batch of an epoch has {self.left_over} of the {self.num_images} training images, "
                f"not divisible by {world_size} processes; use drop_last=true or another batch_size"
            )

    def images_before(self, n: int) -> int:
        """Return the number of images in the global batches 0, ..., n - 1."""
        short = n // len(self) if self.left_over else 0
        return n * self.batch_size - short * (self.batch_size - self.left_over)

    def rows(self, n: int) -> Tensor:
        epoch, position = divmod(n, len(self))
        if epoch != self._epoch:
            generator = keyed_generator("cpu", "order", self.seed, epoch)
            self._epoch, self._permutation = epoch, torch.randperm(self.num_images, generator=generator)
        return self._permutation[position * self.batch_size : (position + 1) * self.batch_size]


class FixedOrder:
    """Order that shows all images once, as they are stored.

    If the last batch would be less than half full, it shares its images evenly with the batch before. Each batch then has at
    least half of `batch_size` images (if there are that many at all), so that no process is left without an image. The
    batches do not depend on the number of processes.

    Args:
        num_images: number of images.
        batch_size: images in a global batch, except for the last one or two.
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
    """The rows of one process in each batch: rows [rank::world_size] of the global batch, as a list of indices.

    One pass yields `len(order)` batches.

    Args:
        order: the global batches.
        start: returns the number of the batch at which a pass begins; called at the beginning of each pass.
        rank, world_size: number of this process, and how many there are.
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
    """Split images at random into training and validation, in the same way whatever the seed of a run.

    A run that starts from another run's weights therefore never validates on images on which these were trained.

    Args:
        num_images: number of images, at least 2.
        val_fraction: share of the images to validate on; each part gets at least one image.

    Returns:
        Indices for training and indices for validation, both ascending.
    """
    num_val = min(max(1, round(val_fraction * num_images)), num_images - 1)
    permutation = torch.randperm(num_images, generator=keyed_generator("cpu", "split", num_images)).tolist()
    return sorted(permutation[num_val:]), sorted(permutation[:num_val])
