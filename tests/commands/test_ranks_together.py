"""Several ranks of one command: one job, one process group for all jobs of a grid, one message for one mistake."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lightdiff.commands import cli, evaluate, sample
from runs import ROOT, tiny, train
from waiting import PATIENCE

QUICK = ("device=cpu", "progress=false", "cache_dir=cache", "num_samples=20", "extractor.dataset=digits")
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(ROOT / "eval.py"), "-m")
RANK = """
from datetime import timedelta
from pathlib import Path

from lightdiff.jobs import process_group
from lightdiff.jobs.handover import receive_job, send_job
from lightdiff.utils.collectives import from_first, gathered
from lightdiff.utils.ranks import rank_and_world_size

rank, _ = rank_and_world_size()
if rank == 0:
    send_job(Path("run"), {"seed": 7})
else:
    assert receive_job() == (Path("run"), {"seed": 7})
for job in range(2):
    process_group.join_process_group()
    print(rank_and_world_size(), gathered(f"job {job} of rank {rank}"), flush=True)
assert process_group.failed_on_all_ranks()
process_group.TOGETHER = timedelta(seconds=0.2)
# a failure of rank 1 alone
assert rank == 0 or not process_group.failed_on_all_ranks()
from_first("until rank 1 has waited" if rank == 0 else None)
gathered(rank)
"""


def test_two_ranks_share_a_job_a_group_and_what_has_failed(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    srun = {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "test"}
    environment = {**os.environ, **srun, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RANK],
            cwd=tmp_path,
            env={**environment, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank, process in enumerate(started):
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        said = [f"({rank}, 2) ['job {job} of rank 0', 'job {job} of rank 1']" for job in range(2)]
        assert output.splitlines() == said


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "version_0"
    train(tiny("callbacks=no_samples", "trainer.max_epochs=1"), folder)
    return folder


@pytest.mark.parametrize("rank", [0, 1])
def test_a_grid_of_several_ranks_is_checked_before_its_first_job(
    rank: int, run: Path, command: Callable[..., CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*args: object) -> None:
        raise AssertionError("a job has been started")

    monkeypatch.setattr(evaluate, "evaluate", start)
    monkeypatch.setattr(cli, "rank_and_world_size", lambda: (rank, 2))
    done = command("eval.py", "-m", "sampler.num_steps=2,3", f"ckpt_path={run}", *QUICK, "metrics=[fid],[kid]")
    wrong = "error: job metrics=[kid]: num_samples=20: kid needs at least one subset of 1000"
    assert [line[: len(wrong)] for line in done.stderr.splitlines()] == ([wrong] if rank == 0 else [])
    assert rank > 0 or done.returncode == 2


def test_a_command_of_one_process_says_that_it_is(
    command: Callable[..., CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch, run: Path
) -> None:
    monkeypatch.setattr(sample, "sample", lambda cfg: pytest.fail("two processes would write the same folder"))
    monkeypatch.setattr(cli, "rank_and_world_size", lambda: (0, 2))
    done = command("sample.py", f"ckpt_path={run}")
    assert done.returncode == 2
    assert done.stderr == "error: python sample.py: 2 processes were started; this command works in one\n"


@pytest.mark.slow
def test_torchrun_measures_a_grid_and_one_failed_job_does_not_stop_the_others(
    run: Path, run_module: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    done = run_module(*TWO, f"ckpt_path={run}", *QUICK, f"out={tmp_path / 'out'}", "sampler.num_steps=2,0,3")
    assert "Connection refused" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith("error: job sampler.num_steps=0: sampler.num_steps=0: 1 or more")
    found = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [(each["num_steps"], each["processes"]) for each in found] == [(2, 2), (3, 2)]


@pytest.mark.slow
def test_torchrun_refuses_a_grid_in_one_line(
    run: Path, run_module: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    done = run_module(*TWO, f"ckpt_path={run}", *QUICK, f"out={tmp_path / 'out'}", "seed=0,1", "metrics=[kid]")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith("error: num_samples=20: kid needs at least one subset of 1000")
    assert not (tmp_path / "out").exists()
