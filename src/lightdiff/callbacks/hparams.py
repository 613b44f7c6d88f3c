"""The settings of a run that the HParams tab of TensorBoard shows: which parts, and about ten numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytorch_lightning import Trainer

from lightdiff.model import DiffusionModel

Setting = str | int | float


def settings_of(trainer: Trainer, model: DiffusionModel, config: dict[str, Any]) -> dict[str, Setting]:
    """Return the columns of the HParams tab: the same names for every run, named as the keys of the configuration.

    Args:
        trainer: the trainer of the run, with its data and its optimizer.
        model: the model that is trained.
        config: the resolved configuration as plain data, which knows most of the parts; {} in plain Python.
    """
    optimizer, data = trainer.optimizers[0], trainer.datamodule  # type: ignore[attr-defined]
    scheduler = next((entry.scheduler for entry in trainer.lr_scheduler_configs), None)
    objective = config.get("objective") or {}
    height, width = model.image_shape[1:]
    return {
        "dataset.name": getattr(data, "name", "none"),
        "model": type(model.network).__name__,
        "schedule": _name(config.get("schedule"), model.schedule),
        "objective.prediction": _name(objective.get("prediction"), model.trained.prediction),
        "objective.weighting": _name(objective.get("weighting"), getattr(model.objective, "weighting", None)),
        "conditioning": _name(config.get("conditioning"), model.conditioning),
        "optimizer": type(optimizer).__name__,
        "lr_scheduler": _name(config.get("lr_scheduler"), scheduler),
        "dataset.batch_size": getattr(data, "batch_size", 0),
        "dataset.image_size": height if height == width else f"{height}x{width}",
        "optimizer.lr": float(optimizer.defaults.get("lr", 0.0)),
        "optimizer.weight_decay": optimizer.defaults.get("weight_decay", 0.0),
        "ema_decay": model.ema_decay or 0.0,
        "trainer.max_epochs": -1 if trainer.max_epochs is None else trainer.max_epochs,
        "trainer.max_steps": trainer.max_steps,
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "seed": model.seed,
    }


def _name(config: Any, part: object) -> str:
    """Return the names of the classes of a part: "DiscreteSchedule, linear_betas".

    Args:
        config: the part as plain data; without a `_target_` in it the class of the part alone is named.
        part: the part itself; None: there is none.
    """
    return ", ".join(_targets(config)) or ("none" if part is None else type(part).__name__)


def _targets(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if "_target_" in config:
            yield str(config["_target_"]).rpartition(".")[2]
        for item in config.values():
            yield from _targets(item)
