"""The settings of a run that the HParams tab of TensorBoard shows: which parts, and about ten numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytorch_lightning import Trainer

from lightdiff.lightning import DiffusionModel

Setting = str | int | float


def settings_of(trainer: Trainer, model: DiffusionModel, config: dict[str, Any]) -> dict[str, Setting]:
    """Return the columns of the HParams tab: the same names for every run, named as the keys of the configuration.

    Args:
        trainer: the trainer of the run, with its data and its optimizer.
        model: the model that is trained.
        config: the resolved configuration as plain data, which knows most of the parts; {} in plain Python.
    """
    optimizer, data = trainer.optimizers[0], trainer.datamodule  # type: ignore[attr-defined]
    parts = {**model.describe(), **config}
    objective = parts["objective"] or {}
    scheduler = config.get("lr_scheduler") or [type(entry.scheduler).__name__ for entry in trainer.lr_scheduler_configs]
    height, width = model.image_shape[1:]
    return {
        "dataset.name": getattr(data, "name", type(data).__name__),
        "model": type(model.network).__name__,
        "schedule": _classes(parts["schedule"]),
        "objective.prediction": _classes(objective.get("prediction")),
        "objective.weighting": _classes(objective.get("weighting")),
        "conditioning": _classes(parts["conditioning"]),
        "optimizer": type(optimizer).__name__,
        "lr_scheduler": _classes(scheduler),
        "dataset.batch_size": getattr(data, "batch_size", 0),
        "dataset.image_size": height if height == width else f"{height}x{width}",
        "optimizer.lr": optimizer.defaults["lr"],
        "optimizer.weight_decay": optimizer.defaults.get("weight_decay", 0.0),
        "ema_decay": model.ema_decay or 0.0,
        "trainer.max_epochs": -1 if trainer.max_epochs is None else trainer.max_epochs,
        "trainer.max_steps": trainer.max_steps,
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "seed": model.seed,
    }


def _classes(part: Any) -> str:
    """Return the names of the classes that a part is made of: "DiscreteSchedule, linear_betas"; "none" for none."""
    return ", ".join(_names(part)) or "none"


def _names(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "_target_" in part:
            yield str(part["_target_"]).rpartition(".")[2]
        for item in part.values():
            if isinstance(item, dict):
                yield from _names(item)
    elif isinstance(part, list):
        yield from map(str, part)
