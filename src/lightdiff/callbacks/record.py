"""The record of a run: its configuration as text, its line in the HParams tab, `result.json`."""

from __future__ import annotations

import json
from typing import Any

import yaml
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from lightdiff.callbacks.common import epochs_done, just_measured, run_folder, tensorboards
from lightdiff.callbacks.hparams import settings_of
from lightdiff.callbacks.show import show_text
from lightdiff.model import DiffusionModel
from lightdiff.utils.files import replaced
from lightdiff.utils.structure import COUNT, NUMBER, Every, Keys, Optional


class RunRecord(Callback):
    """Write what was run and what came out of it.

    `result.json` holds the epochs and optimizer steps of the run, the last value of each metric (`metrics`), the optimizer
    step at which that value was measured (`measured_at`), and what a checkpoint holds of the data (`data`). The HParams tab shows
    the settings of `settings_of` and, as metrics, the last points of the curves of the same names. Other loggers than TensorBoard
    get these settings as their hyper-parameters.

    Args:
        config: the resolved configuration as plain data; None in plain Python.
    """

    saved = Keys(metrics=Every(NUMBER), measured_at=Optional(Every(COUNT)))
    """What its part of a checkpoint holds."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config = config or {}
        self.metrics: dict[str, float] = {}
        self.measured_at: dict[str, int] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DiffusionModel)
        self.settings = settings_of(trainer, pl_module, self.config)
        for logger in trainer.loggers:
            # TensorBoard gets them at the end, with the names of the metrics
            if not isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(self.settings)
        if trainer.global_step == 0 and trainer.is_global_zero:
            show_text(trainer, "config", yaml.safe_dump(self.config, sort_keys=False))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._keep(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(trainer)

    def _keep(self, trainer: Trainer) -> None:
        measured = just_measured(trainer)
        self.metrics.update(measured)
        self.measured_at.update(dict.fromkeys(measured, trainer.global_step))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        for logger in tensorboards(trainer):
            # Only the names of the metrics are written. SummaryWriter.add_hparams and Lightning's log_hyperparams write
            # values too, which TensorBoard shows as charts of a single point at step 0.
            for summary in hparams(self.settings, self.metrics):
                logger.experiment._get_file_writer().add_summary(summary)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Whoever reads that a run is finished must find its last checkpoint, so this comes after that. A resume makes good
        # a kill between the two.
        if trainer.is_global_zero:
            result = {
                "epochs": epochs_done(trainer),
                "steps": trainer.global_step,
                "metrics": self.metrics,
                "measured_at": self.measured_at,
                # None for other data than a DiffSet
                "data": getattr(trainer.datamodule, "facts", None),  # type: ignore[attr-defined]
            }
            with replaced(self.folder / "result.json") as temporary:
                temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    def state_dict(self) -> dict[str, Any]:
        return {"metrics": self.metrics, "measured_at": self.measured_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.metrics = dict(state_dict["metrics"])
        # checkpoints of version 0.1 do not say when a metric was measured
        self.measured_at = dict(state_dict.get("measured_at", {}))
