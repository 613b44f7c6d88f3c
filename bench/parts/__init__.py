"""The parts of bench/run.py: each measures one thing and returns rows of figures."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parts.results import Row
    from parts.settings import Settings


@dataclass(frozen=True)
class Part:
    """A letter of `--parts`.

    Args:
        title: what it measures.
        module: the file below parts/.
        function: of that file: settings -> rows.
    """

    title: str
    module: str
    function: str

    def measure(self, settings: Settings) -> list[Row]:
        """Import and run it."""
        return getattr(importlib.import_module(f"parts.{self.module}"), self.function)(settings)


PARTS = {
    "a": Part("Training step of the tutorial's UNet", "training", "against_tutorial"),
    "b": Part("Training at equal floating-point operations and parameters", "training", "against_rivals"),
    "c": Part("Sampling with the same network", "sampling", "against_rivals"),
    "d": Part("The loader against a resident batch", "loader", "efficiency"),
    "e": Part("Share of the matrix-product peak", "peak", "shares"),
    "g": Part("Memory, start-up, checkpoint and what surrounds the step", "overhead", "costs"),
    "h": Part("Few steps against 1,000 at equal quality", "sampling", "few_steps"),
    "i": Part("One step against one evaluation of the packages' networks", "one_step", "against_rivals"),
}
