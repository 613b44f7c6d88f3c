"""A value that was not measured again is never taken for a new one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from runs import differences, killed, last, plotted, scalars, train

RARELY = ("trainer.max_epochs=5", "trainer.check_val_every_n_epoch=2")


def steps(points: list) -> list[int]:
    return [step for step, *_ in points]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five epochs of seven steps: validated after the second, the fourth, and at the end."""
    folder = tmp_path_factory.mktemp("rarely") / "version_0"
    train(plotted(*RARELY, "callbacks.checkpoints.mode=max"), folder)
    return folder


def test_a_run_ends_with_a_validation(run: Path) -> None:
    assert steps(scalars(run)["val/loss"]) == [14, 28, 35]
    assert json.loads((run / "result.json").read_text())["measured_at"]["val/loss"] == 35


def test_the_plot_has_a_point_for_each_validation_and_no_other(run: Path) -> None:
    points = last(run)["callbacks"]["PlotLoss"]["validation"]
    assert [tuple(point) for point in points] == scalars(run)["val/loss"]


def test_the_best_checkpoint_is_of_an_epoch_with_a_validation(run: Path) -> None:
    curve = scalars(run)["val/loss"]
    assert last(run, "best.ckpt")["global_step"] == max(curve, key=lambda point: point[1])[0]


def test_a_run_of_one_epoch_has_a_validation_loss(tmp_path: Path) -> None:
    train(plotted("trainer.max_epochs=1", "trainer.check_val_every_n_epoch=10"), tmp_path)
    assert steps(scalars(tmp_path)["val/loss"]) == [7]


def test_a_run_resumed_within_its_last_epoch_ends_with_a_validation(tmp_path: Path) -> None:
    config = plotted("trainer.check_val_every_n_epoch=10", "callbacks.checkpoints.every_n_steps=5")
    killed(config, tmp_path, batch=11)
    train(config, tmp_path)
    assert steps(scalars(tmp_path)["val/loss"]) == [14]


def test_without_validation_there_is_none_at_the_end_either(tmp_path: Path) -> None:
    train(plotted("trainer.max_epochs=1", "trainer.limit_val_batches=0"), tmp_path)
    assert "val/loss" not in scalars(tmp_path)


def test_the_result_says_when_each_metric_was_measured(tmp_path: Path) -> None:
    """Also that of a run which was resumed after the only validation."""
    config = plotted("trainer.max_epochs=-1", "trainer.max_steps=24", "trainer.check_val_every_n_epoch=2")
    train(config, tmp_path / "whole")
    killed(config, tmp_path / "halves", batch=17)
    train(config, tmp_path / "halves")
    whole, halves = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "halves"))
    assert whole["measured_at"] == {"val/loss": 14, "train/loss_epoch": 24}
    assert halves == whole


def test_metrics_of_samples_count_where_they_were_measured(tmp_path: Path) -> None:
    """A run that goes on after an evaluation, and is stopped before the next one, keeps the step of that one."""
    evaluation = (
        "callbacks=evaluation",
        "callbacks.evaluation.num_samples=20",
        "callbacks.evaluation.every_n_epochs=2",
    )
    config = plotted(
        *evaluation, f"callbacks.evaluation.cache_dir={tmp_path}", "conditioning=label", "trainer.max_epochs=4"
    )
    killed(config, tmp_path / "run", batch=24)
    state = last(tmp_path / "run")["callbacks"]["RunRecord"]
    assert state["measured_at"] == {"val/loss": 21, "train/loss_epoch": 21, "eval/fid": 14}


def test_a_validation_before_training_is_no_point_of_the_plot(tmp_path: Path) -> None:
    train(plotted("trainer.max_epochs=1", "trainer.num_sanity_val_steps=1"), tmp_path)
    assert steps(last(tmp_path)["callbacks"]["PlotLoss"]["validation"]) == [7]


def test_a_resumed_run_repeats_no_training_point(tmp_path: Path) -> None:
    """With gradient accumulation a batch may follow a resume without a step, and before the first point."""
    config = plotted("trainer.accumulate_grad_batches=2", "trainer.log_every_n_steps=4", "trainer.max_epochs=3")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(config, whole)
    killed(config, halves, batch=10)
    train(config, halves)
    left, right = (last(folder)["callbacks"]["PlotLoss"] for folder in (whole, halves))
    assert not any(math.isnan(loss) for _, loss in right["training"])
    assert differences(left, right) == []
