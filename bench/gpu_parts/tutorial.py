"""The tutorial's recipe as train.py runs it, but without pictures on the way: how long it takes, and where its loss ends."""

from __future__ import annotations

import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from gpu_parts.gallery import draw, save_grid, save_small
from gpu_parts.recipes import RECIPES
from gpu_parts.speed import fastest
from gpu_parts.task import Task
from lightdiff.model import DiffusionModel
from parts.ours import run
from parts.results import Row

WARM_UP = 20
"""Batches of the first epoch after which the clock starts: kernels are chosen and compiled in them."""
RESERVE = 8.0
"""Seconds that are kept for the picture at the end."""


class Epochs(Callback):
    """Times the epochs, adds up their losses, writes both down, and ends the run before its time is over.

    Args:
        task: the part.
        facts: how the recipe is trained.
    """

    def __init__(self, task: Task, facts: dict[str, Any]) -> None:
        self.task, self.facts = task, facts
        self.began = time.perf_counter()
        self.warm: float | None = None
        self.seconds: list[float] = []
        self.losses: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.sum = torch.zeros((), dtype=torch.float64, device=pl_module.device)
        self.batches = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # the sum stays on the device, so that no step waits for it
        self.sum += outputs["loss"].detach()
        self.batches += 1
        if self.warm is None and self.batches >= min(WARM_UP, trainer.num_training_batches - 1):
            self.task.settings.synchronize()
            self.warm = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.losses.append(float(self.sum) / self.batches)
        now = time.perf_counter()
        self.seconds.append(now - (self.warm or self.began))
        self._write(now)
        longest = max(after - before for before, after in zip([0.0, *self.seconds], self.seconds, strict=False))
        if self.task.left() < longest + RESERVE and not self.task.sizes.dry:
            trainer.should_stop = True

    def _write(self, now: float, **facts: Any) -> None:
        epochs = len(self.losses)
        details = {**self.facts, **facts, "losses by epoch": self.losses, "seconds by epoch": self.seconds}
        self.task.write(
            [
                Row("epochs", "", {"ours": epochs}, target=str(self.task.sizes.epochs)),
                Row("training and validation after warm-up", "s", {"ours": self.seconds[-1]}, target="at most 60"),
                Row("from the start of the job", "s", {"ours": now - self.began}),
                Row("mean loss of the last epoch", "", {"ours": self.losses[-1]}, None, "at most 0.0211", details),
            ]
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DiffusionModel)
        now, task = time.perf_counter(), self.task
        sampling = task.sizes.sampling[0]
        images = draw(pl_module, sampling, range(50), str(trainer.precision), task.settings.seed)
        save_grid(task.out / "tutorial.png", images)
        self._write(now, weights=save_small(trainer, task.out / "tutorial"))


def measure(task: Task) -> None:
    """Train in the way that was the fastest."""
    recipe = RECIPES["tutorial"]
    way, _ = fastest(task, "tutorial")
    few = ("trainer.limit_train_batches=3", "trainer.limit_val_batches=1") if task.sizes.dry else ()
    epochs = f"trainer.max_epochs={task.sizes.epochs}"
    config = recipe.composed(task, *way.overrides, "callbacks=no_samples", epochs, *few)
    run(config, Epochs(task, {"way": str(way)}))
