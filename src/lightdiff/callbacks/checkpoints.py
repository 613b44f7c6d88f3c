"""Save the checkpoints of a run: `last.ckpt` to resume from, `best.ckpt`, and some that are kept for good."""

from __future__ import annotations

import math
import shutil
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer

from lightdiff.callbacks.common import is_last_batch, last_checkpoint, save_checkpoint
from lightdiff.callbacks.due import DueCheckpoint, epoch_end_is_due
from lightdiff.utils.files import replaced
from lightdiff.utils.structure import NUMBER, Keys, Nullable


class Checkpoints(DueCheckpoint):
    """Write `checkpoints/last.ckpt` at the end of epochs, every few steps if asked, and at the end of the run.

    Lightning calls a `Checkpoint` after all other callbacks of the same event, so the file has their state at the end of an
    epoch. Lightning's own ModelCheckpoint saves by epochs or by steps but not by both, and may leave the last steps of a run
    unsaved.

    Args:
        every_n_epochs: save at the end of every n-th epoch.
        every_n_steps: save every n optimizer steps too; None: only at the end of epochs.
        monitor: metric that decides which epoch's file is kept as `best.ckpt`; None: no `best.ckpt`.
        mode: whether a small ("min") or a large ("max") value of the metric is good.
        keep_every_n_epochs: keep `epoch_NNNN.ckpt` of every n-th epoch for good; None: keep none.

    Raises:
        ValueError: a number below 1.
    """

    saved = Keys(best=Nullable(NUMBER))
    """What its part of a checkpoint holds."""

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
        self._is_due = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.path = last_checkpoint(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._saved_step, self._is_due = trainer.global_step, epoch_end_is_due(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # at the last batch of an epoch the file is saved after validation instead, so that a run resumed from it does not
        # have to validate that epoch first
        if (
            self.every_n_steps is not None
            and trainer.global_step % self.every_n_steps == 0
            and trainer.global_step != self._saved_step
            and not is_last_batch(trainer)
            and not _ends_here(trainer)
        ):
            self._save(trainer, self.path.name)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        epoch = trainer.current_epoch + 1
        names = []
        if self._improved(trainer):
            names.append("best.ckpt")
        if self.keep_every_n_epochs is not None and epoch % self.keep_every_n_epochs == 0:
            names.append(f"epoch_{epoch:04d}.ckpt")
        if (names or epoch % self.every_n_epochs == 0) and not _ends_here(trainer):
            # last.ckpt comes last: a run that is killed before it was written does this epoch again, and the other files too
            names.append(self.path.name)
        self._save(trainer, *names)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # this is the very last thing that a run does: a run that is killed earlier resumes from an earlier checkpoint, and so
        # does everything again that is due at its end
        if trainer.global_step != self._saved_step or self._is_due:
            self._save(trainer, self.path.name)

    def _save(self, trainer: Trainer, *names: str) -> None:
        if not names:
            return
        first, *others = map(self.path.with_name, names)
        if self.path in (first, *others):
            self._saved_step, self._is_due = trainer.global_step, False
        save_checkpoint(trainer, first)
        if trainer.is_global_zero:
            for other in others:
                with replaced(other) as temporary:
                    shutil.copyfile(first, temporary)
        trainer.strategy.barrier("lightdiff: checkpoints")

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


def _ends_here(trainer: Trainer) -> bool:
    """Return whether the run has done all the epochs or steps that it was asked for."""
    progress: Any = trainer.fit_loop.epoch_progress.current
    limits = ((trainer.max_steps, trainer.global_step), (trainer.max_epochs, progress.processed))
    return any(limit is not None and 0 <= limit <= reached for limit, reached in limits)
