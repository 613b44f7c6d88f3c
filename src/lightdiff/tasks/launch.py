"""From a composed configuration to a running job: in this process for one device, in fresh ones for several."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lightdiff.tasks.build import plain
from lightdiff.tasks.run_folder import write_config
from lightdiff.utils.config import ConfigError


class JobFailed(RuntimeError):
    """A job in another process ended with an error, which that process has explained."""


def launch(cfg: DictConfig, script: Path) -> float | None:
    """Write the folder's config.yaml, run the job, return the metric that a sweep optimises."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    config = plain(cfg)
    write_config(folder, config)
    return start_job(config, folder, script, replace=hydra_config.mode == RunMode.RUN)


def start_job(config: dict[str, Any], folder: Path, script: Path, *, replace: bool) -> float | None:
    """Run the job of a folder.

    Args:
        config: its configuration.
        folder: the run's folder, with config.yaml in it.
        script: train.py.
        replace: several devices: become that job instead of waiting for it (nothing comes after it).
    """
    if not needs_processes(config["trainer"]):
        from lightdiff.tasks.train import run_job

        return _metric(config, run_job(folder))
    # Lightning starts its other processes by repeating the command line: it must be the job's, not Hydra's
    command = [sys.executable, str(script), "--job", str(folder)]
    environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "HYDRA_FULL_ERROR")}
    if replace:
        sys.stdout.flush()
        os.execve(sys.executable, command, environment)
    child = subprocess.Popen(command, env=environment, preexec_fn=_end_with_parent)
    try:
        code = child.wait()
    except BaseException:
        child.send_signal(signal.SIGINT)
        child.wait()
        raise
    if code in (130, 143):
        raise SystemExit(code)
    if code == 2:
        raise ConfigError(f"{folder.name}: see the message above")
    if code != 0:
        raise JobFailed(f"{folder}: the job ended with exit code {code}; see the messages above")
    return _metric(config, json.loads((folder / "result.json").read_text()))


def needs_processes(trainer: dict[str, Any]) -> bool:
    """Whether the trainer's devices and nodes mean more than one process."""
    devices = trainer.get("devices", 1)
    if trainer.get("num_nodes", 1) > 1:
        return True
    if isinstance(devices, list):
        return len(devices) > 1
    if str(devices) in ("auto", "-1"):
        import torch

        return trainer.get("accelerator") != "cpu" and torch.cuda.device_count() > 1
    return str(devices).strip() not in ("1", "0")


def _metric(config: dict[str, Any], result: dict[str, Any]) -> float | None:
    name = config.get("optimized_metric")
    value = result.get("metrics", {}).get(name)
    return None if value is None else float(value)


def _end_with_parent() -> None:
    """In the child: be told (SIGTERM) when the parent dies, so that a killed sweep leaves no process behind. Linux."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
