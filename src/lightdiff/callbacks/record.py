"""The record of a run: its configuration as text, the HParams tab, `result.json`."""

from __future__ import annotations

import json
from typing import Any

import yaml
from pytorch_lightning import Callback, LightningModule, Trainer

from lightdiff.callbacks.common import run_folder, tensorboards
from lightdiff.utils.files import replaced


class RunRecord(Callback):
    """Writes what was run and what came out of it.

    Args:
        config: the resolved configuration as plain data.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config = config or {}
        self.metrics: dict[str, float] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0 and trainer.is_global_zero:
            text = yaml.safe_dump(self.config, sort_keys=False)
            for logger in tensorboards(trainer):
                logger.experiment.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()), 0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if not trainer.is_global_zero:
            return
        for logger in tensorboards(trainer):
            # names of their own: a name of a curve would add a point to that curve
            logger.log_hyperparams(
                flatten(self.config), {f"final/{name}": value for name, value in self.metrics.items()}
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # after the last checkpoint: who reads that a run is finished must find it; a kill between is made good by a resume
        if trainer.is_global_zero:
            result = {"epochs": trainer.current_epoch, "steps": trainer.global_step, "metrics": self.metrics}
            with replaced(self.folder / "result.json") as temporary:
                temporary.write_text(json.dumps(result, indent=2) + "\n")

    def state_dict(self) -> dict[str, Any]:
        return {"metrics": self.metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.metrics = state_dict["metrics"]


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} to {"a.b": 1}; lists become text."""
    if not isinstance(config, dict):
        return {prefix: config if isinstance(config, bool | int | float | str) else str(config)}
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat.update(flatten(value, f"{prefix}.{name}" if prefix else str(name)))
    return flat
