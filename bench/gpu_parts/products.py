"""Matrix products: what the device reaches at best, in bfloat16 and in float32."""

from __future__ import annotations

import torch

from gpu_parts.task import Task
from parts.peak import best_side, product
from parts.results import Row
from parts.timing import Rounds

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def measure(task: Task) -> None:
    """Time the fastest product of square matrices of random numbers, in each type."""
    settings, rates, sides = task.settings, {}, {}
    for name, dtype in DTYPES.items():
        side = best_side(dtype, settings, task.sizes.matrices)
        rounds, step = Rounds(settings.lap_seconds, settings.synchronize), product(dtype, settings.device, side)
        rounds.warm_up(name, step)
        for _ in range(settings.repeats):
            rounds.lap(name, step)
        rates[name], sides[name] = 2 * side**3 / rounds.median(name), side
        speeds = {name: rate / 1e12 for name, rate in rates.items()}
        details = {"matrices": sides, "operations a second": rates}
        task.write([Row("product of two square matrices", "TFLOP/s", speeds, details=details)])


def peak_of(task: Task) -> float | None:
    """Return the operations a second that products in bfloat16 have reached; None where they were not measured."""
    found = [details["operations a second"].get("bfloat16") for details in task.details("peak")]
    return found[0] if found else None
