"""A run that goes on from a checkpoint right before a validation or the end of an epoch does what the uninterrupted run did."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from csv import DictReader
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crashes import SAVED, violations
from lightdiff.jobs.run_config import write_config
from lightdiff.model import Generation
from runs import KillAt, differences, killed, last, scalars, tiny, train

EVERY_STEP = ("callbacks=no_samples", "callbacks.checkpoints.every_n_steps=1", "+logger.csv={}")
VALIDATION = {
    "within epochs, none at their ends": ["+trainer.val_check_interval=3"],
    "with accumulation": ["+trainer.val_check_interval=4", "trainer.accumulate_grad_batches=2"],
    "across epochs": ["+trainer.val_check_interval=5", "trainer.check_val_every_n_epoch=null"],
    "after every second epoch": ["trainer.check_val_every_n_epoch=2"],
    "with max_steps": ["+trainer.val_check_interval=3", "trainer.max_steps=12"],
}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if value and key != "train/images_per_second"}
            for row in DictReader(file)
        ]


def equal(whole: Path, run: Path) -> None:
    found = violations(*(SimpleNamespace(folder=folder) for folder in (whole, run)))  # type: ignore[arg-type]
    assert found == []
    if (whole / "metrics.csv").exists():
        assert rows(run) == rows(whole)


@pytest.mark.parametrize(
    "variant", [next(iter(VALIDATION)), *(pytest.param(each, marks=pytest.mark.slow) for each in [*VALIDATION][1:])]
)
def test_killed_around_a_validation(variant: str, tmp_path: Path) -> None:
    """Twice at each place, so that what the first resumed run has done there is done and dropped once more."""
    config = tiny(*EVERY_STEP, *VALIDATION[variant])
    whole = tmp_path / "whole" / "version_0"
    train(config, whole)
    assert len(scalars(whole)["val/loss"]) >= 1
    for place in (3, 4, 5, 7, 8):
        folder = tmp_path / f"killed_{place}" / "version_0"
        killed(config, folder, batch=place)
        killed(config, folder, batch=max(place, 4))
        train(config, folder)
        equal(whole, folder)


class SignalAt(KillAt):
    """Interrupts the run in a batch, or in the first batch of the validation after it.

    Args:
        batch: number of the batch over all epochs, from 1.
        place: "batch", or what comes after it: "validation", "samples" (in the middle of drawing them), "metrics".
    """

    def __init__(self, batch: int, place: str) -> None:
        super().__init__(batch)
        self.place = place

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.trainer, trajectory = trainer, Generation.trajectory

        def signalling(generation: Generation, model: Any, rows: range, **options: Any) -> Iterator[Any]:
            for i, state in enumerate(trajectory(generation, model, rows, **options)):
                if i == 1:
                    self._signal("samples" if len(rows) == 9 else "metrics")
                yield state

        Generation.trajectory = signalling  # type: ignore[method-assign]

    def _signal(self, place: str) -> None:
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.total
        if place == self.place and batches.ready == self.batch:
            signal.raise_signal(signal.SIGTERM)

    def on_before_optimizer_step(self, *_: Any) -> None:
        self._signal("batch")

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self._signal("validation")

    def on_train_batch_end(self, *_: Any) -> None:
        pass


EVALUATION = (
    "callbacks.evaluation.num_samples=8",
    "callbacks.evaluation.batch_size=8",
    "callbacks.checkpoints.monitor=eval/fid",
)
STOPS = {
    "the last batch of an epoch": ([], 7, "batch"),
    "the last batch of the run": ([], 14, "batch"),
    "the last batch, no validation": (["trainer.check_val_every_n_epoch=2"], 7, "batch"),
    "the last batch of the run, validated only there": (["trainer.check_val_every_n_epoch=5"], 14, "batch"),
    "a validation at an epoch's end": ([], 7, "validation"),
    "a batch before a validation": (["+trainer.val_check_interval=3"], 3, "batch"),
    "a validation within an epoch": (["+trainer.val_check_interval=3"], 6, "validation"),
    "samples that are being drawn": ([], 7, "samples"),
    "metrics that are being measured": ([], 7, "metrics"),
    "samples after the last epoch": ([], 14, "samples"),
    "the last step of max_steps": (["trainer.max_steps=14"], 14, "batch"),
}


@pytest.mark.parametrize(
    "stop", [next(iter(STOPS)), *(pytest.param(each, marks=pytest.mark.slow) for each in [*STOPS][1:])]
)
def test_a_stop_saves_before_validation_and_pictures(
    stop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.SignalAt", SignalAt, raising=False)
    overrides, batch, place = STOPS[stop]
    cache = f"callbacks.evaluation.cache_dir={tmp_path / 'cache'}"
    config = tiny("callbacks=evaluation", *EVALUATION, cache, *overrides)
    whole, folder = (tmp_path / name / "version_0" for name in ("whole", "stopped"))
    train(config, whole)
    signalled = {"_target_": "runs.SignalAt", "batch": batch, "place": place}
    with monkeypatch.context() as patch:
        patch.setattr(Generation, "trajectory", Generation.trajectory)
        try:
            train({**config, "callbacks": {"signal": signalled, **config["callbacks"]}}, folder)
        except SystemExit as error:
            assert error.code == 143
        else:
            assert "max_steps" in stop
    if "max_steps" not in stop:
        assert last(folder)["global_step"] == batch
        assert place == "metrics" or not list(folder.glob(f"samples/step_{batch:07d}.*"))
        write_config(folder, config)
        train(config, folder)
    equal(whole, folder)


@pytest.mark.parametrize("max_epochs", [-1, 2])
def test_a_run_with_max_steps_goes_on_after_an_epoch(max_epochs: int, tmp_path: Path) -> None:
    """Killed in the second epoch, and then made longer."""
    whole, folder = (tmp_path / name / "version_0" for name in ("whole", "killed"))
    config = tiny("callbacks=no_samples", "trainer.max_steps=14", f"trainer.max_epochs={max_epochs}")
    train(config, whole)
    killed(config, folder, batch=9)
    train(config, folder)
    equal(whole, folder)
    longer = {**config, "trainer": {**config["trainer"], "max_steps": 18, "max_epochs": -1}}
    write_config(folder, longer)
    train(longer, folder)
    train(longer, tmp_path / "longer")
    equal(tmp_path / "longer", folder)


def test_a_run_that_max_steps_has_ended_goes_on_within_its_epoch(tmp_path: Path) -> None:
    whole, folder = (tmp_path / name / "version_0" for name in ("whole", "extended"))
    config = tiny("callbacks=no_samples")
    train(config, whole)
    train(tiny("callbacks=no_samples", "trainer.max_steps=10"), folder)
    result = json.loads((folder / "result.json").read_text())
    assert (result["epochs"], result["steps"]) == (1, 10)
    write_config(folder, config)
    train(config, folder)
    for name in SAVED:
        assert differences(last(whole)[name], last(folder)[name], name) == []
    curves, expected = scalars(folder), scalars(whole)
    # the end of the shorter run has a point of its own
    assert [step for step, _ in curves["train/loss_epoch"]] == [7, 10, 14]
    for tag in expected.keys() - {"train/images_per_second"}:
        assert [point for point in curves[tag] if point[0] != 10] == expected[tag], tag
    assert json.loads((folder / "result.json").read_text()) == json.loads((whole / "result.json").read_text())
