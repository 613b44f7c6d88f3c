"""auto_resume=true: the same command again goes on where it was; finished runs, and jobs of a sweep, are left alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from runs import differences, last

Command = Callable[..., subprocess.CompletedProcess[str]]
SAME = (
    *("dataset=digits", "model=unet_small", "model.widths=[8,8]", "model.attention_levels=[]", "trainer=debug"),
    *("dataset.batch_size=16", "callbacks=no_samples", "trainer.enable_progress_bar=false", "trainer.max_epochs=2"),
    *("trainer.enable_model_summary=false", "auto_resume=true"),
)


def cut_back(run: Path, epochs: int) -> None:
    """Cut a finished run back to an earlier epoch, as a kill would have left it."""
    kept = run / "checkpoints" / f"epoch_{epochs:04d}.ckpt"
    kept.replace(run / "checkpoints" / "last.ckpt")
    (run / "result.json").unlink()


def test_it_goes_on_and_ends_as_the_uninterrupted_run(command: Command, tmp_path: Path) -> None:
    keep = (*SAME, "callbacks.checkpoints.keep_every_n_epochs=1")
    first = command("train.py", *keep)
    assert first.returncode == 0, first.stderr
    run = tmp_path / "lightning_logs/digits/version_0"
    whole = last(run)
    cut_back(run, 1)
    second = command("train.py", *keep)
    assert second.returncode == 0, second.stderr
    assert "auto_resume: going on with lightning_logs/digits/version_0" in second.stdout
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    resumed = last(run)
    assert resumed["global_step"] == whole["global_step"] == 8
    assert not differences(resumed["state_dict"], whole["state_dict"])
    third = command("train.py", *keep)
    assert third.returncode == 0 and "this run is finished (2 epochs, 8 steps)" in third.stdout
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]


def test_another_command_starts_another_run(command: Command, tmp_path: Path) -> None:
    for extra in ("seed=1", "seed=2"):
        assert command("train.py", *SAME, extra).returncode == 0
    runs = tmp_path / "lightning_logs/digits"
    assert sorted(path.name for path in runs.iterdir()) == ["version_0", "version_1"]


def test_a_sweep_that_is_run_again_does_only_what_is_missing(command: Command, tmp_path: Path) -> None:
    sweep = ("-m", *SAME, "trainer.max_epochs=1", "seed=1,2")
    assert command("train.py", *sweep[:-2], "trainer.max_epochs=1", "seed=1").returncode == 0
    done = command("train.py", *sweep)
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "lightning_logs/digits").iterdir())
    assert [yaml.safe_load((run / "config.yaml").read_text())["seed"] for run in runs] == [1, 2]
    assert done.stdout.count("this run is finished") == 1
    again = command("train.py", *sweep)
    assert again.stdout.count("this run is finished") == 2 and len(list(runs[0].parent.iterdir())) == 2


def test_without_the_key_every_command_is_a_run_of_its_own(command: Command, tmp_path: Path) -> None:
    for _ in range(2):
        assert command("train.py", *SAME, "auto_resume=false", "trainer.max_epochs=1").returncode == 0
    assert len(list((tmp_path / "lightning_logs/digits").iterdir())) == 2


def test_a_run_without_a_checkpoint_is_started_anew(command: Command, tmp_path: Path) -> None:
    assert command("train.py", *SAME, "trainer.max_epochs=1").returncode == 0
    (tmp_path / "lightning_logs/digits/version_0/checkpoints/last.ckpt").unlink()
    assert command("train.py", *SAME, "trainer.max_epochs=1").returncode == 0
    assert json.loads((tmp_path / "lightning_logs/digits/version_1/result.json").read_text())["epochs"] == 1


@pytest.mark.parametrize("value", ["3", "maybe"])
def test_a_wrong_value_is_named(value: str, command: Command) -> None:
    done = command("train.py", *SAME, f"auto_resume={value}")
    assert done.returncode == 2 and f"auto_resume={value}: " in done.stderr
