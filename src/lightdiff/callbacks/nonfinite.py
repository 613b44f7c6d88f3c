"""Stops a run whose loss is no longer a number, before it overwrites a good checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightdiff.callbacks.common import last_checkpoint, point_is_due, sum_over_ranks
from lightdiff.utils.files import shown


class NonFiniteError(RuntimeError):
    """The loss became NaN or infinite."""


class StopOnNonFinite(Callback):
    """Looks at the losses whenever a point of the curves or a checkpoint is due, so that the device is not waited for at
    every step.

    Raises:
        NonFiniteError: names the steps in question and the last good checkpoint.
    """

    def __init__(self) -> None:
        self._bad = torch.zeros((), dtype=torch.int64)
        self._checked_step = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._checkpoint = last_checkpoint(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bad = torch.zeros((), dtype=torch.int64, device=pl_module.device)
        self._checked_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._bad += (~torch.isfinite(outputs["losses"])).sum()
        if point_is_due(trainer) and trainer.global_step != self._checked_step:
            self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        first, self._checked_step = self._checked_step + 1, trainer.global_step
        if int(sum_over_ranks(trainer, self._bad)) == 0:
            return
        good = (
            f"last good checkpoint: {shown(self._checkpoint)}"
            if self._checkpoint.is_file()
            else "no checkpoint was saved yet"
        )
        raise NonFiniteError(
            f"the loss became NaN or infinite between steps {first} and {max(first, trainer.global_step)}; {good}; "
            "try a lower optimizer.lr or trainer.gradient_clip_val=1.0"
        )
