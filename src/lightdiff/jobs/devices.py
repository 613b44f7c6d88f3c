"""Read from the trainer's settings whether a run has several processes, who starts them and how long they wait for each other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pytorch_lightning.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy

from lightdiff.config.instantiate import ConfigError
from lightdiff.jobs.processes import take_signals
from lightdiff.utils.ranks import SRUN, in_slurm_job, launcher

# Lightning gives this warning wherever SLURM is installed, even to a user who starts the run without it
warnings.filterwarnings("ignore", message="The `srun` command is available")


def cluster(processes: int) -> list[ClusterEnvironment]:
    """Return the Lightning plugin for who starts so many processes; an empty list lets Lightning find out (torchrun)."""
    if not in_slurm_job():
        return []
    if launcher() is SRUN and processes > 1:
        # last.ckpt and auto_resume already continue a job that SLURM starts again
        return [SLURMEnvironment(auto_requeue=False)]
    # SLURM started a single task: Lightning starts the other processes if the run has several
    return [LightningEnvironment()]


class Ranks(DDPStrategy):
    """DDP that lets signals arrive again once Lightning has started the other ranks; see `lightdiff.jobs.processes`."""

    def setup_environment(self) -> None:
        take_signals()
        super().setup_environment()


def strategy(trainer: Mapping[str, Any], processes: int, timeout: float) -> str | Ranks:
    """Return the trainer's strategy; for DDP one whose processes give up after waiting too long for each other.

    Args:
        trainer: the trainer's settings.
        processes: number of processes of the run.
        timeout: seconds that a process waits, `ddp_timeout` in the configuration.

    Raises:
        ConfigError: `timeout` is not positive.
    """
    name = trainer.get("strategy", "auto")
    if timeout <= 0:
        raise ConfigError(f"ddp_timeout={timeout}: a positive number of seconds is expected")
    if name not in ("auto", "ddp") or processes == 1:
        return name
    return Ranks(timeout=timedelta(seconds=timeout))
