"""Read from the trainer's settings whether a run has several processes, who starts them and how long they wait for each other."""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import Any

import torch
from pytorch_lightning.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy

from lightdiff.tasks.processes import take_signals
from lightdiff.utils.config import ConfigError
from lightdiff.utils.ranks import SRUN, in_slurm_job, launcher

# Lightning gives this warning wherever SLURM is installed, even to a user who starts the run without it
warnings.filterwarnings("ignore", message="The `srun` command is available")


def needs_processes(trainer: dict[str, Any]) -> bool:
    """Return whether `devices` and `num_nodes` of the trainer's settings ask for more than one process."""
    devices = trainer.get("devices", 1)
    if trainer.get("num_nodes", 1) > 1:
        return True
    if isinstance(devices, list):
        return len(devices) > 1
    if str(devices) in ("auto", "-1"):
        return trainer.get("accelerator") != "cpu" and torch.cuda.device_count() > 1
    return str(devices).strip() not in ("1", "0")


def cluster(trainer: dict[str, Any]) -> list[ClusterEnvironment]:
    """Return the Lightning plugin for who starts the processes; an empty list lets Lightning find out (torchrun)."""
    if not in_slurm_job():
        return []
    if launcher() is SRUN and needs_processes(trainer):
        # last.ckpt and auto_resume already continue a job that SLURM starts again
        return [SLURMEnvironment(auto_requeue=False)]
    # SLURM started a single task: Lightning starts the other processes if the run has several
    return [LightningEnvironment()]


class Ranks(DDPStrategy):
    """DDP that lets signals arrive again once Lightning has started the other ranks; see `lightdiff.tasks.processes`."""

    def setup_environment(self) -> None:
        take_signals()
        super().setup_environment()


def strategy(trainer: dict[str, Any], timeout: float) -> str | Ranks:
    """Return the trainer's strategy; for DDP one whose processes give up after waiting too long for each other.

    Args:
        trainer: the trainer's settings.
        timeout: seconds that a process waits, `ddp_timeout` in the configuration.

    Raises:
        ConfigError: `timeout` is not positive.
    """
    name = trainer.get("strategy", "auto")
    if timeout <= 0:
        raise ConfigError(f"ddp_timeout={timeout}: a positive number of seconds is expected")
    if name not in ("auto", "ddp") or not needs_processes(trainer):
        return name
    return Ranks(timeout=timedelta(seconds=timeout))
