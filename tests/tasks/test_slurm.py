"""`launcher=slurm` on a real SLURM of this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import slurm
from runs import ROOT, TINY, differences, last, scalars, tiny, train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(slurm.missing() is not None, reason=slurm.missing() or ""),
]


def _run_of(sweep: Path, log_dir: Path) -> tuple[str, Path] | None:
    """SLURM's number and the run folder of a job of one process that has just saved a checkpoint."""
    for log in sweep.glob("*/.submitit/*/*_0_log.out"):
        said = re.search(r"run folder: (\S+)", log.read_text())
        job = log.parent.name
        if said is None:
            continue
        folder = log_dir.parent / said.group(1)
        config = folder / "config.yaml"
        if (folder / "checkpoints" / "last.ckpt").is_file() and yaml.safe_load(config.read_text())["trainer"][
            "devices"
        ] == 1:
            return job, folder
    return None


def test_sweep_of_slurm_jobs_one_of_them_queued_again(tmp_path: Path) -> None:
    """Four jobs, two of them of two processes; one is stopped by SLURM, queued again, and ends as if nothing had been."""
    longer = ("trainer.max_epochs=6", "callbacks.checkpoints.every_n_steps=2", "trainer.enable_model_summary=false")
    swept = ("seed=1,2", "trainer.devices=1,2", "hydra.launcher.tasks_per_node=2", "hydra.launcher.array_parallelism=2")
    log_dir = tmp_path / "lightning_logs"
    with slurm.cluster(tmp_path / "slurm") as environment:
        sweep = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), "-m", "launcher=slurm", *TINY, *longer, *swept],
            cwd=tmp_path,
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        found = None
        deadline = time.monotonic() + 300
        while found is None:
            assert sweep.poll() is None, sweep.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
            found = _run_of(log_dir / ".sweeps", log_dir)
        job, folder = found
        again = subprocess.run(["scontrol", "requeue", job], env=environment, capture_output=True, text=True)
        assert again.returncode == 0, again.stderr
        output, _ = sweep.communicate(timeout=600)
        assert sweep.returncode == 0, output
    runs = sorted((log_dir / "digits").iterdir())
    assert [run.name for run in runs] == [f"version_{i}" for i in range(4)]
    configs = [yaml.safe_load((run / "config.yaml").read_text()) for run in runs]
    assert sorted((c["seed"], c["trainer"]["devices"]) for c in configs) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert [json.loads((run / "result.json").read_text())["steps"] for run in runs] == [42] * 4
    logs = "".join(log.read_text() for log in (log_dir / ".sweeps").glob(f"*/.submitit/{job}/*_0_log.out"))
    assert f"auto_resume: going on with lightning_logs/digits/{folder.name}" in logs
    seed = yaml.safe_load((folder / "config.yaml").read_text())["seed"]
    whole = train(tiny(*longer, f"seed={seed}"), tmp_path / "whole" / "version_0")
    for part in ("state_dict", "optimizer_states"):
        assert differences(whole[part], last(folder)[part], part) == []
    for points in scalars(folder).values():
        assert len({step for step, _ in points}) == len(points)
