"""Training: images a second of whole jobs, eager and compiled, in single precision and in bfloat16."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from gpu_parts.forks import one_line
from gpu_parts.products import peak_of
from gpu_parts.recipes import RECIPES, Recipe, operations_of
from gpu_parts.task import Task
from parts.ours import ENDLESS, Fit, timed
from parts.peak import operators
from parts.results import Row

SHOWN = 10
"""Operators that a profile names, those that take the longest."""


@dataclass(frozen=True)
class Way:
    """How a network is trained.

    Args:
        precision: value of trainer.precision.
        compiled: by torch.compile.
        guess: seconds that a measurement should take, before the first of its kind was made.
    """

    precision: str
    compiled: bool
    guess: float

    def __str__(self) -> str:
        return f"{self.precision}{', compiled' if self.compiled else ''}"

    @property
    def overrides(self) -> tuple[str, str]:
        """Of train.py."""
        return f"trainer.precision={self.precision}", f"compile={str(self.compiled).lower()}"


WAYS = (
    Way("bf16-mixed", False, 8),
    Way("bf16-mixed", True, 40),
    Way("32-true", False, 8),
    Way("32-true", True, 40),
)
"""In the order in which they are measured: the time may not be enough for all of them."""


class Table:
    """The rows of one recipe, which grow by a way at a time.

    Args:
        task: the part.
        name: of the recipe, in `RECIPES`.
        recipe: the recipe.
        peak: operations a second of matrix products in bfloat16; None: not known.
    """

    def __init__(self, task: Task, name: str, recipe: Recipe, peak: float | None) -> None:
        self.task, self.peak = task, peak
        config = recipe.composed(task)
        self.batch = config["dataset"]["batch_size"]
        self.title = f"{recipe.title}, batch {self.batch}"
        self.size = operations_of(config)
        self.rates: dict[str, float] = {}
        self.missing: dict[str, str] = {}
        self.profiles: dict[str, dict[str, float]] = {}
        self.details: dict[str, Any] = {
            "recipe": name,
            "rates": self.rates,
            "missing": self.missing,
            "percent by operator": self.profiles,
            "parameters": self.size.parameters,
            "GFLOP an image, forward": self.size.forward / 1e9,
            "GFLOP an image, training": self.size.training / 1e9,
        }

    def rows(self) -> list[Row]:
        """Return what is known."""
        if not self.rates and not self.missing:
            return []
        rows = [Row(self.title, "images/s", dict(self.rates), details=self.details)]
        if self.peak:
            shares = {way: 100 * self.size.training * rate / self.peak for way, rate in self.rates.items()}
            rows.append(Row(self.title, "% of the bf16 peak", shares, target="40"))
        return rows


def measure(task: Task) -> None:
    """Measure all recipes in one way after the other, those that still fit into the time."""
    peak = peak_of(task)
    tables = {name: Table(task, name, RECIPES[name], peak) for name in task.sizes.recipes}
    # the longest measurement of each kind so far, by whether the network was compiled
    longest: dict[bool, float] = {}
    for way in WAYS:
        for name, table in tables.items():
            needed, left = longest.get(way.compiled, way.guess), task.left()
            reason = reason_against(task, way)
            if reason is None and left < needed and not task.sizes.dry:
                reason = f"{left:.0f} s are left, and it may take {needed:.0f} s"
            if reason is None:
                start = time.monotonic()
                reason = _measure(task, table, RECIPES[name], way)
                longest[way.compiled] = max(longest.get(way.compiled, 0), time.monotonic() - start)
            if reason is not None:
                table.missing[str(way)] = reason
                print(f"{table.title}, {way}: left out: {reason}", flush=True)
            task.write([row for each in tables.values() for row in each.rows()])


def reason_against(task: Task, way: Way) -> str | None:
    """Say why a way cannot be measured on this device; None: it can."""
    if way.compiled and not task.settings.device.startswith("cuda"):
        return "compiled networks are measured on GPUs only"
    if way.precision not in task.settings.dtypes:
        return "the device has no units for bfloat16"
    return None


def _measure(task: Task, table: Table, recipe: Recipe, way: Way) -> str | None:
    """Add a rate to a table; return what went wrong, if anything did."""
    if way.compiled:
        # torch gives up on a network that it has compiled too often for others
        torch.compiler.reset()
    try:
        profile: dict[str, float] = {}
        table.rates[str(way)] = images_a_second(task, recipe, way, None if task.sizes.dry else profile)
        table.profiles[str(way)] = profile
    except Exception as error:
        return f"{type(error).__name__}: {one_line(error)}"
    finally:
        if task.settings.device.startswith("cuda"):
            # the memory of this job, for the next one
            gc.collect()
            torch.cuda.empty_cache()
    return None


def images_a_second(task: Task, recipe: Recipe, way: Way, profile: dict[str, float] | None = None) -> float:
    """Train for a moment as train.py would; fill in the percent of the time that each operator takes, where it is asked for."""

    def look(fit: Fit) -> None:
        if profile is None:
            return
        batch = fit.batch()
        try:
            found = operators(lambda: fit.bare_step(batch), task.settings.device)
        except RuntimeError as error:
            # some virtual machines let nobody profile their GPU; that must not cost the figure
            print(f"{recipe.title}, {way}: no profile: {one_line(error)}", flush=True)
            return
        profile.update({name: round(share, 2) for name, share in list(found.items())[:SHOWN]})

    config = recipe.composed(task, *way.overrides, *ENDLESS)
    rounds, fit = timed(task.settings, config, before=look)
    return fit.data.batch_size / rounds.median("ours")


def fastest(task: Task, name: str) -> tuple[Way, float]:
    """Return the fastest way for a recipe and its images a second, as measured before, or else measured now."""
    rates: Mapping[str, float] = next(
        (details["rates"] for details in task.details("speed") if details.get("recipe") == name), {}
    )
    measured = [way for way in WAYS if rates.get(str(way))]
    if measured:
        return max(((way, rates[str(way)]) for way in measured), key=lambda found: found[1])
    way = next(way for way in WAYS if reason_against(task, way) is None)
    return way, images_a_second(task, RECIPES[name], way)


def steps_within(seconds: float, rate: float, batch: int) -> int:
    """Return how many steps fit into the seconds at so many images a second."""
    return math.floor(max(seconds, 0) * rate / batch)
