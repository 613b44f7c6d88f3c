"""The loggers of group logger."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from lightdiff.callbacks.tolerance import tolerate
from lightdiff.config import extras
from lightdiff.config.instantiate import ConfigError, call, import_target, instantiate, naming
from lightdiff.jobs.metrics_file import MetricsFile
from lightdiff.jobs.mlflow import mlflow
from lightdiff.jobs.tensorboard import TensorBoard
from lightdiff.jobs.trackio import trackio
from lightdiff.jobs.wandb import wandb
from lightdiff.utils.text import shorten


def tensorboard(folder: Path, purge_step: int | None) -> Logger:
    """Return the logger of TensorBoard, which writes events right into the run's folder."""
    return TensorBoard(folder, purge_step)


class ResumableCSV(CSVLogger):
    """Write `metrics.csv` in the run's folder at every point.

    A resumed run goes on with the rows that are there, where Lightning's logger would begin the file anew.

    Args:
        folder: the run's folder.
        purge_step: rows from this step on are dropped, since the resumed run writes them again; None: no row is kept.
    """

    def __init__(self, folder: Path, purge_step: int | None) -> None:
        super().__init__(folder.parent.parent, name=folder.parent.name, version=folder.name)
        self._folder, self._purge_step = folder, purge_step
        self._rows: MetricsFile | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._rows is None:
            self._rows = MetricsFile(self._folder / "metrics.csv", self._purge_step)
        return self._rows

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        values = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        self.experiment.add(values, step or 0)

    @rank_zero_only
    def log_hyperparams(self, params: Any = None) -> None:
        # Lightning's would write hparams.yaml; config.yaml holds the settings
        pass

    @rank_zero_only
    def save(self) -> None:
        # every row is written at once
        pass


def csv(folder: Path, purge_step: int | None) -> Logger:
    """Return the logger that writes `metrics.csv` in the run's folder."""
    return ResumableCSV(folder, purge_step)


LOGGERS = {"tensorboard": tensorboard, "csv": csv, "wandb": wandb, "mlflow": mlflow, "trackio": trackio}
"""Name in group logger -> the function that makes the logger."""


FOLDER_ARGUMENTS = ("save_dir", "dir")
"""Names that loggers have for the argument with the folder into which they write."""


def build_loggers(config: dict[str, Any], folder: Path, purge_step: int | None) -> list[Logger]:
    """Build the loggers of group logger.

    The group maps names to settings. A name is one of `LOGGERS`, or any other if the settings have the `_target_` of a Lightning
    Logger. With a `_target_` of its own the group is such a logger too, beside those of `LOGGERS` that it names.

    Where neither tensorboard nor csv is among them, csv joins: report.py reads the curves of a run from its folder. These two
    write the run's own record, and without them it ends. Without any other logger that fails a training goes on, see `tolerate`.

    Args:
        config: the configuration as plain data.
        folder: the run's folder; a logger by `_target_` that takes a folder and is given none writes there.
        purge_step: the step from which on a resumed run writes its points again; None: none.

    Raises:
        ConfigError: an unknown logger, settings that it does not take, or a package that is not installed.
    """
    group = config.get("logger") or {}
    if not isinstance(group, dict):
        raise ConfigError(f"logger={shorten(group)}: a mapping of loggers, or null, is expected")
    own = {name: value for name, value in group.items() if name not in LOGGERS} if "_target_" in group else {}
    loggers = [tolerate(_of_class(own, "logger", folder), "logger")] if own else []
    for name, settings in group.items():
        key = f"logger.{name}"
        if name in own:
            continue
        if isinstance(settings, dict) and "_target_" in settings:
            loggers.append(tolerate(_of_class(settings, key, folder), key))
            continue
        if name not in LOGGERS:
            choices = f"{', '.join(LOGGERS)}, or a mapping with the _target_ of a logger"
            raise ConfigError(f"{key}: no such logger; choices: {choices}")
        if not isinstance(settings, dict | None):
            raise ConfigError(f"{key}={shorten(settings)}: a mapping with its settings, or null, is expected")
        if name in extras.LOGGERS:
            extras.require(name, f"logger={name}")
        made = call(LOGGERS[name], settings or {}, key=key, folder=folder, purge_step=purge_step)
        loggers.append(tolerate(made, key) if name in extras.LOGGERS else made)
    if loggers and not any(isinstance(logger, TensorBoard | ResumableCSV) for logger in loggers):
        loggers.append(csv(folder, purge_step))
    return loggers


def _of_class(settings: dict[str, Any], key: str, folder: Path) -> Logger:
    """Build the logger of any class that is a Lightning Logger.

    Args:
        settings: its `_target_` and arguments.
        key: their key in the configuration.
        folder: the folder that it gets where it takes one and is given none.
    """
    settings = {name: value for name, value in settings.items() if name not in FOLDER_ARGUMENTS or value is not None}
    with naming(key, settings):
        taken = inspect.signature(import_target(settings["_target_"])).parameters
    argument = next((name for name in FOLDER_ARGUMENTS if name in taken), None)
    place: dict[str, Any] = {} if argument is None or settings.keys() & {*FOLDER_ARGUMENTS} else {argument: str(folder)}
    try:
        logger = instantiate(settings, key=key, **place)
    except ImportError as error:
        # Lightning says so of a package that is not installed
        raise ConfigError(f"{key}._target_={settings['_target_']}: {' '.join(str(error).split())}") from error
    if not isinstance(logger, Logger):
        raise ConfigError(
            f"{key}._target_={settings['_target_']}: a class of pytorch_lightning.loggers.Logger is expected"
        )
    return logger
