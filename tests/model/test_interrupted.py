"""A run that is interrupted by a signal and resumed has the curves of one that was not."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from crashes import Run, send, violations
from lightdiff.jobs.run_config import write_config
from runs import KillAt, scalars, tiny, train
from waiting import PATIENCE, until


class SignalAt(KillAt):
    """Interrupts the run in the middle of a batch."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.total.processed + 1 == self.batch:
            signal.raise_signal(signal.SIGTERM)

    def on_train_batch_end(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("batch", [3, 5, 7])
def test_curves_are_those_of_an_uninterrupted_run(batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.SignalAt", SignalAt, raising=False)
    config = tiny("callbacks=no_samples")
    train(config, tmp_path / "whole" / "version_0")
    folder = tmp_path / "stopped" / "version_0"
    signalled = {"signal": {"_target_": "runs.SignalAt", "batch": batch}, **config["callbacks"]}
    with pytest.raises(SystemExit, match="143"):
        train({**config, "callbacks": signalled}, folder)
    write_config(folder, config)
    train(config, folder)
    whole, stopped = scalars(tmp_path / "whole" / "version_0"), scalars(folder)
    assert whole.keys() == stopped.keys()
    for tag in whole.keys() - {"train/images_per_second"}:
        assert whole[tag] == stopped[tag], tag


def test_ctrl_c_at_the_end_of_an_epoch_does_not_wait_for_pictures(tmp_path: Path) -> None:
    """The pictures of 400 steps take much longer than the signal needs; the resumed run draws them."""
    whole, run = (Run(tmp_path / name / "version_0", "sampler.num_steps=400") for name in ("whole", "stopped"))
    assert whole.finish() == []
    with run.running() as process:
        assert until(lambda: run.beat()[1] == "end", process)
        send(process, signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    assert run.step() == 7
    assert not list(run.folder.glob("samples/step_*"))
    assert run.finish() == []
    assert violations(whole, run) == []
