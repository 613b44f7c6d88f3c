"""A run that is killed and resumed ends bit for bit like one that was not."""

from __future__ import annotations

from csv import DictReader
from pathlib import Path
from typing import Any

import pytest

from lightdiff.jobs.run_config import write_config
from runs import differences, killed, last, plotted, scalars, tiny, train

SAVED_STATE = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch")

VARIANTS = {
    "plain": [],
    "steps": ["callbacks.checkpoints.every_n_steps=2"],
    "accumulation": ["callbacks.checkpoints.every_n_steps=1", "trainer.accumulate_grad_batches=3"],
    "flips": ["callbacks.checkpoints.every_n_steps=3", "dataset.horizontal_flip=true", "lr_scheduler=cosine"],
    # a stage has two steps, so that each checkpoint is the last of a stage, and the resumed run begins the next one
    "consistency": [
        *("objective=consistency", "objective.ratios=[0.0,0.3,0.5,0.6,0.7,0.8,0.9]", "callbacks=no_samples"),
        *("model=resunet", "model.widths=[8,16]", "model.blocks_per_level=1", "model.attention_levels=[]"),
        "model.dropout=0.3",
        *("callbacks.checkpoints.every_n_steps=2", "trainer.num_sanity_val_steps=1"),
    ],
    "consistency, accumulation": [
        *("objective=consistency", "callbacks=no_samples", "trainer.accumulate_grad_batches=3"),
        "callbacks.checkpoints.every_n_steps=1",
    ],
    "labels": ["callbacks.checkpoints.every_n_steps=2", "conditioning=label", "callbacks.samples.every_n_epochs=100"],
}


SLOW = ("consistency, accumulation",)
"""Variants that only say again what others say."""


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in VARIANTS]
)
def variant(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration of a variant, and the last checkpoint of a run of it that was not interrupted."""
    config = (plotted if request.param == "plain" else tiny)(*VARIANTS[request.param])
    return config, train(config, tmp_path_factory.mktemp("whole") / "version_0")


@pytest.mark.parametrize("batch", [3, 7, 10])
def test_killed_and_resumed_equals_uninterrupted(
    variant: tuple[dict[str, Any], dict[str, Any]], batch: int, tmp_path: Path
) -> None:
    config, whole = variant
    killed(config, tmp_path / "killed" / "version_0", batch=batch)
    resumed = train(config, tmp_path / "killed" / "version_0")
    for name in SAVED_STATE:
        assert differences(whole[name], resumed[name], name) == []


def test_curves_have_every_point_once(tmp_path: Path) -> None:
    config = tiny("callbacks.checkpoints.every_n_steps=2")
    train(config, tmp_path / "whole" / "version_0")
    folder = tmp_path / "killed" / "version_0"
    killed(config, folder, batch=6)
    killed(config, folder, batch=11)
    train(config, folder)
    whole, resumed = scalars(tmp_path / "whole" / "version_0"), scalars(folder)
    assert whole.keys() == resumed.keys()
    for tag in whole.keys() - {"train/images_per_second"}:
        assert whole[tag] == resumed[tag], tag


def test_extended_run_equals_one_that_was_long_from_the_start(tmp_path: Path) -> None:
    long = train(tiny("trainer.max_epochs=3"), tmp_path / "long" / "version_0")
    folder = tmp_path / "short" / "version_0"
    train(tiny(), folder)
    extended_config = tiny("trainer.max_epochs=3")
    write_config(folder, extended_config)
    train(extended_config, folder)
    for name in ("state_dict", "optimizer_states", "global_step"):
        assert differences(long[name], last(folder)[name], name) == []


def test_a_new_learning_rate_takes_effect_on_resume(tmp_path: Path) -> None:
    folder = tmp_path / "version_0"
    killed(tiny("callbacks.checkpoints.every_n_steps=2"), folder, batch=8)
    changed = tiny("callbacks.checkpoints.every_n_steps=2", "optimizer.lr=1e-5")
    write_config(folder, changed)
    assert train(changed, folder)["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(1e-5)


def test_a_resumed_run_keeps_its_csv(tmp_path: Path) -> None:
    config = tiny("logger=csv", "callbacks=no_samples")

    def rows(folder: Path) -> list[dict[str, str]]:
        with (folder / "metrics.csv").open(newline="") as file:
            return [
                {key: value for key, value in row.items() if value and key != "train/images_per_second"}
                for row in DictReader(file)
            ]

    train(config, tmp_path / "whole")
    killed(config, tmp_path / "parts", batch=11)
    assert len(rows(tmp_path / "parts")) > 0
    train(config, tmp_path / "parts")
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
