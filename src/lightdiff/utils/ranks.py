"""Work shared among the processes of a distributed run; alone, all of it is this process's."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def process() -> tuple[int, int]:
    """Number of this process and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if _together() else (0, 1)


def rank_rows(count: int, rank: int, world_size: int) -> range:
    """The consecutive share of `count` images that a rank works on."""
    return range(count * rank // world_size, count * (rank + 1) // world_size)


def gathered(thing: Any) -> list[Any]:
    """Every rank's `thing`, in order, on every rank."""
    things = [thing]
    if _together():
        things *= dist.get_world_size()
        dist.all_gather_object(things, thing)
    return things


def gather_rows(rows: Tensor) -> Tensor:
    """The ranks' rows one after another, on every rank; ranks may have different numbers of rows."""
    shares = gathered(rows)
    return torch.cat([share for share in shares if len(share)] or shares[:1])


def from_first(thing: Any) -> Any:
    """What rank 0 has, on every rank."""
    things = [thing]
    if _together():
        dist.broadcast_object_list(things)
    return things[0]


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()
