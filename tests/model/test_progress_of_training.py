"""How much of a training is done, which objectives follow: the same however its end is set, and refused where it has none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer

from lightdiff import DiffSet, DiffusionModel
from lightdiff.core import ConsistencyObjective, FlowSchedule, VPrediction
from lightdiff.model import Cosine
from runs import TINY, killed, tiny, train


class Recorder(Callback):
    """Records the progress at each batch, in `seen`."""

    seen: list[float]

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append(pl_module.progress)


def progress(folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> list[float]:
    """The progress at each batch of a run, or of what is left of it."""
    monkeypatch.setattr("runs.Recorder", Recorder, raising=False)
    Recorder.seen = []
    config = tiny("callbacks=no_samples", "callbacks.checkpoints.every_n_steps=2", *overrides)
    recorded = {"record_progress": {"_target_": "runs.Recorder"}, **config["callbacks"]}
    train({**config, "callbacks": recorded}, folder)
    return Recorder.seen


ENDS = {
    "epochs": [],
    "steps": ["trainer.max_epochs=-1", "trainer.max_steps=14"],
    "both": ["trainer.max_epochs=5", "trainer.max_steps=14"],
}


@pytest.mark.parametrize("end", list(ENDS))
def test_it_is_the_share_of_the_steps_that_are_done(end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress(tmp_path / "version_0", monkeypatch, *ENDS[end]) == [step / 14 for step in range(14)]


def test_it_counts_optimizer_steps_and_not_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps in each epoch of seven batches."""
    found = progress(tmp_path / "version_0", monkeypatch, "trainer.accumulate_grad_batches=3")
    assert found == [step / 6 for step in (0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 4, 4, 5)]


def test_a_resumed_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "version_0"
    killed(tiny("callbacks=no_samples", "callbacks.checkpoints.every_n_steps=2"), folder, batch=9)
    (folder / "config.yaml").unlink()
    assert progress(folder, monkeypatch) == [step / 14 for step in range(8, 14)]


WITHOUT_END = ("trainer.max_epochs=-1", "+trainer.max_time=00:00:00:01", "callbacks=no_samples")


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["objective=consistency"], "objective=ConsistencyObjective"),
        (["lr_scheduler=cosine"], "lr_scheduler=Cosine"),
        (["lr_scheduler=linear"], "lr_scheduler=Linear"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_follows_it_is_refused_without_an_end(
    overrides: list[str], part: str, command: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    done = command("train.py", *TINY, *WITHOUT_END, *overrides)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: trainer.max_epochs=-1: {part} changes with the progress of training, which has no end; choices: 1 or more, "
        "or max_steps of 1 or more (max_time may end it earlier)"
    ]
    assert not list(tmp_path.glob("lightning_logs/*/version_*"))


@pytest.mark.parametrize(
    "overrides", [[], ["objective=consistency", "objective.ratios=[0.75]"]], ids=["v", "one ratio"]
)
def test_other_runs_need_no_end(overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(progress(tmp_path / "version_0", monkeypatch, *WITHOUT_END, *overrides)) == {0.0}


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor, time: torch.Tensor, cond: Any = None) -> torch.Tensor:
        return self.weight * x


def test_plain_lightning_is_told_so_too() -> None:
    def model(**settings: Any) -> DiffusionModel:
        return DiffusionModel(Network(), FlowSchedule(), prediction=VPrediction(), image_shape=(1, 16, 16), **settings)

    trainer = Trainer(max_epochs=-1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    for settings in ({"objective": ConsistencyObjective()}, {"lr_scheduler": Cosine()}):
        with pytest.raises(ValueError, match=r"^max_epochs=-1: .* which has no end; choices: 1 or more"):
            trainer.fit(model(**settings), DiffSet("digits", batch_size=16))
    seen: list[int] = []

    def constant(optimizer: Any, steps: int) -> Any:
        seen.append(steps)
        return torch.optim.lr_scheduler.ConstantLR(optimizer)

    trainer = Trainer(max_time="00:00:00:01", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(model(lr_scheduler=constant), DiffSet("digits", batch_size=16))
    assert seen == [sys.maxsize]
