"""The progress bar of training: the epoch, the loss, and the time left in the epoch and in the whole run."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer, callbacks

from lightdiff.callbacks.curves import Curves
from lightdiff.callbacks.pace import Pace
from lightdiff.utils.program import typed
from lightdiff.utils.progress import SCREEN, Task, clock, in_words

log = logging.getLogger(__name__)

TIMED_SECONDS = 2.0
"""Seconds of training that are timed before the length of the run is forecast."""
LONG = 3600
"""Seconds from which a run on a CPU is called long, and a shorter one is named."""


class ProgressBar(callbacks.ProgressBar):
    """Shows the epoch, the loss as the curves have it (mean since the last point) and the time left, by a clock.

    A terminal and a notebook show one line that is drawn again; elsewhere a line is printed now and then. After the first few
    steps one line says how long the run takes. Callbacks show what they do in between on the same line (`utils.progress`).

    Args:
        refresh_seconds: seconds between two drawings of the line on a terminal.
        line_seconds: seconds between two lines where the output is no terminal, such as a log file.
        refresh_rate: what older runs have in their config.yaml, in batches; 0 still means that nothing is shown.
    """

    def __init__(
        self, refresh_seconds: float = 0.5, line_seconds: float = 30.0, refresh_rate: int | None = None
    ) -> None:
        super().__init__()
        for name, value in (("refresh_seconds", refresh_seconds), ("line_seconds", line_seconds)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name}={value}: a positive number of seconds is expected")
        self.refresh_seconds, self.line_seconds = refresh_seconds, line_seconds
        self._enabled = refresh_rate != 0
        self._training: Epoch | None = None
        self._validation: Task | None = None

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    @property
    def is_enabled(self) -> bool:
        """Whether anything is shown, which only the first process does."""
        return self._enabled

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        if self._enabled:
            SCREEN.print(sep.join(map(str, args)))

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        shown = {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Curves) and callback.last_loss == callback.last_loss:
                shown = {"loss": callback.last_loss, **shown}
        return {name: f"{value:.4f}" if isinstance(value, float) else str(value) for name, value in shown.items()}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._enabled:
            return
        SCREEN.refresh_seconds, SCREEN.line_seconds = self.refresh_seconds, self.line_seconds
        self._steps, self._steps_before = trainer.estimated_stepping_batches, trainer.global_step
        self._batches_per_step = _batches_per_step(trainer)
        batches_left = (self._steps - self._steps_before) * self._batches_per_step
        self._forecast_is_due = True
        self._training = Epoch(Pace(batches_left, trainer.num_training_batches))
        SCREEN.begin(self._training)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._training is not None:
            self._begin_epoch(trainer, self._training)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Lightning leaves on_train_epoch_start out where a run goes on within an epoch
        if self._training is not None and not self._training.has_begun:
            self._begin_epoch(trainer, self._training)

    def _begin_epoch(self, trainer: Trainer, training: Epoch) -> None:
        # a run resumed within an epoch has done some of its batches; otherwise this still counts the epoch before
        batches: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        done = batches.processed if batches.processed < trainer.num_training_batches else 0
        training.begin(trainer.current_epoch + 1, trainer.max_epochs, done)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        training = self._training
        if training is None:
            return
        pace = training.pace
        enough = pace.timed(time.monotonic()) >= TIMED_SECONDS
        if self._forecast_is_due and (enough or not pace.warm) and pl_module.device.type == "cuda":
            # the CPU runs ahead of the GPU, so the timing of a forecast begins and ends by waiting for the GPU
            torch.cuda.synchronize(pl_module.device)
        now = time.monotonic()
        pace.batch_ended(now)
        training.done = batch_idx + 1
        if training.metrics_age(now) >= self.refresh_seconds:
            training.show_metrics(self.get_metrics(trainer, pl_module), now)
        if self._forecast_is_due and enough:
            self._forecast_is_due = False
            self._forecast(pace, pl_module.device.type)

    def _forecast(self, pace: Pace, device: str) -> None:
        """Say once how long the run takes, from the batches timed so far."""
        step_seconds = pace.timed_seconds / pace.timed_batches * self._batches_per_step
        each = f"{step_seconds:.2g} s" if step_seconds < 10 else f"{step_seconds:.0f} s"
        if not math.isfinite(self._steps):
            lines = [f"this run: {each} a step on this machine; it has no last step"]
        else:
            seconds = step_seconds * (self._steps - self._steps_before)
            steps = f"{self._steps:,} steps"
            if self._steps_before:
                steps = f"{self._steps - self._steps_before:,} of {steps} are left,"
            lines = [
                f"this run: {steps} at {each}: about {in_words(seconds)} on this machine, plus validation and pictures"
            ]
            if seconds > LONG and device == "cpu":
                lines.append(
                    f"in minutes: {typed('train')} experiment=mnist_fast (about 10 minutes on 2 cores), fashion_fast or "
                    "digits_fast"
                )
        SCREEN.print("\n".join(lines))
        for line in lines:
            log.info("%s", line)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._enabled:
            batches = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
            total = sum(batches)
            self._validation = Task("validation", total=int(total) if math.isfinite(total) else None)
            SCREEN.begin(self._validation)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self._validation is not None:
            self._validation.advance()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._validation is not None:
            SCREEN.end(self._validation)
            self._validation = None
        if self._training is not None:
            self._training.show_metrics(self.get_metrics(trainer, pl_module), time.monotonic())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._training is not None:
            self._training.show_metrics(self.get_metrics(trainer, pl_module), time.monotonic())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close(keep=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close(keep=True)

    def _close(self, keep: bool) -> None:
        for task in (self._validation, self._training):
            if task is not None:
                SCREEN.end(task, keep=keep and task is self._training)
        self._validation = self._training = None


def _batches_per_step(trainer: Trainer) -> float:
    """Training batches of an optimizer step; the last step of an epoch may have fewer than the others."""
    batches = trainer.num_training_batches
    if not math.isfinite(batches):
        return trainer.accumulate_grad_batches
    return batches / math.ceil(batches / trainer.accumulate_grad_batches)


class Epoch(Task):
    """The training epoch on show.

    Args:
        pace: of the run, which says how long the epoch and the run still take.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__("training")
        self.pace = pace
        self.has_begun = False
        self._metrics: list[str] = []
        self._metrics_time = -math.inf

    def begin(self, number: int, of: int | None, done: int) -> None:
        """Show another epoch.

        Args:
            number: of the epoch, from 1.
            of: number of epochs of the run; None or -1: no limit.
            done: its batches that were done before this process began.
        """
        epochs = f"/{of}" if of is not None and of > 0 else ""
        self.description = f"Epoch {number}{epochs}, batch"
        self.done = done
        total = min(self.pace.batches_per_epoch, done + self.pace.batches_left)
        self.total = round(total) if math.isfinite(total) else None
        self.has_begun = True
        self.restart_clock()
        self.pace.resume(time.monotonic())

    def show_metrics(self, metrics: dict[str, str], now: float) -> None:
        """Show these figures from now on."""
        self._metrics, self._metrics_time = [f"{name}={value}" for name, value in metrics.items()], now

    def metrics_age(self, now: float) -> float:
        """Seconds since the figures were last shown anew."""
        return now - self._metrics_time

    def seconds_left(self) -> float | None:
        return None if self.total is None else self.pace.seconds_for(self.total - self.done, time.monotonic())

    def notes(self) -> list[str]:
        left = self.pace.seconds_left(time.monotonic())
        return [*super().notes(), *([] if left is None else [f"run {clock(left)} left"]), *self._metrics]
