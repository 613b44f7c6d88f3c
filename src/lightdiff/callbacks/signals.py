"""Save the run on Ctrl-C, SIGTERM and their like: finish the step, save, say how to resume, exit with 128 + the signal."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from lightdiff.callbacks.common import at_optimizer_step, is_last_batch, last_checkpoint, save_checkpoint
from lightdiff.callbacks.due import DueCheckpoint, end_epoch_again
from lightdiff.utils.files import shown
from lightdiff.utils.interruption import SIGNALS, wanted
from lightdiff.utils.program import way_on

ASK_EVERY = 8
"""Batches after which several processes ask each other for signals, because none of them may leave alone."""
AGAIN_SECONDS = 2.0
"""A SIGTERM that is repeated within this time counts once: `timeout`, for one, signals the process and then its whole group."""
REQUEUE_SECONDS = 60
"""Seconds for which the other processes wait until the first one has put a SLURM job back into the queue."""


class _Abandoned(BaseException):
    """Raised by the signal handler to end pictures that are being drawn."""


def unless_stopped(trainer: Trainer, action: Callable[[], None]) -> None:
    """Do a part of an epoch's end that takes long; a signal abandons it where the run is one process with `SaveOnSignal`.

    The run then saves and leaves, and does the whole end of the epoch once more when it goes on.
    """
    savers = [callback for callback in trainer.callbacks if isinstance(callback, SaveOnSignal)]  # type: ignore[attr-defined]
    # a run that has reached max_steps would not come to the end of its last epoch once more
    if savers and trainer.world_size == 1 and trainer.global_step != trainer.max_steps:
        savers[0].unless_stopped(action)
    else:
        action()


class SaveOnSignal(DueCheckpoint):
    """Save a checkpoint between two steps after a signal, by all processes together, and leave.

    A run that has come to the end of an epoch leaves as well, without its validation, pictures and metrics: when it goes on, it
    first makes them all. Only several processes, once they draw pictures, finish them.

    The signal handler itself only sets a flag. A second Ctrl-C or SIGTERM ends the process at once, whatever it is doing.
    SIGUSR2 is handled only if submitit has a handler for it, which puts the SLURM job back into the queue: that handler is called
    once the checkpoint is saved. Lightning calls a `Checkpoint` after all other callbacks of the same event, so the file has
    their complete sums.

    Raises:
        SystemExit: 130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP (the terminal is gone), 152 after SIGXCPU.
    """

    def __init__(self) -> None:
        self._received = 0
        self._interruptible = self._abandoned = False
        self._terminated_at: float | None = None
        self._previous: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._checkpoint = last_checkpoint(trainer)
        self._rank_zero = trainer.is_global_zero

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if threading.current_thread() is not threading.main_thread():
            return
        # these replace Lightning's handlers, which are installed earlier: Lightning's handler of SIGTERM ends with exit code 0
        # and can leave a group of processes hanging
        requeue = [signal.SIGUSR2] if callable(signal.getsignal(signal.SIGUSR2)) else []
        asking = [number for number in SIGNALS if wanted(number)]
        self._previous = {number: signal.signal(number, self._handle) for number in (*asking, *requeue)}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGTERM:
            self._end_if_repeated()
        self._received = number
        if self._rank_zero:
            _say(f"\n{signal.Signals(number).name}: saving after this step (Ctrl-C or SIGTERM again stops at once)")
        if self._interruptible:
            self._interruptible = False
            raise _Abandoned

    def _end_if_repeated(self) -> None:
        """End the process, without saving, on a second SIGTERM."""
        now = time.monotonic()
        if self._terminated_at is None:
            self._terminated_at = now
        elif now - self._terminated_at > AGAIN_SECONDS:
            # the system ends the process; an exception could be caught where it hangs
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # a run that has reached max_steps is at its end, to which Lightning would not come once more
        if at_optimizer_step(trainer, batch_idx) and trainer.global_step != trainer.max_steps:
            self._leave_if_asked(trainer, 0 if is_last_batch(trainer) else batch_idx)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if (
            fitting
            and at_optimizer_step(trainer, trainer.fit_loop.epoch_loop.batch_idx)
            and trainer.global_step != trainer.max_steps
        ):
            self._leave_if_asked(trainer, batch_idx)

    def unless_stopped(self, action: Callable[[], None]) -> None:
        """Do something at the end of an epoch; after a signal, or when one comes, leave it out and remember that."""
        try:
            self._interruptible = True
            if self._received:
                raise _Abandoned
            action()
        except _Abandoned:
            self._abandoned = True
        finally:
            self._interruptible = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self._abandoned:
            self._leave_if_asked(trainer, 0)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._abandoned:
            end_epoch_again(checkpoint)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Checkpoints has just saved the end of the epoch before this one
        self._leave_if_asked(trainer, 0, save=False)

    def _leave_if_asked(self, trainer: Trainer, batch_idx: int, save: bool = True) -> None:
        if trainer.world_size == 1:
            asked = self._received
        elif batch_idx % ASK_EVERY == 0:
            asked = self._asked_of_any(trainer)
        else:
            return
        if not asked:
            return
        if save or not self._checkpoint.is_file():
            save_checkpoint(trainer, self._checkpoint)
        if trainer.is_global_zero:
            run = self._checkpoint.parent.parent
            how = f"; {way_on(run)}" if (run / "config.yaml").is_file() else ""
            _say(f"saved step {trainer.global_step} to {shown(self._checkpoint)}{how}")
        if asked == signal.SIGUSR2:
            self._restore()
            signal.raise_signal(signal.SIGUSR2)
            if not trainer.is_global_zero:
                # SLURM may end the whole job as soon as one process leaves, before the first one has queued it again
                time.sleep(REQUEUE_SECONDS)
        raise SystemExit(128 + asked)

    def _asked_of_any(self, trainer: Trainer) -> int:
        """Return the signal that any of the processes has received, the same one on all of them; 0: none."""
        for number in (*SIGNALS, signal.SIGUSR2):
            if trainer.strategy.reduce_boolean_decision(self._received == number, all=False):
                return number
        return 0

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._restore()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


def _say(text: str) -> None:
    # the terminal may be what has gone
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
