"""Run the jobs of a sweep with the launcher joblib, each in a process of its own.

The launcher's own pool of processes ends with all its jobs when one of its processes is killed, by the system for want of memory
or by hand.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, setup_globals

from lightdiff.commands.sweep import keep_lost_job

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables with the number of threads of a job. Where they are not set, the jobs share the cores."""


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
    """Run all jobs, as `JoblibLauncher.launch` does, `hydra.launcher.n_jobs` of them at a time.

    A job whose process is killed counts as failed, and the others run on. Where this process is interrupted, the jobs that run
    are asked to save and end, and are waited for.

    Args:
        launcher: the launcher, set up by Hydra.
        job_overrides: the overrides of each job.
        initial_job_idx: number of the first job.
    """
    from hydra_plugins.hydra_joblib_launcher._core import execute_job
    from joblib import cpu_count, effective_n_jobs
    from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

    setup_globals()
    folder = Path(str(launcher.config.hydra.sweep.dir)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    at_once = effective_n_jobs(launcher.joblib["n_jobs"])
    threads = str(max(cpu_count() // at_once, 1))
    environment = {name: os.environ.get(name, threads) for name in THREADS}
    state = Singleton.get_state()
    running: set[ProcessPoolExecutor] = set()

    def run(number: int, overrides: Sequence[str]) -> JobReturn:
        process = ProcessPoolExecutor(max_workers=1, env=environment)
        running.add(process)
        try:
            parts = (launcher.hydra_context, launcher.config, launcher.task_function, state)
            result: JobReturn = process.submit(execute_job, number, overrides, *parts).result()
            return result
        except TerminatedWorkerError as error:
            # loky gives the reason only as text: "... exit codes of the workers are {SIGKILL(-9)}"
            reason = re.search(r"\{(\w+)", str(error))
            keep_lost_job(folder, overrides, f"its process was killed ({reason[1] if reason else 'unknown'})")
            return JobReturn(status=JobStatus.COMPLETED)
        finally:
            running.discard(process)
            process.shutdown()

    with ThreadPoolExecutor(at_once) as waiting:
        jobs = [
            waiting.submit(run, number, overrides) for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        try:
            return [job.result() for job in jobs]
        except BaseException:
            for job in jobs:
                job.cancel()
            for process in [*running]:
                for pid in [*process._processes]:
                    os.kill(pid, signal.SIGTERM)
            raise


def own_processes() -> None:
    """Let Hydra's launcher joblib use `launch` from now on."""
    from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher

    JoblibLauncher.launch = launch
