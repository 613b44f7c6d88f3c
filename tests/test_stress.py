"""Three kills of real runs, of the many that `python tests/stress.py` does."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from random import Random

import pytest

from crashes import Run, gone, landed, send, violations
from stress import BIG, Outcome, kill_in_writing, whole_run
from waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
SHORT = ("callbacks=no_samples", "trainer.max_epochs=1")


def kill_mid_epoch(run: Run, whom: str) -> None:
    with run.running() as process:
        assert until(lambda: run.beat()[0] > 12, process)
        send(process, signal.SIGKILL, whom)
        gone(process)
    assert process.returncode != 0
    assert landed(run, steps_per_epoch=90) in ("mid-epoch after a checkpoint", "in a checkpoint's writing")
    assert run.step() >= 10


@pytest.mark.slow
def test_killed_mid_epoch_after_a_checkpoint_with_two_processes(tmp_path: Path) -> None:
    overrides = [
        *SHORT,
        "trainer.limit_train_batches=90",
        "callbacks.checkpoints.every_n_steps=5",
        "conditioning=label",
    ]
    result = Outcome()
    whole = whole_run(tmp_path / "whole", overrides, 2, result)
    run = Run(tmp_path / "killed", *overrides, devices=2)
    kill_mid_epoch(run, "last")
    assert result.wrong + run.finish() + violations(whole, run) == []


def test_killed_mid_epoch_and_in_the_writing_of_a_checkpoint(tmp_path: Path) -> None:
    overrides = [*SHORT, *BIG[2:-2], "trainer.limit_train_batches=30", "callbacks.checkpoints.every_n_steps=1"]
    result = Outcome()
    whole = whole_run(tmp_path / "whole", overrides, 1, result)
    run = Run(tmp_path / "killed", *overrides, disk=0.15)  # so that the kill comes before the writing has ended
    kill_mid_epoch(run, "all")
    kill_in_writing(run, Random(0), result)
    assert sum(result.events.values()) == 1
    assert result.wrong + run.finish() + violations(whole, run) == []
    assert run.unfinished() == []  # what the kill left has been removed
