"""Processes that torchrun or SLURM has started for one job: the first one decides what to train, the others follow.

They have no folder in common yet when they start, so the word goes over a socket.
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
"""How long the others wait for the first one's word, and it for their arrival."""

_told = False


def starter() -> str | None:
    """Who has started this process beside others: "torchrun", "slurm" or None."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return "torchrun" if int(os.environ["WORLD_SIZE"]) > 1 else None
    # in a step of srun; a batch script itself is alone, however many tasks it may start
    return "slurm" if "SLURM_STEP_ID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1 else None


def place() -> tuple[int, int]:
    """Number of this process and how many there are; (0, 1) alone."""
    names = {"torchrun": ("RANK", "WORLD_SIZE"), "slurm": ("SLURM_PROCID", "SLURM_NTASKS")}.get(starter() or "")
    return (int(os.environ[names[0]]), int(os.environ[names[1]])) if names else (0, 1)


@contextlib.contextmanager
def deciding() -> Iterator[None]:
    """Around what ends in a job or in none: in the latter case the others are told so and end as well."""
    try:
        yield
    finally:
        if not _told:
            tell(None, None)


def tell(folder: Path | None, config: dict[str, Any] | None) -> None:
    """First process: hand the job to the others, once they are there; None: there is nothing for them to do."""
    global _told
    if place()[1] == 1 or _told:
        return
    _told = True
    key, store = _meeting()
    store.set(key, json.dumps(None if folder is None else {"folder": str(folder), "config": config}))
    store.wait([f"{key}/{rank}" for rank in range(1, place()[1])], PATIENCE)  # it would be gone with this process


def told() -> tuple[Path, dict[str, Any]] | None:
    """Other processes: the job's folder and configuration, once the first one knows; None where there is nothing to do."""
    key, store = _meeting()
    word = json.loads(store.get(key))
    store.set(f"{key}/{place()[0]}", "heard")
    return None if word is None else (Path(word["folder"]), word["config"])


def _meeting() -> tuple[str, Any]:
    """The key and the store in which the word is left."""
    from torch.distributed import TCPStore

    first = place()[0] == 0
    if starter() == "torchrun":
        agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # it keeps a store on that port already
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]) + (not agent)
        key = f"lightdiff/{os.environ['TORCHELASTIC_RESTART_COUNT']}"
        return key, TCPStore(host, port, is_master=first and not agent, timeout=PATIENCE)
    from pytorch_lightning.plugins.environments import SLURMEnvironment

    slurm = SLURMEnvironment(auto_requeue=False)
    # beside the port on which the training itself meets
    return "lightdiff", TCPStore(slurm.main_address, slurm.main_port - 5000, is_master=first, timeout=PATIENCE)
