"""Loggers that write into the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from lightdiff.utils.config import ConfigError, call


def tensorboard(folder: Path, purge_step: int | None) -> Logger:
    """Events right in the run's folder."""
    return TensorBoardLogger(
        folder.parent.parent,
        name=folder.parent.name,
        version=folder.name,
        default_hp_metric=False,
        purge_step=purge_step,
    )


def csv(folder: Path, purge_step: int | None) -> Logger:
    """`metrics.csv` in the run's folder."""
    return CSVLogger(folder.parent.parent, name=folder.parent.name, version=folder.name)


def wandb(folder: Path, purge_step: int | None, project: str = "lightdiff", offline: bool = False) -> Logger:
    """Weights & Biases (extra `wandb`); its run has the folder's name and goes on with it."""
    from pytorch_lightning.loggers import WandbLogger

    name = f"{folder.parent.name}-{folder.name}"
    return WandbLogger(save_dir=folder, project=project, name=name, id=name, offline=offline, resume="allow")


LOGGERS = {"tensorboard": tensorboard, "csv": csv, "wandb": wandb}


def build_loggers(config: dict[str, Any], folder: Path, purge_step: int | None) -> list[Logger]:
    """The loggers of group logger: a mapping from the names above to their arguments."""
    loggers = []
    for name, arguments in (config.get("logger") or {}).items():
        if name not in LOGGERS:
            raise ConfigError(f"logger.{name}: no such logger; choices: {', '.join(LOGGERS)}")
        try:
            loggers.append(
                call(LOGGERS[name], arguments or {}, key=f"logger.{name}", folder=folder, purge_step=purge_step)
            )
        except ImportError as error:
            raise ConfigError(f"logger={name}: a package is missing; pip install 'lightdiff[{name}]'") from error
    return loggers
