"""Runs for tests: a tiny network on the digits, trained in this process exactly as the command line trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from pytorch_lightning import Callback, LightningModule, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightdiff.config.build import plain
from lightdiff.jobs.run_config import write_config
from lightdiff.jobs.train import run_job
from waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
PLOTTED = (
    "dataset=digits",
    "dataset.batch_size=16",
    "model=unet_small",
    "model.widths=[8,16]",
    "model.attention_levels=[1]",
    "sampler=ddim",
    "sampler.num_steps=3",
    "trainer=cpu",
    "trainer.precision=32-true",  # numbers are compared across batch sizes, processes and machines
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=7",
    "trainer.limit_val_batches=2",
    "trainer.log_every_n_steps=3",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
)
"""Settings of a tiny run that also draws its plots, which take two thirds of its time."""
TINY = (*PLOTTED, "callbacks.schedule_plot=null", "callbacks.loss_plot=null")


def composed(*overrides: str, name: str = "train") -> dict[str, Any]:
    """The plain configuration that the command line would compose."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return plain(compose(name, list(overrides)))


def tiny(*overrides: str) -> dict[str, Any]:
    """Configuration of two epochs of seven batches that take a second or two."""
    return composed(*TINY, *overrides)


def plotted(*overrides: str) -> dict[str, Any]:
    """As `tiny`, with plots of the schedule and of the loss."""
    return composed(*PLOTTED, *overrides)


def train(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Start or go on with the run in `folder`; returns the content of its last checkpoint."""
    if not (folder / "config.yaml").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_config(folder, config)
    run_job(folder)
    return last(folder)


def train_in_two_processes(config: dict, folder: Path, *, until: int | None = None) -> None:
    """As `train`, by a job of two processes; they are killed after the batch `until`, if there is one."""
    config = {**config, "trainer": {**config["trainer"], "devices": 2}}
    if until is not None:
        killing = {"kill": {"_target_": "runs.KillAt", "batch": until}, **config["callbacks"]}
        try:
            train_in_two_processes({**config, "callbacks": killing}, folder)
        except AssertionError as error:
            assert "Killed" in str(error)
            write_config(folder, config)
            return
        raise AssertionError("the run was over before it could be killed")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "config.yaml").exists():
        write_config(folder, config)
    path = os.pathsep.join([str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    job = [sys.executable, str(ROOT / "train.py"), "--job", str(folder), "runs.KillAt"]
    done = subprocess.run(job, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


def last(folder: Path, name: str = "last.ckpt") -> dict[str, Any]:
    """Content of the run's last checkpoint, or of another one."""
    return torch.load(folder / "checkpoints" / name, weights_only=True)


class Killed(BaseException):
    """As sudden as a kill: nothing may be saved on the way out."""


class KillAt(Callback):
    """Ends the run right after a batch, before anything is saved.

    Args:
        batch: how many batches the run has trained on by then, over all its epochs.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.total.processed == self.batch:
            raise Killed


class Spoil(Callback):
    """Makes the gradient of some batches NaN, before anyone looks at it."""

    def __init__(self, batches: list[int]) -> None:
        self.batches = batches

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.total.processed in self.batches:
            next(pl_module.parameters()).grad.view(-1)[0] = float("nan")


def killed(config: dict[str, Any], folder: Path, *, batch: int) -> None:
    """Start (or go on with) the run and kill it after `batch` batches; its config.yaml stays that of an ordinary run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(
        folder, {**config, "callbacks": {"kill": {"_target_": "runs.KillAt", "batch": batch}, **config["callbacks"]}}
    )
    try:
        run_job(folder)
    except Killed:
        write_config(folder, config)
        return
    raise AssertionError("the run was over before it could be killed")


def differences(left: Any, right: Any, path: str = "") -> list[str]:
    """Where two nested structures differ, bit for bit; [] if nowhere."""
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return [] if left.dtype == right.dtype and torch.equal(left, right) else [path]
    if isinstance(left, dict) and isinstance(right, dict):
        missing = [f"{path}.{key}" for key in left.keys() ^ right.keys()]
        return missing + [
            d for key in left.keys() & right.keys() for d in differences(left[key], right[key], f"{path}.{key}")
        ]
    if isinstance(left, list | tuple) and isinstance(right, list | tuple) and len(left) == len(right):
        return [d for i, pair in enumerate(zip(left, right, strict=True)) for d in differences(*pair, f"{path}[{i}]")]
    return [] if left == right else [path]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar curve of a run folder's events, as TensorBoard shows it: {tag: [(step, value), ...]}."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
