"""What the trainer's devices and machines mean: whether there are several processes, who starts them, how long they wait."""

from __future__ import annotations

import os
import warnings
from datetime import timedelta
from typing import Any

import torch
from pytorch_lightning.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy

from lightdiff.tasks.handover import starter
from lightdiff.tasks.processes import take_signals
from lightdiff.utils.config import ConfigError

warnings.filterwarnings("ignore", message="The `srun` command is available")  # it need not be used


def needs_processes(trainer: dict[str, Any]) -> bool:
    """Whether the trainer's devices and nodes mean more than one process."""
    devices = trainer.get("devices", 1)
    if trainer.get("num_nodes", 1) > 1:
        return True
    if isinstance(devices, list):
        return len(devices) > 1
    if str(devices) in ("auto", "-1"):
        return trainer.get("accelerator") != "cpu" and torch.cuda.device_count() > 1
    return str(devices).strip() not in ("1", "0")


def cluster(trainer: dict[str, Any]) -> list[ClusterEnvironment]:
    """The plugin that tells Lightning who starts its processes; none: it finds out (torchrun)."""
    if "SLURM_NTASKS" not in os.environ:
        return []
    if starter() == "slurm" and needs_processes(trainer):
        return [SLURMEnvironment(auto_requeue=False)]  # last.ckpt and auto_resume do that
    return [LightningEnvironment()]  # one task, which starts its own processes where it needs several


class Ranks(DDPStrategy):
    """DDP in front of whose `fit` signals are held; the other ranks, if any were to be started, have been."""

    def setup_environment(self) -> None:
        take_signals()
        super().setup_environment()


def strategy(trainer: dict[str, Any], timeout: float) -> str | Ranks:
    """The strategy by its name, or DDP with a bound on the seconds that a process waits for the others.

    Raises:
        ConfigError: no positive timeout.
    """
    name = trainer.get("strategy", "auto")
    if timeout <= 0:
        raise ConfigError(f"ddp_timeout={timeout}: a positive number of seconds is expected")
    if name not in ("auto", "ddp") or not needs_processes(trainer):
        return name
    return Ranks(timeout=timedelta(seconds=timeout))
