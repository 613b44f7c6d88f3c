"""A validation at the end of a run."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from lightdiff.callbacks.common import is_last_batch
from lightdiff.callbacks.due import epoch_end_is_due


class ValidateAtEnd(Callback):
    """Validate after the last epoch too, whatever `trainer.check_val_every_n_epoch` says.

    Without it a run of fewer epochs than that has no `val/loss` at all, and other runs end with the one of an earlier epoch.
    A run that `trainer.max_steps` ends in the middle of an epoch is not validated there.
    """

    def __init__(self) -> None:
        self._usual: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if epoch_end_is_due(trainer):
            self._include_last_epoch(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning decides after this hook. The one at the start of an epoch is left out where a resume begins within one.
        if is_last_batch(trainer):
            self._include_last_epoch(trainer)

    def _include_last_epoch(self, trainer: Trainer) -> None:
        if trainer.current_epoch + 1 == trainer.max_epochs:
            self._usual = trainer.check_val_every_n_epoch
            trainer.check_val_every_n_epoch = self._usual and 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.check_val_every_n_epoch = self._usual or trainer.check_val_every_n_epoch
