"""Find out which rank this process has among the processes that run a command together, and what has started them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

FIRST_RANK = "LIGHTDIFF_FIRST_RANK"
"""Environment variable with the process id of the rank from which Lightning starts the other ranks of a run."""


@dataclass(frozen=True)
class Launcher:
    """A program that starts the ranks of a command, and the environment variables by which each of them knows its rank.

    Args:
        mark: variable that only processes of this launcher have.
        rank: variable with the rank.
        world_size: variable with the number of ranks.
        local_rank: variable with the rank among those on the same machine.
    """

    mark: str
    rank: str
    world_size: str
    local_rank: str

    def started_this_process(self) -> bool:
        """Return whether the environment of this process is one that the launcher makes."""
        return self.mark in os.environ and self.rank in os.environ


TORCHRUN = Launcher("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_RANK")
LIGHTNING = Launcher(FIRST_RANK, "LOCAL_RANK", "WORLD_SIZE", "LOCAL_RANK")
"""Lightning starts ranks on one machine only."""
SRUN = Launcher("SLURM_STEP_ID", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
"""Only a step of srun counts: SLURM runs a batch script once, however many tasks it may start."""
LAUNCHERS = (TORCHRUN, LIGHTNING, SRUN)
"""All launchers; the first that has started this process decides, because torchrun and Lightning run within tasks of srun."""


def launcher() -> Launcher | None:
    """Return what has started this process as one of several ranks; None for a single process."""
    found = next((each for each in LAUNCHERS if each.started_this_process()), None)
    return found if found is not None and int(os.environ.get(found.world_size, 1)) > 1 else None


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of ranks; (0, 1) for a single process.

    The process group knows them once it is joined; before that the environment does.
    """
    # torch takes seconds to import; where it has not been imported there is no process group
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    started_by = launcher()
    if started_by is None:
        return 0, 1
    return int(os.environ[started_by.rank]), int(os.environ[started_by.world_size])


def local_rank() -> int:
    """Return the rank of this process among those on the same machine; 0 for a single process."""
    started_by = launcher()
    return 0 if started_by is None else int(os.environ[started_by.local_rank])


def become_single() -> None:
    """Count as a single process from now on, after the other ranks have been sent away."""
    for each in LAUNCHERS:
        os.environ.pop(each.mark, None)


def in_slurm_job() -> bool:
    """Return whether SLURM runs this process, as a task of srun or as a batch script."""
    return "SLURM_NTASKS" in os.environ


def rank_rows(count: int, rank: int, world_size: int) -> range:
    """Return the images, out of 0, ..., count - 1, that a rank works on. The shares are consecutive and differ by at most one."""
    return range(count * rank // world_size, count * (rank + 1) // world_size)
