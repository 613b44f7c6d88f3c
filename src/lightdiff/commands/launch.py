"""Start the job of a composed configuration: in this process for one device, in new processes for several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lightdiff.commands.messages import ASKED, FULL_ERROR
from lightdiff.config.instantiate import ConfigError, suggest
from lightdiff.config.names import foreign_names
from lightdiff.config.plain import plain
from lightdiff.config.settings import TrainSettings, check_known, check_settings
from lightdiff.config.speed import needs_processes
from lightdiff.jobs.handover import release_ranks, send_job
from lightdiff.jobs.processes import end_with_parent
from lightdiff.jobs.run_config import CONFIG, write_config
from lightdiff.jobs.run_folder import alone_in, discard_if_untrained, same_run
from lightdiff.jobs.run_result import finished, read_result
from lightdiff.utils.files import shown
from lightdiff.utils.interruption import EXIT_CODES
from lightdiff.utils.program import restart, way_on
from lightdiff.utils.ranks import LIGHTNING, TORCHRUN, launcher


class JobFailed(RuntimeError):
    """Error of a job in another process, which has printed what went wrong."""


def launch(cfg: DictConfig) -> float | None:
    """Write the run folder's config.yaml, run the job, and return the metric that a sweep optimises."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    if (folder / CONFIG).exists():  # only with a hydra.run.dir of one's own
        raise ConfigError(f"hydra.run.dir={folder}: there is a run in this folder; {way_on(folder)}")
    try:
        config = plain(cfg)
        check_known(config, "train")
        if config.get("resume") is not None:  # in an experiment, or as +resume=...: it would start afresh
            raise ConfigError(f"resume={config['resume']}: must stand on the command line, as resume=...")
        settings = check_settings(config)
        former = same_run(folder.parent, config) if config.get("auto_resume") else None
    except Exception:
        discard_if_untrained(folder, refused=True)
        raise
    alone = hydra_config.mode == RunMode.RUN
    if not alone and launcher() is TORCHRUN:
        discard_if_untrained(folder, refused=True)
        raise ConfigError("-m: a sweep starts the processes of each job itself; leave torchrun away")
    if former is None:
        return start_job(config, folder, settings, replace=alone)
    discard_if_untrained(folder, refused=True)
    reached = finished(former, config)
    if reached:
        print(f"{shown(former)}: this run is finished ({reached})", flush=True)
        return _metric(config, read_result(former) or {})
    print(f"auto_resume: going on with {shown(former)}", flush=True)
    return start_job(config, former, settings, replace=alone)


def start_job(config: dict[str, Any], folder: Path, settings: TrainSettings, *, replace: bool) -> float | None:
    """Write the folder's config.yaml and run its job.

    Args:
        config: its configuration, which becomes config.yaml. For a resumed run that happens once all of it has been accepted.
        folder: the run's folder.
        settings: what `check_settings` has returned for the configuration.
        replace: with several devices, become the job's process instead of waiting for it.
    """
    several = needs_processes(config["trainer"])
    if launcher() is TORCHRUN and not several:
        raise ConfigError(
            f"trainer.devices={config['trainer'].get('devices')}: torchrun has started more processes than that; "
            "say how many a machine has, and trainer.num_nodes=... machines"
        )
    if launcher() is not None or not several:
        from lightdiff.jobs.train import run_job

        if several:
            send_job(folder, config)
        else:
            release_ranks()
        return _metric(config, run_job(folder, config, settings))
    with alone_in(folder):
        if (folder / CONFIG).is_file() or not replace:
            from lightdiff.jobs.train import check_job

            check_job(folder, config, settings)
        write_config(folder, config)
    # Lightning starts its other processes by repeating the command line, so this must be the job's and not Hydra's
    names = sorted({*foreign_names(config).values()})
    command = [*restart("train"), "--job", str(folder), *names]
    environment = {name: value for name, value in os.environ.items() if name != LIGHTNING.rank}
    environment[FULL_ERROR] = environment.pop(ASKED, environment.get(FULL_ERROR, "0"))
    if replace:
        sys.stdout.flush()
        os.execve(sys.executable, command, environment)
    # a session of its own, so that Ctrl-C in a terminal reaches only this process, which passes it on once
    child = subprocess.Popen(command, env=environment, preexec_fn=end_with_parent, start_new_session=True)
    code = _wait(child)
    if code in EXIT_CODES:
        raise SystemExit(code)
    if code == 2:
        raise ConfigError(f"{folder.name}: see the message above")
    if code != 0:
        raise JobFailed(f"{folder}: the job ended with exit code {code}; see the messages above")
    return _metric(config, read_result(folder) or {})


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for the child and return its exit code; pass interruptions on to it, so that it saves and ends."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
        except SystemExit as error:
            child.send_signal(error.code - 128 if error.code in EXIT_CODES else signal.SIGTERM)  # type: ignore[operator]


def _metric(config: dict[str, Any], result: dict[str, Any]) -> float | None:
    """Return the metric that a sweep optimises; None, with a line if a sweeper waits for it, where it was not measured."""
    name, metrics = config.get("optimized_metric"), result.get("metrics", {})
    if name in metrics:
        return float(metrics[name])
    if name is not None and _is_optimised():
        print(f"optimized_metric={name}: no such metric; {suggest(name, metrics)}", file=sys.stderr)
    return None


def _is_optimised() -> bool:
    """Return whether this job belongs to a sweep that optimises; Hydra's basic sweeper tries all combinations instead."""
    if not HydraConfig.initialized():
        return False
    hydra_config = HydraConfig.get()
    return hydra_config.mode == RunMode.MULTIRUN and not hydra_config.sweeper._target_.endswith(".BasicSweeper")
