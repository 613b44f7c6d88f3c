"""Connect the ranks of a command: one store at the address that their launcher names, and a process group that meets in it."""

from __future__ import annotations

import atexit
import os
from datetime import timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING

from lightdiff.utils.ranks import SRUN, launcher, local_rank, rank_and_world_size

if TYPE_CHECKING:
    from torch.distributed import Store

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others."""
TOGETHER = timedelta(seconds=10)
"""How long a rank that has failed waits for the others to fail as well."""

_failures = count()


@cache
def store() -> Store:
    """Return the store that all ranks share; made once, because it lies in rank 0 and must last as long as that process.

    `init_process_group` uses the same address later, and the server that is there already.
    """
    from torch.distributed import PrefixStore, rendezvous

    if launcher() is SRUN:
        from pytorch_lightning.plugins.environments import SLURMEnvironment

        slurm = SLURMEnvironment(auto_requeue=False)
        os.environ.update(MASTER_ADDR=slurm.main_address, MASTER_PORT=str(slurm.main_port))
    rank, world_size = rank_and_world_size()
    shared, _, _ = next(rendezvous("env://", rank, world_size, timeout=PATIENCE))
    # torchrun keeps the store when it starts failed ranks again
    return PrefixStore(f"lightdiff/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", shared)


def join_process_group() -> None:
    """Join the process group of all ranks, unless this process is in one or is a single process; it is left when Python ends.

    A group cannot be joined a second time: the addresses of the first one would be found in the store of torchrun.
    """
    import torch.distributed as dist
    from torch.cuda import is_available, set_device

    rank, world_size = rank_and_world_size()
    if world_size == 1 or dist.is_initialized():
        return
    if is_available():
        set_device(local_rank())
    backend = "nccl" if is_available() else "gloo"
    dist.init_process_group(backend, store=store(), rank=rank, world_size=world_size)
    atexit.register(dist.destroy_process_group)


def failed_on_all_ranks() -> bool:
    """Return, on a rank whose job has failed, whether it fails on all ranks, so that they can begin the next job together.

    Where only some ranks fail the others may be waiting for them in the middle of the job, and the failed ones must end.
    """
    rank, world_size = rank_and_world_size()
    if world_size == 1:
        return True
    failure = next(_failures)
    keys = [f"failed/{failure}/{each}" for each in range(world_size)]
    try:
        store().set(keys[rank], "")
        store().wait(keys, TOGETHER)
    except RuntimeError:
        # torch's error for a key that has not come in time, and for a store that is gone
        return False
    return True
