"""NaN and infinity: stopped before a checkpoint is spoilt, or left out and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightdiff.callbacks import NonFiniteError
from lightdiff.jobs.run_config import write_config
from lightdiff.jobs.train import run_job
from runs import differences, killed, last, scalars, tiny, train


def spoilt(batches: list[int], *overrides: str, **guard: Any) -> dict[str, Any]:
    config = tiny(*overrides)
    config["callbacks"]["nonfinite"].update(guard)
    spoil = {"_target_": "runs.Spoil", "batches": batches}
    return {**config, "callbacks": {"spoil": spoil, **config["callbacks"]}}


def all_finite(checkpoint: dict[str, Any]) -> bool:
    weights = [value for value in checkpoint["state_dict"].values() if isinstance(value, Tensor)]
    return all(bool(value.isfinite().all()) for value in weights)


def test_a_bad_gradient_stops_the_run_and_the_last_checkpoint_is_good(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder, spoilt([9]))
    with pytest.raises(NonFiniteError, match=r"between steps \d+ and \d+; last good checkpoint: .*last.ckpt; .*skip"):
        run_job(folder)
    checkpoint = last(folder)
    assert checkpoint["global_step"] == 7
    assert all_finite(checkpoint)


def test_a_skipped_step_changes_nothing(tmp_path: Path) -> None:
    """Skipping the last step of all is not having made it, but for the count of steps."""
    limit = ("trainer.max_epochs=1", "callbacks=no_samples")
    before = train(tiny(*limit, "trainer.limit_train_batches=6"), tmp_path / "six")
    skipped = train(spoilt([6], *limit, on_nonfinite="skip"), tmp_path / "seven")
    for part in ("network", "conditioning"):
        names = [name for name in before["state_dict"] if name.startswith(part)]
        assert all(torch.equal(before["state_dict"][name], skipped["state_dict"][name]) for name in names)
    moments = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (before, skipped)]
    assert not differences(*moments)
    assert skipped["global_step"] == 7


def test_skips_are_counted_shown_and_survive_a_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = spoilt([2, 3, 9], on_nonfinite="skip")
    whole = train(config, tmp_path / "whole")
    (state,) = (state for name, state in whole["callbacks"].items() if "GuardNonFinite" in name)
    assert state["skipped"] == 3 and "step 3 skipped" in caplog.text
    assert all_finite(whole)
    assert all(value == value for _, value in scalars(tmp_path / "whole")["train/loss_epoch"])
    killed(config, tmp_path / "parts", batch=11)
    assert not differences(whole["state_dict"], train(config, tmp_path / "parts")["state_dict"])


def test_too_many_skips_in_a_row_stop_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder, spoilt([3, 4, 5, 6], on_nonfinite="skip", max_skips=3))
    with pytest.raises(NonFiniteError, match="in 4 steps in a row"):
        run_job(folder)
