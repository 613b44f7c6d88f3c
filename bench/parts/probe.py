"""What part g looks into a run with: the end of its first step, and where its time goes."""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.profilers import Profiler


class FirstStep(Callback):
    """Ends the process as soon as one step is done, without whatever follows a run."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        os._exit(0)


class Durations(Profiler):
    """Sums what Lightning's actions take, waiting for the device before and after each.

    Args:
        synchronize: waits for the device.
    """

    def __init__(self, synchronize: Callable[[], None]) -> None:
        super().__init__()
        self.synchronize = synchronize
        self.sums: dict[str, float] = defaultdict(float)
        self._started: dict[str, float] = {}
        self.first_step = 0

    def start(self, action_name: str) -> None:
        self.synchronize()
        self._started[action_name] = time.perf_counter()

    def stop(self, action_name: str) -> None:
        self.synchronize()
        started = self._started.pop(action_name, None)  # None: it was running when this profiler came
        if started is not None:
            self.sums[action_name] += time.perf_counter() - started

    def timing(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time counted under `name`."""

        def timed(*arguments: Any) -> Any:
            with self.profile(name):
                return function(*arguments)

        return timed

    def pieces(self, steps: int) -> dict[str, float]:
        """Milliseconds a step: ema, callbacks (all of them, while batches run), each callback, loader."""
        found: dict[str, float] = defaultdict(float)
        for action, seconds in self.sums.items():
            callback = re.match(
                r"\[Callback\](\w+).*\.on_(train_batch_start|train_batch_end|before_\w+|after_\w+)$", action
            )
            if callback and not callback[1].startswith("Laps"):
                found["callbacks"] += 1000 * seconds / steps
                found[f"callback {callback[1]}"] += 1000 * seconds / steps
            elif action.endswith("train_dataloader_next"):
                found["loader"] += 1000 * seconds / steps
            elif action == "ema":
                found["ema"] += 1000 * seconds / steps
        return dict(found)
