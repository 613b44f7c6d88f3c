"""Build what trains a model: the callbacks, and Lightning's Trainer as a run has it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import Checkpoint, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lightdiff.config.build import build_guidance, build_sampler
from lightdiff.config.decisions import Decisions
from lightdiff.config.instantiate import ConfigError, call, import_target, instantiate, naming
from lightdiff.core import Guidance
from lightdiff.jobs.devices import cluster, strategy
from lightdiff.model import AtomicCheckpointIO
from lightdiff.utils.program import typed


def build_callbacks(config: dict[str, Any]) -> list[Callback]:
    """Build the callbacks of group callbacks; a callback whose arguments name sampler, guidance, seed or `config` gets it."""
    sampler, num_steps = build_sampler(config)
    offers = {
        "sampler": sampler,
        "num_steps": num_steps,
        "guidance": _own_guidance(config),
        "config": config,
        "seed": config["seed"],
    }
    callbacks = []
    for name, entry in (config.get("callbacks") or {}).items():
        if entry is None or (isinstance(entry, dict) and entry.get("_target_", entry) is None):
            continue
        if not isinstance(entry, dict) or "_target_" not in entry:
            raise ConfigError(f"callbacks.{name}: a mapping with the _target_ of a callback, or null, is expected")
        with naming(f"callbacks.{name}", entry):
            asked = inspect.signature(import_target(entry["_target_"])).parameters
        extra = {offer: value for offer, value in offers.items() if offer in asked and offer not in entry}
        callbacks.append(instantiate(entry, key=f"callbacks.{name}", **extra))
    return callbacks


def _own_guidance(config: dict[str, Any]) -> Guidance | None:
    """Build the guidance of the pictures and metrics of a training, in which no other trained model may take part.

    Raises:
        ConfigError: one takes part. It would be stronger than a model in training at first, and a run that goes on would need
            its file.
    """
    guidance = build_guidance(config)
    for key, part in ({} if guidance is None else guidance.parts_by_key()).items():
        if part.needs_models:
            raise ConfigError(
                f"{key}={part.kind}: another trained model cannot guide the pictures of a model in training, which is at first "
                f"the weaker one; choices: none, classifier_free; guide the trained model: {typed('sample')} guidance={part.kind}"
            )
    return guidance


class RunTrainer(Trainer):
    """Lightning's Trainer of a run: whatever its loggers are, callbacks find the run's folder as `log_dir`."""

    @property
    def log_dir(self) -> str | None:
        # Lightning's would be the folder of the first logger
        return self.default_root_dir


def build_trainer(
    config: dict[str, Any], folder: Path, decisions: Decisions, callbacks: list[Callback], loggers: list[Logger]
) -> RunTrainer:
    """Build the Lightning trainer of group trainer, which writes everything below the run's folder.

    Args:
        config: plain data.
        folder: the run's folder.
        decisions: how the run computes.
        callbacks, loggers: as `build_callbacks` and `build_loggers` have built them.
    """
    trainer, processes = config["trainer"], decisions.processes.value
    if not trainer.get("enable_progress_bar", True):
        # Lightning refuses a bar beside this key
        callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
    try:
        return call(
            RunTrainer,
            {
                # BatchNorm then takes its statistics from the whole batch, as one process does; torch has this for GPUs only
                "sync_batchnorm": processes > 1 and decisions.device.value.type == "cuda",
                **trainer,
                # the training job prints a shorter summary itself
                "enable_model_summary": False,
                "precision": decisions.precision.value,
                "strategy": strategy(trainer, processes, config.get("ddp_timeout", 600)),
            },
            key="trainer",
            default_root_dir=folder,
            logger=loggers,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO(), *cluster(processes)],
            # DiffSet gives each process its rows itself
            use_distributed_sampler=False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        )
    except (MisconfigurationException, ImportError) as error:
        with naming("trainer", trainer):
            raise ValueError(str(error)) from error
