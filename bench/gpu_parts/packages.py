"""Parts b and c of bench/run.py, shortened: training and sampling against the packages that are installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gpu_parts.task import Task
from lightdiff.networks import DiffusersUNet2D
from parts import sampling, training
from parts.results import Row
from parts.rivals import Match, diffusers
from parts.settings import Settings, Skipped

CASES = (("ddim", 20), ("ddim", 50), ("dpmpp_2m", 20))
"""Samplers and their steps, without the 1,000 of ddpm, which take minutes."""
SMALL = {"widths": (8, 16), "blocks_per_level": 1, "attention_levels": (1,)}
SMALL_MATCHES = {"diffusers": Match(diffusers, lambda: DiffusersUNet2D(**SMALL), {"ours": SMALL})}
"""Networks of a dry run."""


def measure(task: Task) -> None:
    """Measure part c, write it down, then part b."""
    dry = task.sizes.dry
    settings = replace(task.settings, ours=())
    parts: tuple[Callable[[Settings], list[Row]], ...] = (
        lambda settings: sampling.against_rivals(settings, (("ddim", 2),) if dry else CASES),
        lambda settings: training.against_rivals(settings, SMALL_MATCHES if dry else None),
    )
    rows: list[Row] = []
    missing: list[str] = []
    for part in parts:
        try:
            rows += part(settings)
        except Skipped as error:
            missing.append(str(error))
        task.write(rows)
    if len(missing) == len(parts):
        raise Skipped(missing[0])
