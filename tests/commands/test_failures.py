"""No memory, no disk: the run ends in one line, and the last good checkpoint is whole."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pytorch_lightning import Callback

from lightdiff.commands.messages import bad_configuration
from lightdiff.jobs.failures import RunFailed
from lightdiff.jobs.run_config import write_config
from lightdiff.jobs.train import run_job
from lightdiff.utils.files import causes, disk_error
from runs import last, tiny, train
from waiting import PATIENCE


def config(**trainer: Any) -> dict[str, Any]:
    made = tiny("callbacks=no_samples")
    return {**made, "trainer": {**made["trainer"], **trainer}}


def test_a_full_disk_is_named_and_the_last_checkpoint_is_whole(small_disk: Path) -> None:
    folder = small_disk / "run"
    first = train(config(max_epochs=1), folder)
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "other").write_bytes(bytes(max(free - 40_000, 0)))  # nearly all that is left
    write_config(folder, config(max_epochs=2))
    with pytest.raises(
        RunFailed, match=r"(best|last).ckpt: No space left on device; last good checkpoint: .*last.ckpt"
    ):
        run_job(folder)
    assert last(folder)["global_step"] == first["global_step"] == 7
    assert not list((folder / "checkpoints").glob(".*"))
    (small_disk / "other").unlink()
    run_job(folder)
    assert last(folder)["global_step"] == 14


def test_a_file_that_may_not_grow_is_like_a_full_disk(tmp_path: Path) -> None:
    """Through the command line, where a user sees one line and exit code 1."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder, config(max_epochs=1))
    arguments = ["train.py", "--job", str(folder)]
    job = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
sys.argv = {arguments}
from lightdiff.commands.cli import train_command
raise SystemExit(train_command(sys.argv[1:]))
"""
    done = subprocess.run([sys.executable, "-c", job], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "best.ckpt: File too large; no checkpoint was saved yet" in errors[0]
    assert "Traceback" not in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


REMOVING = """
import shutil, sys
from pathlib import Path
from lightdiff.callbacks import SaveOnSignal
def remove(self, trainer, *_):
    if trainer.global_step == {step} and Path("run").is_dir():
        shutil.{how}
SaveOnSignal.{hook} = remove
from lightdiff.commands.cli import train_command
raise SystemExit(train_command(["--job", "run"]))
"""


@pytest.mark.parametrize("how", [pytest.param("rmtree('run')", marks=pytest.mark.slow), "move('run', 'elsewhere')"])
@pytest.mark.parametrize(
    ("hook", "step", "overrides"),
    [
        # points of TensorBoard, and the last checkpoint, have to be written after that
        ("on_train_batch_start", 2, ["callbacks=no_samples"]),
        # nothing but the checkpoint
        ("on_train_batch_end", 7, ["callbacks=no_samples", "~logger.tensorboard"]),
        pytest.param("on_train_batch_start", 6, ["callbacks=no_samples", "logger=csv"], marks=pytest.mark.slow),
        # plots, samples and predictions come before the checkpoint
        pytest.param("on_validation_end", 7, ["callbacks=predictions", "~logger.tensorboard"], marks=pytest.mark.slow),
        ("on_train_epoch_end", 7, ["callbacks=no_samples"]),
    ],
)
def test_a_run_whose_folder_goes_away_ends(
    how: str, hook: str, step: int, overrides: list[str], tmp_path: Path
) -> None:
    """Whatever is written next, and no part of the folder is made anew."""
    folder = tmp_path / "run"
    folder.mkdir()
    made = tiny(*overrides)
    write_config(folder, {**made, "trainer": {**made["trainer"], "max_epochs": 1}})
    job = [sys.executable, "-c", REMOVING.format(how=how, hook=hook, step=step)]
    done = subprocess.run(job, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1, done.stderr
    assert errors == ["error: run: this run's folder was moved or deleted while the run went on"]
    assert "Traceback" not in done.stderr
    assert not folder.exists()


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR, errno.ESTALE, errno.ENOTCONN, errno.ENOSPC])
def test_the_disk_error_is_found_in_a_cycle_of_causes(number: int) -> None:
    lost, other = OSError(number, os.strerror(number)), ValueError("not to be logged")
    lost.__context__, other.__context__ = other, lost
    assert disk_error(other) is lost


def test_a_cycle_of_causes_without_a_disk_error_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert list(causes(first)) == [first, second]
    assert disk_error(first) is None
    assert bad_configuration(first, "train") is None


class Hungry(Callback):
    """Asks for more memory than there is, at the third batch."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2 and self.kind == "cpu":
            torch.empty(1 << 60, dtype=torch.uint8)
        if batch_idx == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_out_of_memory_names_the_keys_to_lower(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = config()
    monkeypatch.setattr("runs.Hungry", Hungry, raising=False)
    made["callbacks"] = {"hungry": {"_target_": "runs.Hungry", "kind": kind}, **made["callbacks"]}
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder, made)
    with pytest.raises(RunFailed, match=r"out of memory; lower dataset.batch_size \(now 16\), model.widths"):
        run_job(folder)


class Lonely(Callback):
    """Raises, at the second batch, the error with which torch reports a lost process."""

    def __init__(self, message: str) -> None:
        self.message = message

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            raise RuntimeError(self.message)


@pytest.mark.parametrize(
    "message", ["[gloo/transport/tcp/pair.cc:561] Connection closed by peer", "DataLoader worker (pid 9) is killed"]
)
def test_a_lost_process_is_told_in_one_line(message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.Lonely", Lonely, raising=False)
    made = config()
    made["callbacks"] = {"lonely": {"_target_": "runs.Lonely", "message": message}, **made["callbacks"]}
    write_config(tmp_path, made)
    with pytest.raises(
        RunFailed,
        match="a process of this run was killed, has failed or .*; no checkpoint was saved yet; begin again with the same",
    ):
        run_job(tmp_path)


def test_going_on_is_offered_only_where_there_is_a_checkpoint(command: Any, tmp_path: Path) -> None:
    """A run that was stopped before its first checkpoint begins again by the command that is shown instead."""
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    run.mkdir(parents=True)
    write_config(run, config(max_epochs=1))
    again = "python train.py --job lightning_logs/digits/version_0"
    for typed in (["resume=lightning_logs/digits/version_0"], ["dataset=digits", f"hydra.run.dir={run}"]):
        done = command("train.py", *typed)
        assert done.returncode == 2
        assert done.stderr.endswith(f"nothing was saved in it; begin again with: {again}\n")
    assert command("train.py", *again.split()[2:]).returncode == 0
    done = command("train.py", "dataset=digits", f"hydra.run.dir={run}")
    assert done.stderr.endswith("go on with: python train.py resume=lightning_logs/digits/version_0\n")


def test_the_summary_offers_nothing_that_needs_a_checkpoint_where_none_is_saved(command: Any, tmp_path: Path) -> None:
    run = tmp_path / "version_0"
    run.mkdir()
    made = config(max_epochs=1)
    made["callbacks"]["checkpoints"] = None
    write_config(run, made)
    done = command("train.py", "--job", "version_0")
    assert done.returncode == 0, done.stderr
    assert "checkpoint: none" in done.stdout and "resume=" not in done.stdout and "ckpt_path=" not in done.stdout
    assert yaml.safe_load((run / "config.yaml").read_text())["callbacks"]["checkpoints"] is None
