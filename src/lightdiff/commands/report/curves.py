"""Curves of a run, short enough for a page of many: each loss, and each distance that was measured at several steps."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lightdiff.commands.report.distances import distances_by_step
from lightdiff.commands.report.points import Point, read_points

LOSSES = (("validation", "val/loss"), ("training", "train/loss_epoch"), ("training", "train/loss"))
"""Each loss and the curves that give it; of two curves the first one counts."""

MOST_POINTS = 200
"""Points of a curve on the page. Of a longer curve every n-th is shown, and the last."""

Curve = list[tuple[int, float | None, float]]
"""Points of (optimizer step, minutes of work or None, value), in the order of their steps."""


class Logged(NamedTuple):
    """What the files of a run say about its training.

    Args:
        last: the last value of each loss's curve, by the curve's name, such as "val/loss".
        step: the last step of any curve, or None.
        minutes: for how long the run was worked on, or None where its files hold no times.
        curves: a curve for each loss ("validation loss") and for each distance ("fid (ddim, 50 steps, ...)").
    """

    last: dict[str, float]
    step: int | None
    minutes: float | None
    curves: dict[str, Curve]


def read_logged(folder: Path) -> Logged:
    """Read the curves of a run."""
    wanted = {name for _, name in LOSSES}
    points: dict[str, list[Point]] = defaultdict(list)
    clock: list[tuple[int, float]] = []
    last, step = {}, None
    for point in read_points(folder):
        step = max(point.step, step or 0)
        if point.seconds is not None and math.isfinite(point.seconds) and (not clock or point.seconds > clock[-1][1]):
            clock.append((point.step, point.seconds))
        if point.name in wanted:
            last[point.name] = point.value
            _add(points[point.name], point)
    curves = {f"{loss} loss": _curve(points[name]) for loss, name in reversed(LOSSES) if points[name]}
    for kind, values in distances_by_step(folder).items():
        curves[kind] = _thinned([(at, _minutes(clock, at), value) for at, value in values])
    return Logged(
        last, step, clock[-1][1] / 60 if clock else None, {name: curve for name, curve in curves.items() if curve}
    )


def _add(curve: list[Point], point: Point) -> None:
    """Add a point. A resumed run repeats steps, which replace what the stopped process had logged for them.

    metrics.csv repeats the points of the event files without their times, and so replaces none of those.
    """
    if curve and point.seconds is None and curve[-1].seconds is not None and point.step <= curve[-1].step:
        return
    while curve and curve[-1].step >= point.step:
        curve.pop()
    curve.append(point)


def _curve(points: Iterable[Point]) -> Curve:
    return _thinned(
        [
            (
                point.step,
                point.seconds / 60 if point.seconds is not None and math.isfinite(point.seconds) else None,
                point.value,
            )
            for point in points
            if math.isfinite(point.value)
        ]
    )


def _minutes(clock: Sequence[tuple[int, float]], step: int) -> float | None:
    """Return the minutes after which the run had reached this step, or None where that was not logged."""
    steps = [at for at, _ in clock]
    found = bisect_right(steps, step)
    return clock[found - 1][1] / 60 if found else None


def _thinned(points: Curve) -> Curve:
    """Return at most `MOST_POINTS` of the points, evenly chosen, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]
