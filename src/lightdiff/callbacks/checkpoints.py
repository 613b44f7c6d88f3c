"""Checkpoints of a run: `last.ckpt` to go on from, `best.ckpt`, and some to keep."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from lightdiff.callbacks.common import is_last_batch, last_checkpoint


class Checkpoints(Checkpoint):
    """Writes `checkpoints/last.ckpt` at the end of epochs, every few steps where asked, and at the end of the run.

    Lightning runs this after all other callbacks of the same moment, so their state at the end of an epoch is in the file.
    Its own ModelCheckpoint saves by epochs or by steps but not both, and may leave the last steps of a run unsaved.

    Args:
        every_n_epochs: save at the end of every n-th epoch.
        every_n_steps: save every n optimizer steps too; None: only at the end of epochs.
        monitor: metric that decides which epoch's file is kept as `best.ckpt`; None: no best.
        mode: whether a small ("min") or a large ("max") value of it is good.
        keep_every_n_epochs: keep `epoch_NNNN.ckpt` of every n-th epoch for good; None: keep none.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        monitor: str | None = "val/loss",
        mode: Literal["min", "max"] = "min",
        keep_every_n_epochs: int | None = None,
    ) -> None:
        for name, value in (
            ("every_n_epochs", every_n_epochs),
            ("every_n_steps", every_n_steps),
            ("keep_every_n_epochs", keep_every_n_epochs),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}: 1 or more is expected")
        self.every_n_epochs = every_n_epochs
        self.every_n_steps = every_n_steps
        self.monitor = monitor
        self.mode = mode
        self.keep_every_n_epochs = keep_every_n_epochs
        self.best: float | None = None
        self._saved_step = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.path = last_checkpoint(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # the end of an epoch saves after validation instead, so that a resume from there has nothing left to do in it
        if (
            self.every_n_steps is not None
            and trainer.global_step % self.every_n_steps == 0
            and trainer.global_step != self._saved_step
            and not is_last_batch(trainer)
        ):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        improved = self._improved(trainer)
        keep = self.keep_every_n_epochs is not None and epoch % self.keep_every_n_epochs == 0
        if improved or keep or epoch % self.every_n_epochs == 0:
            self._save(trainer)
        if trainer.is_global_zero:
            if improved:
                _copy(self.path, self.path.with_name("best.ckpt"))
            if keep:
                _copy(self.path, self.path.with_name(f"epoch_{epoch:04d}.ckpt"))
        trainer.strategy.barrier("lightdiff: checkpoints")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step != self._saved_step:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        self._saved_step = trainer.global_step
        trainer.save_checkpoint(self.path, weights_only=False)

    def _improved(self, trainer: Trainer) -> bool:
        if self.monitor is None or self.monitor not in trainer.callback_metrics:
            return False
        value = float(trainer.callback_metrics[self.monitor])
        if not math.isfinite(value):
            return False
        better = self.best is None or (value < self.best if self.mode == "min" else value > self.best)
        if better:
            self.best = value
        return better

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    temporary.replace(target)
