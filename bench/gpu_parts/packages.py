"""Parts b and c of bench/run.py, shortened: training and sampling against the packages that are installed."""

from __future__ import annotations

from dataclasses import replace

from gpu_parts.task import Task
from lightdiff.networks import DiffusersUNet2D
from parts import sampling, training
from parts.results import Row
from parts.rivals import MATCHES, Match, diffusers
from parts.settings import Skipped

CASES = (("ddim", 20), ("ddim", 50), ("dpmpp_2m", 20))
"""Samplers and their steps, without the 1,000 of ddpm, which take minutes."""
LAP_SECONDS = 0.2
"""About how long each side runs at a time."""
SMALL = {"widths": (8, 16), "blocks_per_level": 1, "attention_levels": (1,)}
SMALL_MATCHES = {"diffusers": Match(diffusers, lambda: DiffusersUNet2D(**SMALL), {"ours": SMALL})}
"""Networks of a dry run."""


def measure(task: Task) -> None:
    """Measure part c, then part b, and write each row down as it is there."""
    dry = task.sizes.dry
    settings = replace(task.settings, lap_seconds=min(LAP_SECONDS, task.settings.lap_seconds))
    parts = (
        sampling.rows_against_rivals(settings, (("ddim", 2),) if dry else CASES),
        training.rows_against_rivals(settings, SMALL_MATCHES if dry else MATCHES),
    )
    rows: list[Row] = []
    missing: list[str] = []
    for part in parts:
        try:
            for row in part:
                rows.append(row)
                task.write(rows)
        except Skipped as error:
            missing.append(str(error))
    if len(missing) == len(parts):
        raise Skipped(missing[0])
