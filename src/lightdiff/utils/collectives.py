"""Collective operations of the process group: all ranks must call them, and a single process gets back what it gives."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lightdiff.utils.ranks import rank_and_world_size


def gathered(thing: Any) -> list[Any]:
    """Return the list of every rank's `thing`, in the order of ranks."""
    _, world_size = rank_and_world_size()
    things = [thing] * world_size
    if world_size > 1:
        dist.all_gather_object(things, thing)
    return things


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate every rank's rows, in the order of ranks, which may have different numbers of rows."""
    shares = gathered(rows)
    return torch.cat([share for share in shares if len(share)] or shares[:1])


def from_first(thing: Any) -> Any:
    """Return rank 0's `thing` on every rank."""
    things = [thing]
    if rank_and_world_size()[1] > 1:
        dist.broadcast_object_list(things)
    return things[0]
