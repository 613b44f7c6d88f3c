"""One of two processes is killed: the other ends too, whatever it is doing, and the run can go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning import Callback

from crashes import Run, gone, members, send
from lightdiff.jobs.run_config import read_config, write_config
from lightdiff.utils.ranks import FIRST_RANK
from runs import train
from waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a child of its parent's death there")


class Hang(Callback):
    """A rank that waits for ever, as one does on a GPU whose partner is gone."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_rank == self.rank and batch_idx == 6:
            (Path(trainer.default_root_dir) / "hangs").touch()
            time.sleep(10 * PATIENCE)


class Hanging(Run):
    def command(self) -> list[str]:
        return [*super().command(), "test_dead_rank.Hang"]


@pytest.mark.parametrize(("whom", "hanging"), [("first", 1), ("last", 0)])
def test_a_run_ends_with_any_of_its_ranks(
    whom: str, hanging: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    run = Hanging(tmp_path / "run", "callbacks=no_samples", "callbacks.checkpoints.every_n_steps=2", devices=2)
    config = read_config(run.folder)
    hang = {"_target_": "test_dead_rank.Hang", "rank": hanging}
    write_config(run.folder, {**config, "callbacks": {"hang": hang, **config["callbacks"]}})
    with run.running() as process:
        assert until((run.folder / "hangs").exists, process)
        send(process, signal.SIGKILL, whom)
        gone(process)
    assert process.returncode not in (0, None)
    before = run.step()
    assert before > 0
    callbacks = {name: each for name, each in config["callbacks"].items() if name != "beat"}
    config = {**config, "callbacks": callbacks, "trainer": {**config["trainer"], "devices": 1}}
    write_config(run.folder, config)
    assert train(config, run.folder)["global_step"] == 14


def test_a_rank_whose_first_rank_is_gone_does_not_begin() -> None:
    rank = [sys.executable, "-c", "from lightdiff.jobs.processes import end_with_first_rank as end; end(); print(1)"]
    environment = {**os.environ, "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
    for first, code in ((os.getpid(), 0), (1, 1)):
        assert subprocess.run(rank, env={**environment, FIRST_RANK: str(first)}).returncode == code


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_signal_to_ranks_that_are_just_starting_ends_them_with_its_exit_code(number: int, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", "callbacks=no_samples", "trainer.max_epochs=1000", devices=2)
    with run.running() as process:
        assert until(lambda: len(members(process.pid)) > 1, process)
        send(process, number)
        gone(process)
    assert process.returncode == 128 + number, run.output.read_text()
