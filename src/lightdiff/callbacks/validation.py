"""A validation at the end of a run."""

from __future__ import annotations

from pytorch_lightning import Callback, LightningModule, Trainer


class ValidateAtEnd(Callback):
    """Validate after the last epoch too, whatever `trainer.check_val_every_n_epoch` says.

    Without it a run of fewer epochs than that has no `val/loss` at all, and others report one of an earlier epoch.
    A run that `trainer.max_steps` ends in the middle of an epoch is not validated there.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._usual = trainer.check_val_every_n_epoch
        if self._usual is not None and trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.check_val_every_n_epoch = self._usual
