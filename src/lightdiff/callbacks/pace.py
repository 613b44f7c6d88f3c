"""How fast a run goes, and how long the rest of it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

SMOOTHING = 100
"""Batches over which the time of one is averaged, so that the forecast follows a machine that becomes slower."""


@dataclass
class Pace:
    """Durations of batches and of the pauses between epochs, timed while a run goes on.

    The first batch of a process is left out, because it warms up. All times are seconds of one monotonic clock.

    Args:
        batches_left: training batches that the run still has; infinite where it has no end.
        batches_per_epoch: training batches of an epoch.

    Attributes:
        timed_batches, timed_seconds: all batches that were timed.
        batch_seconds: duration of a batch lately; None: not known yet.
        warm: whether the first batch is over.
    """

    batches_left: float
    batches_per_epoch: float
    timed_batches: int = 0
    timed_seconds: float = 0.0
    batch_seconds: float | None = None
    warm: bool = False
    _pauses: list[float] = field(default_factory=list)
    _mark: float | None = None

    def resume(self, now: float) -> None:
        """Go on with batches after a pause: the start of the run, validation, pictures, checkpoints."""
        if self._mark is not None:
            self._pauses.append(now - self._mark)
        self._mark = now

    def timed(self, now: float) -> float:
        """Seconds of timed batches, with the batch that is under way."""
        return self.timed_seconds + (now - self._mark if self.warm and self._mark is not None else 0.0)

    def batch_ended(self, now: float) -> None:
        """Count a batch that ended now and began when the one before it ended, or after a pause."""
        assert self._mark is not None
        seconds, self._mark = now - self._mark, now
        self.batches_left -= 1
        if not self.warm:
            self.warm = True
            return
        self.timed_batches, self.timed_seconds = self.timed_batches + 1, self.timed_seconds + seconds
        mean = seconds if self.batch_seconds is None else self.batch_seconds
        self.batch_seconds = mean + (seconds - mean) / min(self.timed_batches, SMOOTHING)

    def seconds_for(self, batches: float, now: float) -> float | None:
        """Seconds until `batches` more batches are done, without the pauses; None: not known yet, or there is no end."""
        if self.batch_seconds is None or self._mark is None or not math.isfinite(batches):
            return None
        return max(0.0, batches * self.batch_seconds - min(now - self._mark, self.batch_seconds))

    def seconds_left(self, now: float) -> float | None:
        """Seconds until the run ends, with pauses like those so far; None: not known yet, or there is no end."""
        training = self.seconds_for(self.batches_left, now)
        if training is None or not self._pauses:
            return training
        coming = math.ceil(self.batches_left / self.batches_per_epoch)
        return training + coming * sum(self._pauses) / len(self._pauses)
