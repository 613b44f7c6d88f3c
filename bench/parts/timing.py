"""Sides timed by turns, so that a machine that slows down slows all of them down.

A lap is a few steps of one side; a round is a lap of each. Figures are medians over rounds, ratios are medians of the ratios
within each round.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Step = Callable[[], object]


class Ratio(NamedTuple):
    """Median of the ratios of the rounds, and their smallest and largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        return cls(statistics.median(values), min(values), max(values))


@dataclass
class Rounds:
    """Seconds a step of each side, a number for each round.

    Args:
        lap_seconds: how long a lap should take; 0: one step.
        synchronize: waits for the device; called before the clock is read.
        clock: seconds.
    """

    lap_seconds: float = 2.0
    synchronize: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, list[float]] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def now(self) -> float:
        self.synchronize()
        return self.clock()

    def plan(self, name: str, one_step: float) -> int:
        """How many steps this side's laps have, after one step took so long."""
        self.steps[name] = max(1, math.ceil(self.lap_seconds / one_step)) if one_step > 0 else 1
        return self.steps[name]

    def warm_up(self, name: str, step: Step) -> None:
        """One step for what is done only once, another to plan the laps by."""
        step()
        start = self.now()
        step()
        self.plan(name, self.now() - start)

    def lap(self, name: str, step: Step) -> None:
        """A timed lap."""
        steps = self.steps.get(name, 1)
        start = self.now()
        for _ in range(steps):
            step()
        self.add(name, self.now() - start, steps)

    def add(self, name: str, seconds: float, steps: int) -> None:
        """A lap that was timed elsewhere."""
        self.seconds.setdefault(name, []).append(seconds / steps)

    def median(self, name: str) -> float:
        """Seconds a step."""
        return statistics.median(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> Ratio:
        """How many times longer a step of `slow` takes than one of `fast`."""
        return Ratio.of([a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True)])


def alternate(sides: Mapping[str, Step], repeats: int, rounds: Rounds) -> Rounds:
    """Warm up every side, then time their laps by turns."""
    for name, step in sides.items():
        rounds.warm_up(name, step)
    for _ in range(repeats):
        for name, step in sides.items():
            rounds.lap(name, step)
    return rounds
