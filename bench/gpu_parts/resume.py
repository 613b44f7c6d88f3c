"""Exact resume: a run that is killed and goes on ends with the weights of one that was not, bit for bit."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import sklearn.datasets  # noqa: F401 - the images of all three runs, imported once
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from gpu_parts.forks import in_fork
from gpu_parts.task import Task
from lightdiff.jobs.run_config import write_config
from lightdiff.jobs.train import run_job
from parts.ours import composed
from parts.results import Row

OVERRIDES = (
    *("dataset=digits", "dataset.batch_size=32", "model=resunet", "model.widths=[16,32]", "model.blocks_per_level=1"),
    *("model.attention_levels=[1]", "model.num_heads=1", "model.group_channels=8", "conditioning=label"),
    *("schedule=flow", "objective=flow", "sampler=ddim", "optimizer=adamw", "callbacks=no_samples"),
    *("trainer.precision=bf16-mixed", "trainer.deterministic=true", "trainer.max_epochs=2"),
    "trainer.limit_train_batches=7",
    *("trainer.limit_val_batches=1", "trainer.enable_progress_bar=false", "callbacks.checkpoints.every_n_steps=2"),
)
"""Fourteen steps of a small network on images that need no files, saved at every second one."""
KILLED_AFTER = 10
"""Steps after which the run is killed, before they are saved: it goes on from step 8."""
COMPARED = ("state_dict", "optimizer_states", "lr_schedulers")
"""Parts of the checkpoints."""


class Kill(Callback):
    """Kills its process after so many batches, before anything more is saved."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.total.processed == self.batches:
            os.kill(os.getpid(), signal.SIGKILL)


def measure(task: Task) -> None:
    """Train straight, train and kill, go on, compare."""
    config = composed(task.settings, *OVERRIDES)
    kill = {"_target_": f"{__name__}.{Kill.__name__}", "batches": KILLED_AFTER}
    with tempfile.TemporaryDirectory() as scratch:
        straight, killed = Path(scratch) / "straight", Path(scratch) / "killed"
        _train(task, straight, config)
        _train(task, killed, {**config, "callbacks": {"kill": kill, **config["callbacks"]}}, ends=False)
        before = _last(killed)["global_step"]
        _train(task, killed, config)
        left, right = _last(straight), _last(killed)
    found = [line for part in COMPARED for line in differences(left[part], right[part], part)]
    number = sum(1 for part in COMPARED for _ in _leaves(left[part]))
    details = {"goes on from step": before, "ends at step": right["global_step"]}
    what = f"tensors and numbers of the checkpoint that differ, of {number}"
    task.write([Row(what, "", {"ours": len(found)}, None, "0", {**details, "differ": found[:20]})])


def _train(task: Task, folder: Path, config: dict[str, Any], ends: bool = True) -> None:
    """Run the job of a folder in a process of its own.

    Args:
        task: the part.
        folder: the run's folder.
        config: the configuration.
        ends: whether the job should come to its end, or be killed before.

    Raises:
        RuntimeError: it did not do so.
    """
    folder.mkdir(exist_ok=True)
    write_config(folder, config)
    ended = in_fork(partial(_quietly, folder), task.left())
    if (ended.word == "measured") != ends or ended.word == "stopped":
        raise RuntimeError(f"the run in the folder {folder.name}: {ended}")


def _quietly(folder: Path) -> None:
    """Run the job of a folder and keep what it prints to itself."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run_job(folder)


def _last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True, map_location="cpu")


def differences(left: Any, right: Any, path: str) -> list[str]:
    """Return where two nested structures differ, bit for bit: [] if nowhere."""
    ours, theirs = dict(_leaves(left, path)), dict(_leaves(right, path))
    return sorted(name for name in ours.keys() | theirs.keys() if not _same(ours.get(name), theirs.get(name)))


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    return type(left) is type(right) and left == right


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of everything that is neither a mapping nor a sequence."""
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list | tuple):
        inner = enumerate(value)
    else:
        yield path, value
        return
    for key, entry in inner:
        yield from _leaves(entry, f"{path}.{key}")
