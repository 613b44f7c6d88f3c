"""torchrun on two hosts: they train as one, and when the network between them is cut the run ends and can go on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import hosts
from runs import ROOT, TINY, differences, last, tiny, train_in_two_processes
from waiting import PATIENCE, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(hosts.missing() is not None, reason=hosts.missing() or "")]
LONGER = ("trainer.max_epochs=30", "callbacks.checkpoints.every_n_steps=2", "callbacks=no_samples")
TIMEOUT = 20


def _start(pair: hosts.Hosts, folder: Path, *arguments: str) -> list[subprocess.Popen[bytes]]:
    """The command of a user on each of the two hosts; what it prints goes to folder/host_<i>.txt."""
    processes = []
    for host in range(2):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
        # both hosts have the name of this machine, by which torchrun would tell who keeps the store
        meeting = [
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={pair.address(0)}:29400",
            f"--rdzv-conf=is_host={1 - host},read_timeout=10",
        ]
        with (folder / f"host_{host}.txt").open("wb") as output:
            processes.append(
                subprocess.Popen(
                    pair.run(
                        host,
                        *torchrun,
                        *meeting,
                        f"--local-addr={pair.address(host)}",
                        str(ROOT / "train.py"),
                        *arguments,
                    ),
                    cwd=folder,
                    env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": f"cable{host}"},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
    return processes


def _codes(processes: list[subprocess.Popen[bytes]]) -> list[int]:
    """Exit codes once the processes have ended by themselves."""
    try:
        return [process.wait(PATIENCE) for process in processes]
    finally:
        _kill(processes)


def _kill(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_two_hosts_train_are_cut_off_and_go_on(tmp_path: Path) -> None:
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    settings = [*TINY, *LONGER, "trainer.num_nodes=2", f"ddp_timeout={TIMEOUT}"]
    with hosts.two_hosts() as pair:
        processes = _start(pair, tmp_path, *settings)
        assert until((run / "checkpoints" / "last.ckpt").is_file, *processes)
        pair.cut()
        assert _codes(processes[:1]) != [0]
        # there torchrun itself waits another five minutes for the store of the first host; the training has ended
        until(lambda: "error: a process of this run" in (tmp_path / "host_1.txt").read_text())
        _kill(processes[1:])
        reached = last(run)["global_step"]
        assert 0 < reached < 210
    with hosts.two_hosts() as pair:
        processes = _start(pair, tmp_path, f"resume={run}")
        assert _codes(processes) == [0, 0]
    assert sorted(path.name for path in run.parent.iterdir()) == ["version_0"]
    whole = tmp_path / "whole" / "version_0"
    train_in_two_processes(tiny(*LONGER), whole)
    for part in ("state_dict", "optimizer_states"):
        assert differences(last(whole)[part], last(run)[part], part) == []
