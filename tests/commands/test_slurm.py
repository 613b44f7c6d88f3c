"""`launcher=slurm` on a real SLURM of this machine."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

import slurm
from runs import ROOT, TINY, differences, last, scalars, tiny, train
from waiting import PATIENCE, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(slurm.missing() is not None, reason=slurm.missing() or ""),
]


def _run_of(sweep: Path, log_dir: Path) -> tuple[str, Path] | None:
    """SLURM's number and the run folder of a job of one process that has just saved a checkpoint."""
    for log in sweep.glob("*/.submitit/*/*_0_log.out"):
        folder_line = re.search(r"run folder: (\S+)", log.read_text())
        job = log.parent.name
        if folder_line is None:
            continue
        folder = log_dir.parent / folder_line.group(1)
        config = folder / "config.yaml"
        if (folder / "checkpoints" / "last.ckpt").is_file() and yaml.safe_load(config.read_text())["trainer"][
            "devices"
        ] == 1:
            return job, folder
    return None


LONGER = ("trainer.max_epochs=6", "callbacks.checkpoints.every_n_steps=2", "trainer.enable_model_summary=false")


@contextlib.contextmanager
def sweep_in(
    folder: Path, environment: dict[str, str], *swept: str
) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """A sweep on SLURM, with the number and the run folder of a job of one process that has saved a checkpoint."""
    sweep = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "-m", "launcher=slurm", *TINY, *LONGER, *swept],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log_dir = folder / "lightning_logs"
    try:
        assert until(lambda: _run_of(log_dir / ".sweeps", log_dir), sweep), sweep.communicate()[0]
        yield sweep, *_run_of(log_dir / ".sweeps", log_dir)
    finally:
        sweep.kill()


def said(folder: Path, job: str) -> str:
    """What all starts of this job have printed."""
    logs = (folder / "lightning_logs" / ".sweeps").glob(f"*/.submitit/{job}/*_0_log.*")
    return "".join(log.read_text() for log in logs)


def as_if_nothing_had_been(run: Path, whole: Path, *overrides: str) -> None:
    """The run ends as one that was never stopped, with no point of its curves twice."""
    torch.set_num_threads(1)  # as those of the job
    uninterrupted = train(tiny(*LONGER, *overrides), whole / "version_0")
    for part in ("state_dict", "optimizer_states"):
        assert differences(uninterrupted[part], last(run)[part], part) == []
    for points in scalars(run).values():
        assert len({step for step, _ in points}) == len(points)


def test_sweep_of_slurm_jobs_one_of_them_queued_again(tmp_path: Path) -> None:
    """Four jobs, two of them of two processes; one is stopped by SLURM, queued again, and ends as if nothing had been."""
    swept = ("seed=1,2", "trainer.devices=1,2", "hydra.launcher.tasks_per_node=2", "hydra.launcher.array_parallelism=2")
    with (
        slurm.cluster(tmp_path / "slurm") as environment,
        sweep_in(tmp_path, environment, *swept) as (sweep, job, folder),
    ):
        again = subprocess.run(["scontrol", "requeue", job], env=environment, capture_output=True, text=True)
        assert again.returncode == 0, again.stderr
        output, _ = sweep.communicate(timeout=PATIENCE)
        assert sweep.returncode == 0, output
    runs = sorted((tmp_path / "lightning_logs" / "digits").iterdir())
    assert [run.name for run in runs] == [f"version_{i}" for i in range(4)]
    configs = [yaml.safe_load((run / "config.yaml").read_text()) for run in runs]
    assert sorted((c["seed"], c["trainer"]["devices"]) for c in configs) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert [json.loads((run / "result.json").read_text())["steps"] for run in runs] == [42] * 4
    assert f"auto_resume: going on with lightning_logs/digits/{folder.name}" in said(tmp_path, job)
    seed = yaml.safe_load((folder / "config.yaml").read_text())["seed"]
    as_if_nothing_had_been(folder, tmp_path / "whole", f"seed={seed}")


def test_job_out_of_time_saves_and_is_queued_again(tmp_path: Path) -> None:
    """SLURM's warning that the time is nearly over, sent by hand: saved after the step, queued again, gone on with."""
    with (
        slurm.cluster(tmp_path / "slurm") as environment,
        sweep_in(tmp_path, environment, "seed=1") as (sweep, job, run),
    ):
        warned = subprocess.run(["scancel", "--signal=USR2", job], env=environment, capture_output=True, text=True)
        assert warned.returncode == 0, warned.stderr
        output, _ = sweep.communicate(timeout=PATIENCE)
        assert sweep.returncode == 0, output + said(tmp_path, job)
    text = said(tmp_path, job)
    assert re.search(r"SIGUSR2: saving after this step.*saved step \d+ to .*last\.ckpt", text, re.DOTALL), text
    assert f"auto_resume: going on with lightning_logs/digits/{run.name}" in text
    assert json.loads((run / "result.json").read_text())["steps"] == 42
    as_if_nothing_had_been(run, tmp_path / "whole", "seed=1")
