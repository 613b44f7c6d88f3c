"""Ratios that grow in equally long stages of training, as the few-step objectives use them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def checked_ratios(ratios: Sequence[float]) -> list[float]:
    """Return the ratios of the stages as a list.

    Raises:
        ValueError: ratios is empty, falls, or has a number outside [0, 1).
    """
    rising = all(before <= after for before, after in pairwise(ratios))
    if not ratios or not rising or not 0 <= ratios[0] <= ratios[-1] < 1:
        raise ValueError(f"ratios={list(ratios)}: numbers from 0 to below 1 that rise are expected")
    return [float(ratio) for ratio in ratios]


def ratio_at(ratios: Sequence[float], progress: float) -> float:
    """Return the ratio of the stage of training at `progress`, a number in [0, 1]."""
    # 1e-9 keeps rounding from delaying a stage by a step
    return ratios[min(int(progress * len(ratios) + 1e-9), len(ratios) - 1)]
