"""Checkpoints that are saved right after a batch say what is still due: a validation, the end of the epoch.

Lightning, when it goes on from such a checkpoint, takes both for done.
"""

from __future__ import annotations

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

DUE = "due"
"""Key of a checkpoint from which a run goes on with what follows a batch, and not with the next batch."""


def first_step_to_log(checkpoint: dict[str, Any]) -> int:
    """Return the first optimizer step of which a run that goes on from this checkpoint logs points."""
    return int(checkpoint["global_step"]) + (0 if checkpoint.get(DUE) else 1)


def epoch_end_is_due(trainer: Trainer) -> bool:
    """Return, when training starts, whether the run goes on with the end of an epoch, of which all batches are done."""
    loop = trainer.fit_loop
    return (
        loop.restarted_mid_epoch and loop.epoch_loop.restarted_on_last and loop.epoch_loop.batch_progress.is_last_batch
    )


class DueCheckpoint(Checkpoint):
    """A callback that may save between a batch and the validation or the end of the epoch that follows it.

    A run that goes on from such a checkpoint validates and ends the epoch first, as the uninterrupted run has done.
    """

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        _uncount_part_of_epoch(checkpoint)
        loops = checkpoint["loops"]["fit_loop"]
        batches, validation = (loops[f"epoch_loop.{name}batch_progress"] for name in ("", "val_loop."))
        # a batch counts as completed after its last hook, and a batch of the validation after its own
        after_batch = batches["total"]["completed"] < batches["total"]["processed"]
        validating = validation["current"]["completed"] < validation["current"]["ready"]
        validate = _validation_follows(trainer) if after_batch else validating
        if not validate and not (after_batch and batches["is_last_batch"]):
            return
        for progress in (batches["total"], batches["current"]):
            progress["completed"] = progress["processed"]
        _mark(checkpoint)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _go_on_with_next_epoch(trainer)
        if epoch_end_is_due(trainer) and not _validation_follows(trainer):
            # without this Lightning would look for a validation that has still to be made, and train on until it finds one
            trainer.fit_loop.epoch_loop.val_loop._has_run = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning does this after a batch, of which an epoch that only had to be ended has none
        trainer.fit_loop.epoch_loop.restarting = False


def end_epoch_again(checkpoint: dict[str, Any]) -> None:
    """Have a run that goes on from this checkpoint, which is saved at the end of an epoch, do all of that end once more."""
    for progress in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
        progress["processed"] -= 1
    _mark(checkpoint)


def _go_on_with_next_epoch(trainer: Trainer) -> None:
    """Let a run that goes on from the end of an epoch begin the next one.

    Where max_steps is set, Lightning would end that epoch once more, without a batch, and count it twice.
    """
    loop = trainer.fit_loop
    if not loop.restarting or loop.restarted_mid_epoch or loop.restarted_on_epoch_start:
        return
    if loop.restarted_on_epoch_end:
        loop.epoch_progress.increment_completed()
    loop._restarting = loop.epoch_loop.restarting = False
    loop.reset_restart_stage()
    loop.epoch_loop.reset_restart_stage()


def _uncount_part_of_epoch(checkpoint: dict[str, Any]) -> None:
    """Take back that an epoch counts as done of which `trainer.max_steps` left batches out, so that a longer run trains them."""
    loops = checkpoint["loops"]["fit_loop"]
    batches, epochs = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
    counted = epochs["current"]["processed"] == epochs["current"]["started"] > 0
    if counted and not batches["is_last_batch"]:
        for progress in epochs.values():
            progress["completed"] = progress["processed"] = progress["processed"] - 1
        checkpoint["epoch"] = epochs["current"]["completed"]


def _mark(checkpoint: dict[str, Any]) -> None:
    """Let a checkpoint say that the run goes on with what follows the last batch."""
    checkpoint[DUE] = True
    # Lightning begins a validation anew that was left in its first batch, if there is one at this place
    validation = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    validation["current"] = dict.fromkeys(validation["current"], 0)
    validation["total"] = {**validation["current"], "ready": 1, "started": 1}


def _validation_follows(trainer: Trainer) -> bool:
    """Return whether Lightning validates after the batch that just ended."""
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
