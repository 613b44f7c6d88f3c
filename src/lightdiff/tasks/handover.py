"""Hand the job of rank 0 to the other ranks that torchrun or SLURM has started.

Rank 0 composes the configuration and claims the run's folder. The other ranks do not know that folder yet, so rank 0 sends it
over a socket.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

PATIENCE = timedelta(minutes=10)
"""How long the other ranks wait for the job, and rank 0 for their arrival."""

_sent = False


def starter() -> str | None:
    """Return what started this process as one of several ranks: "torchrun", "slurm", or None for a single process."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return "torchrun" if int(os.environ["WORLD_SIZE"]) > 1 else None
    # only a step of srun counts: a batch script runs once, however many tasks it may start
    return "slurm" if "SLURM_STEP_ID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1 else None


def rank_and_world_size() -> tuple[int, int]:
    """Return this process's rank and the number of ranks; (0, 1) for a single process."""
    names = {"torchrun": ("RANK", "WORLD_SIZE"), "slurm": ("SLURM_PROCID", "SLURM_NTASKS")}.get(starter() or "")
    return (int(os.environ[names[0]]), int(os.environ[names[1]])) if names else (0, 1)


@contextlib.contextmanager
def releasing_ranks() -> Iterator[None]:
    """While rank 0 decides: if no job has been sent on exit, release the waiting ranks, which then end as well."""
    try:
        yield
    finally:
        if not _sent:
            send_job(None, None)


def send_job(folder: Path | None, config: dict[str, Any] | None) -> None:
    """Send the job to all other ranks and wait until each has received it (called by rank 0).

    Args:
        folder: the run's folder; None: there is no job, and the other ranks end.
        config: its configuration.
    """
    global _sent
    _, world_size = rank_and_world_size()
    if world_size == 1 or _sent:
        return
    _sent = True
    key, store = _shared_store()
    store.set(key, json.dumps(None if folder is None else {"folder": str(folder), "config": config}))
    # the store ends with this process, so it must not end before all have read it
    store.wait([f"{key}/{rank}" for rank in range(1, world_size)], PATIENCE)


def receive_job() -> tuple[Path, dict[str, Any]] | None:
    """Wait for the job of rank 0 and return its folder and configuration; None where there is no job."""
    key, store = _shared_store()
    job = json.loads(store.get(key))
    store.set(f"{key}/{rank_and_world_size()[0]}", "received")
    return None if job is None else (Path(job["folder"]), job["config"])


def _shared_store() -> tuple[str, Any]:
    """Return the store that all ranks reach, and the key under which the job lies in it."""
    from torch.distributed import TCPStore

    first = rank_and_world_size()[0] == 0
    if starter() == "torchrun":
        # the agent of torchrun may keep a store on the master port already
        agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]) + (not agent)
        key = f"lightdiff/{os.environ['TORCHELASTIC_RESTART_COUNT']}"
        return key, TCPStore(host, port, is_master=first and not agent, timeout=PATIENCE)
    from pytorch_lightning.plugins.environments import SLURMEnvironment

    slurm = SLURMEnvironment(auto_requeue=False)
    # another port than the one on which the training itself meets
    return "lightdiff", TCPStore(slurm.main_address, slurm.main_port - 5000, is_master=first, timeout=PATIENCE)
