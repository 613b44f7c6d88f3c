"""Jobs in other processes: joblib's workers, torchrun's processes."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytorch_lightning import Callback, Trainer

from lightdiff.commands import cli
from lightdiff.utils import ranks
from runs import ROOT, TINY
from waiting import until

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(ROOT / "train.py"))


def _runs(folder: Path) -> list[dict]:
    return [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("lightning_logs/digits/*/config.yaml"))]


@pytest.mark.slow
def test_joblib_runs_jobs_of_two_processes_and_lists_those_that_failed(run_script, tmp_path: Path) -> None:
    jobs = ("trainer.devices=2", "optimizer.lr=0.001,-1", "trainer.max_epochs=1", "callbacks=no_samples")
    done = run_script("train.py", "-m", "launcher=joblib", *TINY, *jobs)
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == ["error: job optimizer.lr=-1: optimizer.lr=-1: Invalid learning rate: -1"]
    assert "Traceback" not in done.stderr
    assert [config["optimizer"]["lr"] for config in _runs(tmp_path)] == [0.001]
    assert len(list(tmp_path.glob("lightning_logs/digits/*/result.json"))) == 1


class KillSelf(Callback):
    """Has the system kill the job of seed 2, while the job of seed 1 is in the middle of its training."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        signs = {seed: Path(f"training_{seed}") for seed in (1, 2)}
        if pl_module.seed in signs:
            signs[pl_module.seed].touch()
            until(lambda: all(sign.exists() for sign in signs.values()))
        if pl_module.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_joblib_worker_that_is_killed_is_one_failed_job(run_script, tmp_path: Path) -> None:
    """One of the others trains at the same time, and one has not begun yet."""
    paths = [str(ROOT / "tests"), str(ROOT / "tests" / "commands"), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = run_script(
        *("train.py", "-m", "launcher=joblib", *TINY, "seed=1,2,3", "trainer.max_epochs=1", "callbacks=no_samples"),
        "+callbacks.kill._target_=test_launchers.KillSelf",
        PYTHONPATH=os.pathsep.join(paths),
    )
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == ["error: job seed=2: its process was killed (SIGKILL)"]
    assert "Traceback" not in done.stderr
    finished = {path.parent.name for path in tmp_path.glob("lightning_logs/digits/*/result.json")}
    assert len(finished) == 2
    assert sorted(config["seed"] for config in _runs(tmp_path)) == [1, 2, 3]


def test_torchrun_refuses_in_one_line(run_module, tmp_path: Path) -> None:
    done = run_module(*TORCHRUN, *TINY)
    assert done.returncode != 0
    assert done.stderr.count("error: trainer.devices=1: torchrun has started more processes than that") == 1
    assert _runs(tmp_path) == []


def test_torchrun_refuses_a_sweep(command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lightdiff.commands.launch.launcher", lambda: ranks.TORCHRUN)
    done = command("train.py", "-m", *TINY, "seed=1,2")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    reason = "-m: a sweep starts the processes of each job itself; leave torchrun away"
    assert errors == [f"error: job seed={seed}: {reason}" for seed in (1, 2)]
    assert _runs(tmp_path) == []


def test_a_task_of_a_slurm_job_that_fails_ends_with_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the process that submitit runs, which takes an exception kept to itself for success; the first one would wait for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py"), "-m", *TINY])
    monkeypatch.setattr(cli, "rank_and_world_size", lambda: (1, 2))
    monkeypatch.setattr(cli, "receive_job", lambda: (tmp_path / "nowhere", {"model": 1}))
    monkeypatch.setattr(cli, "failed_on_all_ranks", lambda: False)
    monkeypatch.setattr(cli, "_guarded", lambda name, action: action())
    with pytest.raises(SystemExit) as raised:
        cli._hydra_command("train", sys.argv[1:], cli._train_task)
    assert raised.value.code not in (0, None)
    [word] = cli.failures()
    assert word[1] == raised.value.code


@pytest.mark.slow
def test_torchrun_trains_in_one_folder_and_resumes(run_module, tmp_path: Path) -> None:
    done = run_module(*TORCHRUN, *TINY, "trainer.devices=2", "callbacks=no_samples")
    assert done.returncode == 0, done.stderr
    assert len(_runs(tmp_path)) == 1
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    done = run_module(*TORCHRUN, f"resume={run}", "trainer.max_epochs=3")
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "result.json").read_text())["steps"] == 21
    assert len(_runs(tmp_path)) == 1
