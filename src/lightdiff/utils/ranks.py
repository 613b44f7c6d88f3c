"""Helpers that share work among the processes of a distributed run.

The number of a process is its rank. Without torch.distributed there is one process, with the rank 0, and each helper returns what
that process has.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def process() -> tuple[int, int]:
    """Return the rank of this process and the number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if _is_distributed() else (0, 1)


def rank_rows(count: int, rank: int, world_size: int) -> range:
    """Return the images, out of 0, ..., count - 1, that a rank works on. The shares are consecutive and differ by at most one."""
    return range(count * rank // world_size, count * (rank + 1) // world_size)


def gathered(thing: Any) -> list[Any]:
    """Return the list of every rank's `thing`, in the order of ranks. All ranks must call this, and all get the list."""
    things = [thing]
    if _is_distributed():
        things *= dist.get_world_size()
        dist.all_gather_object(things, thing)
    return things


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate every rank's rows, in the order of ranks. All ranks must call this, and may have different numbers of rows."""
    shares = gathered(rows)
    return torch.cat([share for share in shares if len(share)] or shares[:1])


def from_first(thing: Any) -> Any:
    """Return rank 0's `thing` on every rank. All ranks must call this."""
    things = [thing]
    if _is_distributed():
        dist.broadcast_object_list(things)
    return things[0]


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()
