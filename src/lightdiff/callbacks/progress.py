"""The progress bar: epoch of epochs, loss, time left."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar

from lightdiff.callbacks.curves import Curves


class ProgressBar(TQDMProgressBar):
    """Lightning's bar with the loss as the curves have it (mean since the last point) and no version number.

    Args:
        refresh_rate: batches between two refreshes; 0: no bar.
    """

    def __init__(self, refresh_rate: int = 10) -> None:
        if refresh_rate < 0:
            raise ValueError(f"refresh_rate={refresh_rate}: 1 or more, or 0 (no bar), is expected")
        super().__init__(refresh_rate=refresh_rate)

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        epochs = trainer.max_epochs
        if epochs is not None and epochs > 0:
            self.train_progress_bar.set_description(f"Epoch {trainer.current_epoch + 1}/{epochs}")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        shown = {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Curves) and callback.last_loss == callback.last_loss:
                shown = {"loss": f"{callback.last_loss:.4f}", **shown}
        return shown
