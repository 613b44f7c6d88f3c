"""Load batches for Lightning or for a plain `for` loop."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightdiff.data.image_store import DecodingStore, ImageStore
from lightdiff.data.order import RankBatches


def _leave_process_group(worker: int) -> None:
    """Keep signals to the run's process group (Ctrl-C, SIGTERM) from this worker: the run saves first, then ends its workers."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()


class BatchLoader:
    """Batches of a store in a given order.

    Images in memory need no worker processes, because indexing a batch takes microseconds; files are read by `num_workers`
    processes. As this class is no DataLoader, Lightning leaves its order alone and adds no distributed sampler.

    Args:
        store: the images.
        batches: rows of this process in each batch.
        num_workers: processes that read files; ignored for images in memory.
    """

    def __init__(self, store: ImageStore, batches: RankBatches, num_workers: int = 0) -> None:
        self.store = store
        self.batches = batches
        self._by_workers: DataLoader | None = None
        if num_workers > 0 and isinstance(store, DecodingStore):
            self._by_workers = DataLoader(
                store,
                # the order gives whole batches
                batch_size=None,
                sampler=batches,
                num_workers=num_workers,
                persistent_workers=True,
                pin_memory=torch.cuda.is_available(),
                # the workers' seeds must not be drawn from the global generator
                generator=torch.Generator(),
                worker_init_fn=_leave_process_group,
            )

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        # as this is a generator, the position in the run is read at the first `next`, not when the iterator is made
        loaded: Iterable[dict[str, Tensor]] = self._by_workers or (self.store[rows] for rows in self.batches)
        yield from loaded

    def close(self) -> None:
        """End the worker processes; the next iteration starts new ones.

        Without this, each worker would be waited for in vain for five seconds: Lightning holds loaders in reference cycles, and
        when the garbage collector takes a cycle apart, the queue that tells workers to end may be gone before they are.
        """
        iterator = getattr(self._by_workers, "_iterator", None)
        if self._by_workers is not None and iterator is not None:
            iterator._shutdown_workers()
            self._by_workers._iterator = None

    def state_dict(self) -> dict[str, Any]:
        """Return nothing, as the trainer keeps the position; the method tells Lightning that resuming within an epoch works."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing; see `state_dict`."""
