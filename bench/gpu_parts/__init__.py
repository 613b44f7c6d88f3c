"""The parts of bench/gpu.py, in the order in which they run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpu_parts.task import Task


@dataclass(frozen=True)
class GpuPart:
    """A name of `--parts`.

    Args:
        title: what it measures.
        module: the file below gpu_parts/, whose function `measure` takes a task.
        share: the largest share of all minutes that it gets.
        least: seconds without which it is not begun.
    """

    title: str
    module: str
    share: float
    least: float

    def load(self) -> Callable[[Task], None]:
        """Import it; return what measures it."""
        return importlib.import_module(f"gpu_parts.{self.module}").measure


PARTS = {
    "environment": GpuPart("The machine and its packages", "environment", 0.04, 0),
    "peak": GpuPart("Matrix products", "products", 0.04, 5),
    "speed": GpuPart("Training: images a second, and the share of the bf16 peak", "speed", 0.28, 20),
    "packages": GpuPart("Training and sampling against the packages", "packages", 0.10, 20),
    "tutorial": GpuPart("The tutorial's recipe", "tutorial", 0.22, 40),
    "resume": GpuPart("Killed and gone on with, against a run that was not", "resume", 0.08, 20),
    "cifar_gpu": GpuPart("experiment=cifar_gpu in the minutes left", "cifar", 1.0, 60),
}
