"""The clock of a contender: when its weights are to be put aside, and that doing so costs it no time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class TimeIsUp(BaseException):
    """The minutes of a contender are over."""


class Snapshots:
    """Puts weights aside at given times, without counting the time that this takes.

    Each snapshot is a file `<seconds>.pt` and a line of `snapshots.jsonl`.

    Args:
        folder: for the files.
        marks: seconds after the start at which the weights are wanted, in ascending order; the last one ends the training.
        start: `time.time()` when the contender's process was started: its imports and its reading of data count.
        clock: tells the time.
    """

    def __init__(
        self, folder: Path, marks: Sequence[float], start: float, clock: Callable[[], float] = time.time
    ) -> None:
        self.folder, self.marks, self.start, self.clock = folder, list(marks), start, clock
        self.seconds = self.marks[-1]
        self.paused = 0.0
        self.steps = 0
        folder.mkdir(parents=True, exist_ok=True)

    def elapsed(self) -> float:
        """Seconds since the start, without those spent on snapshots."""
        return self.clock() - self.start - self.paused

    @property
    def share(self) -> float:
        """Share of the time that is over, at most 1; for recipes whose learning rate follows it."""
        return min(1.0, self.elapsed() / self.seconds)

    def after_step(self, save: Callable[[Path], object]) -> None:
        """Count an optimizer step; at a mark, have the weights saved.

        Args:
            save: writes the weights to a path.

        Raises:
            TimeIsUp: that was the last mark.
        """
        self.steps += 1
        if self.elapsed() >= self.marks[0]:
            self._put_aside(save)
            if not self.marks:
                raise TimeIsUp

    def after_training(self, save: Callable[[Path], object]) -> None:
        """Have the last weights saved; for a recipe that ends of its own accord before its time is up."""
        if self.marks:
            self._put_aside(save)
            self.marks = []

    def _put_aside(self, save: Callable[[Path], object]) -> None:
        elapsed, began = self.elapsed(), self.clock()
        # a step that was longer than the way to the next mark gives one snapshot for both
        self.marks = [mark for mark in self.marks if mark > elapsed]
        name = f"{elapsed:09.1f}.pt"
        save(self.folder / name)
        with (self.folder / "snapshots.jsonl").open("a") as lines:
            lines.write(json.dumps({"seconds": elapsed, "steps": self.steps, "file": name}) + "\n")
        self.paused += self.clock() - began
