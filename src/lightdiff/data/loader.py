"""Batches for Lightning or a plain `for` loop."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightdiff.data.image_store import DecodingStore, ImageStore
from lightdiff.data.order import RankBatches


def _apart(worker: int) -> None:
    """In a worker: Ctrl-C and a SIGTERM to the whole process group are for the run, which saves and then ends its workers."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()


class BatchLoader:
    """Batches of a store in a given order.

    Images in memory need no worker processes: indexing a batch takes microseconds. Files are read by `num_workers`
    processes. As it is no DataLoader, Lightning puts no distributed sampler in the place of its own sharding.
    """

    def __init__(self, store: ImageStore, batches: RankBatches, num_workers: int = 0) -> None:
        self.store = store
        self.batches = batches
        self._by_workers: DataLoader | None = None
        if num_workers > 0 and isinstance(store, DecodingStore):
            self._by_workers = DataLoader(
                store,
                batch_size=None,  # the order gives whole batches
                sampler=batches,
                num_workers=num_workers,
                persistent_workers=True,
                pin_memory=torch.cuda.is_available(),
                generator=torch.Generator(),  # workers' seeds: not from the global generator
                worker_init_fn=_apart,
            )

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        # the whole body runs at the first `next`: only then is the position in the run asked for
        loaded: Iterable[dict[str, Tensor]] = self._by_workers or (self.store[rows] for rows in self.batches)
        yield from loaded

    def close(self) -> None:
        """End the worker processes; reading on starts new ones.

        Lightning holds loaders in reference cycles. Once the garbage collector takes such a cycle apart, the queue is gone by
        which a worker is told to end, and each of them is waited for in vain for five seconds.
        """
        iterator = getattr(self._by_workers, "_iterator", None)
        if self._by_workers is not None and iterator is not None:
            iterator._shutdown_workers()
            self._by_workers._iterator = None

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the position is the trainer's. It tells Lightning that resuming within an epoch is exact."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass
