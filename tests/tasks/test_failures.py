"""No memory, no disk: the run ends in one line, and the last good checkpoint is whole."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback

from lightdiff.tasks.failures import RunFailed
from lightdiff.tasks.messages import bad_configuration
from lightdiff.tasks.run_folder import write_config
from lightdiff.tasks.train import run_job
from lightdiff.utils.files import causes, disk_error
from runs import last, tiny, train
from waiting import PATIENCE


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


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
from lightdiff.tasks.cli import train_command
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
from lightdiff.tasks.cli import train_command
raise SystemExit(train_command(["--job", "run"]))
"""


@pytest.mark.parametrize("how", ["rmtree('run')", "move('run', 'elsewhere')"])
@pytest.mark.parametrize(
    ("hook", "step", "overrides"),
    [
        # points of TensorBoard, and the last checkpoint, have to be written after that
        ("on_train_batch_start", 2, ["callbacks=no_samples"]),
        # nothing but the checkpoint
        ("on_train_batch_end", 7, ["callbacks=no_samples", "~logger.tensorboard"]),
        ("on_train_batch_start", 6, ["callbacks=no_samples", "logger=csv"]),
        # plots, samples and predictions come before the checkpoint
        ("on_validation_end", 7, ["callbacks=predictions", "~logger.tensorboard"]),
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
        RunFailed, match="a process of this run was killed, has failed or .*; no checkpoint was saved yet"
    ):
        run_job(tmp_path)
