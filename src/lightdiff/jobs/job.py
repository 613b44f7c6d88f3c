"""A training job of which everything is built: say what it will do, then train."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lightdiff.config.decisions import Decisions
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.reading import fitting
from lightdiff.data import DataError, DiffSet
from lightdiff.jobs.devices import Ranks
from lightdiff.jobs.good_checkpoint import naming_field
from lightdiff.jobs.processes import hold_signals, take_signals
from lightdiff.jobs.summary import batch_norm_warning, data_summary, device_summary, network_summary
from lightdiff.model import DiffusionModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A training job of which everything is built.

    Args:
        config: the configuration, as plain data.
        found: a line for each setting that was found in the data.
        data: the data set, set up.
        model: the model.
        decisions: how the run computes.
        trainer: the trainer.
        checkpoint: the file from which the run goes on; None: it begins.
    """

    config: dict[str, Any]
    found: Sequence[str]
    data: DiffSet
    model: DiffusionModel
    decisions: Decisions
    trainer: Trainer
    checkpoint: Path | None

    def fit(self) -> None:
        """Train.

        Raises:
            ConfigError: a setting was refused before the first batch.
        """
        self._announce()
        if isinstance(self.trainer.strategy, Ranks):
            hold_signals()
        try:
            with naming_field(self.trainer, self.checkpoint):
                self.trainer.fit(self.model, datamodule=self.data, ckpt_path=self.checkpoint, weights_only=True)
        except (ValueError, MisconfigurationException, DataError) as error:
            if self.model.batch_number > 0:
                raise
            # refused before the first batch, so a setting is wrong
            with fitting(self.config["dataset"]):
                if isinstance(error, DataError):
                    raise
            raise ConfigError(" ".join(str(error).split())) from error
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                # Lightning would turn it into exit code 1
                raise KeyboardInterrupt from error
            raise
        finally:
            self.data.teardown()
            take_signals()

    def _announce(self) -> None:
        """Print and log what is trained on what, and how."""
        if not self.trainer.is_global_zero:
            return
        # train.log has them already
        for line in self.data.warnings:
            print(f"warning:    {line}", flush=True)
        shows_network = self.config["trainer"].get("enable_model_summary", True)
        for line in (
            *self.found,
            *([network_summary(self.model)] if shows_network else []),
            data_summary(self.data),
            device_summary(self.trainer),
            *batch_norm_warning(self.trainer, self.model),
            str(self.decisions),
            *([self.data.accepted] if self.data.accepted else []),
        ):
            print(line, flush=True)
            log.info("%s", line)
