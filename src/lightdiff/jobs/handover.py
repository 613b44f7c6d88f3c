"""Hand the job of rank 0 to the other ranks that torchrun or srun has started.

Rank 0 composes the configuration and claims the run's folder, which the other ranks do not know. The job goes through the
store and not through a process group: how long the ranks of a group wait for each other and on which devices they talk are
settings of the job, and a group that is joined cannot be changed. A group of gloo would also need the name of the network
interface between two hosts, while the store needs an address only.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightdiff.jobs.process_group import PATIENCE, store
from lightdiff.utils.ranks import become_single, rank_and_world_size

_sent = False


@contextlib.contextmanager
def releasing_ranks() -> Iterator[None]:
    """While rank 0 decides: if no job has been sent on exit, release the waiting ranks."""
    try:
        yield
    finally:
        if not _sent:
            release_ranks()


def release_ranks() -> None:
    """Let all other ranks end, for which there is no job (called by rank 0, which is a single process from then on)."""
    _send(None)
    become_single()


def send_job(folder: Path, config: dict[str, Any]) -> None:
    """Send the job to all other ranks and wait until each has received it (called by rank 0).

    Args:
        folder: the run's folder.
        config: its configuration.
    """
    global _sent
    _sent = True
    _send({"folder": str(folder), "config": config})


def receive_job() -> tuple[Path, dict[str, Any]] | None:
    """Wait for the job of rank 0 and return its folder and configuration; None where there is no job."""
    job = json.loads(store().get("job"))
    store().set(f"received/{rank_and_world_size()[0]}", "")
    return None if job is None else (Path(job["folder"]), job["config"])


def _send(job: dict[str, Any] | None) -> None:
    _, world_size = rank_and_world_size()
    if world_size > 1:
        store().set("job", json.dumps(job))
        # the store ends with this process, so it must not end before all have read it
        store().wait([f"received/{rank}" for rank in range(1, world_size)], PATIENCE)
