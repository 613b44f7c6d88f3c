"""A clock for part f: when weights are to be put aside, and that doing so costs no side any time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class TimeIsUp(BaseException):
    """The minutes of a side are over."""


class Snapshots:
    """Puts weights aside at equal distances in time, without counting the time that takes.

    Args:
        folder: for the files `<seconds>.pt`.
        seconds: how long the side trains.
        count: snapshots, the last one at the end.
        start: `time.time()` when the side's command was started: its imports and preparations count.
    """

    def __init__(
        self,
        folder: Path,
        seconds: float,
        count: int,
        start: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder, self.seconds, self.start, self.clock = folder, seconds, start, clock
        self.marks = [seconds * (k + 1) / count for k in range(count)]
        self.paused = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def elapsed(self) -> float:
        """Seconds since the start, without those spent on snapshots."""
        return self.clock() - self.start - self.paused

    @property
    def share(self) -> float:
        """Of the time that is over, at most 1."""
        return min(1.0, self.elapsed() / self.seconds)

    def after_step(self, weights: Callable[[], dict[str, Any]]) -> None:
        """Call it after each step; raises TimeIsUp at the end."""
        elapsed = self.elapsed()
        if not self.marks or elapsed < self.marks[0]:
            return
        began = self.clock()
        self.marks = [mark for mark in self.marks if mark > elapsed]
        torch.save(weights(), self.folder / f"{elapsed:09.1f}.pt")
        self.paused += self.clock() - began
        if not self.marks:
            raise TimeIsUp
