"""Questions about the trainer that several callbacks ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from lightdiff.model import DiffusionModel, Generation, conditioned_like

Labels = int | str | Sequence[int | str] | None


def run_folder(trainer: Trainer) -> Path:
    """Return the run's folder, made if need be: the logger's, else the trainer's root.

    Call it in `setup`, on every rank, because the ranks agree on it. Later on nothing makes this folder: where it has gone, the
    run ends.
    """
    folder = Path(trainer.log_dir or trainer.default_root_dir)
    if trainer.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def last_checkpoint(trainer: Trainer) -> Path:
    """Return the path of the run's newest checkpoint."""
    return run_folder(trainer) / "checkpoints" / "last.ckpt"


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Save a checkpoint in the run's folder. All ranks must call this.

    Raises:
        OSError: the run's folder has gone, or the disk is full, read-only or broken.
    """
    if trainer.is_global_zero:
        path.parent.mkdir(exist_ok=True)
    trainer.save_checkpoint(path, weights_only=False)


def at_optimizer_step(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether the batch that just ended made an optimizer step; with gradient accumulation not every batch does."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or is_last_batch(trainer)


def is_last_batch(trainer: Trainer) -> bool:
    """Return whether the batch that just ended is the last one of its epoch."""
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def is_last_epoch(trainer: Trainer) -> bool:
    """Return whether training ends with this epoch, by max_epochs or by max_steps."""
    return trainer.current_epoch + 1 == trainer.max_epochs or trainer.global_step == trainer.max_steps


def epochs_done(trainer: Trainer) -> int:
    """Return the number of epochs that are done with all their batches; Lightning counts one that max_steps has ended too."""
    epochs = trainer.fit_loop.epoch_progress.current
    return epochs.completed if is_last_batch(trainer) else min(epochs.completed, epochs.ready - 1)


def point_is_due(trainer: Trainer, after: int = 0) -> bool:
    """Return whether the curves get a point at this optimizer step, or at the one `after` steps later."""
    return (trainer.global_step + after) % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]


def shows_progress(trainer: Trainer) -> bool:
    """Return whether this process shows a progress bar, on which a callback may show what it does (`utils.progress`)."""
    return trainer.progress_bar_callback is not None and trainer.is_global_zero


def with_conditions(
    trainer: Trainer, model: DiffusionModel, generation: Generation, count: int, labels: Labels = None
) -> Generation:
    """Return the generation with the first validation images as conditions, if the model takes any; see `conditioned_like`.

    Raises:
        ValueError: such a model is trained on other data than a `DiffSet`.
    """
    if generation.condition is None:
        return generation
    store = getattr(trainer.datamodule, "val_set", None)  # type: ignore[attr-defined]
    if store is None:
        raise ValueError(
            f"conditioning={type(model.conditioning).__name__}: pictures of a model that is conditioned on images need the "
            "images of a DiffSet; pass one to fit, or leave out the callbacks that draw"
        )
    return conditioned_like(generation, model, store, count, labels=labels)


def tensorboards(trainer: Trainer) -> list[TensorBoardLogger]:
    """Return the TensorBoard loggers among the trainer's loggers."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def log_metrics(trainer: Trainer, metrics: dict[str, float], step: int) -> None:
    """Log metrics at an optimizer step to every logger of the trainer."""
    for logger in trainer.loggers:
        logger.log_metrics(metrics, step=step)


def sum_over_ranks(trainer: Trainer, tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of the tensor over all ranks; the argument is left as it is."""
    result: Any = trainer.strategy.reduce(tensor.clone(), reduce_op="sum")
    return result


def just_measured(trainer: Trainer) -> dict[str, float]:
    """Return the metrics that were measured in the validation or the epoch that ends now.

    `trainer.callback_metrics` is no substitute: it goes on with the last value of a metric, so that after an epoch without
    a validation `val/loss` looks as if it had been measured again. Call this in `on_validation_end`, `on_train_epoch_end`.
    """
    return {name: float(value) for name, value in trainer._logger_connector.metrics["callback"].items()}


def forget_pictures(trainer: Trainer, folder: Path, name: str) -> None:
    """Delete the pictures `<name>_<step>.png` and `.gif` of a resumed run beyond its step, whose weights are given up."""
    if not trainer.is_global_zero or trainer.global_step == 0:
        return
    for path in folder.glob(f"{name}_*"):
        step = path.stem.removeprefix(f"{name}_")
        if path.suffix in (".png", ".gif") and step.isdecimal() and int(step) > trainer.global_step:
            path.unlink()
