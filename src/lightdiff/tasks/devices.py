"""Read from the trainer's settings whether a run has several processes, who starts them and how long they wait for each other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
from pytorch_lightning.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy

from lightdiff.tasks.processes import take_signals
from lightdiff.tasks.speed import AS_SET, Choice
from lightdiff.utils.config import ConfigError
from lightdiff.utils.ranks import SRUN, in_slurm_job, launcher

# Lightning gives this warning wherever SLURM is installed, even to a user who starts the run without it
warnings.filterwarnings("ignore", message="The `srun` command is available")


def needs_processes(trainer: Mapping[str, Any]) -> bool:
    """Return whether `devices` and `num_nodes` of the trainer's settings ask for more than one process."""
    return number_of_processes(trainer).value > 1


def number_of_processes(trainer: Mapping[str, Any]) -> Choice:
    """Choose the number of processes, one for each of `devices` on each of `num_nodes` machines.

    Text that names no devices counts as one, and is left to Lightning to refuse.
    """
    devices, nodes = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    if str(devices) in ("auto", "-1"):
        found = 1 if trainer.get("accelerator") == "cpu" else max(1, torch.cuda.device_count())
        return Choice(nodes * found, f"{found} found on each of {nodes} machines")
    each = len(devices) if isinstance(devices, list) else _named(str(devices))
    return Choice(nodes * each, AS_SET)


def _named(devices: str) -> int:
    """Return how many devices are meant by text: "2" is a number of them, "0,3" is a list."""
    text = devices.strip()
    return max(1, int(text) if text.isdecimal() else len([part for part in text.split(",") if part.strip()]))


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
    """DDP that lets signals arrive again once Lightning has started the other ranks; see `lightdiff.tasks.processes`."""

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
