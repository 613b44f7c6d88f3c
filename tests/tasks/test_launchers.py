"""Jobs in other processes: joblib's workers, torchrun's processes."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from runs import ROOT, TINY

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(ROOT / "train.py"))


def _runs(folder: Path) -> list[dict]:
    return [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("lightning_logs/digits/*/config.yaml"))]


def test_joblib_runs_jobs_of_two_processes_and_lists_those_that_failed(run_script, tmp_path: Path) -> None:
    jobs = ("trainer.devices=2", "optimizer.lr=0.001,-1", "trainer.max_epochs=1", "callbacks=no_samples")
    done = run_script("train.py", "-m", "launcher=joblib", *TINY, *jobs)
    assert done.returncode == 2, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told == ["error: job optimizer.lr=-1: optimizer.lr=-1: Invalid learning rate: -1"]
    assert "Traceback" not in done.stderr
    assert [config["optimizer"]["lr"] for config in _runs(tmp_path)] == [0.001]
    assert len(list(tmp_path.glob("lightning_logs/digits/*/result.json"))) == 1


def test_torchrun_refuses_in_one_line(run_module, tmp_path: Path) -> None:
    done = run_module(*TORCHRUN, *TINY)
    assert done.returncode != 0
    assert done.stderr.count("error: trainer.devices=1: torchrun has started more processes than that") == 1
    assert _runs(tmp_path) == []


def test_torchrun_trains_in_one_folder_and_resumes(run_module, tmp_path: Path) -> None:
    done = run_module(*TORCHRUN, *TINY, "trainer.devices=2", "callbacks=no_samples")
    assert done.returncode == 0, done.stderr
    assert len(_runs(tmp_path)) == 1
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    done = run_module(*TORCHRUN, f"resume={run}", "trainer.max_epochs=3")
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "result.json").read_text())["steps"] == 21
    assert len(_runs(tmp_path)) == 1
