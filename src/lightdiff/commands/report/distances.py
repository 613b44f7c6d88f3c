"""Distances and scores that evaluations of a run have found, each with its protocol in a few words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lightdiff.utils.files import lies_in
from lightdiff.utils.records import Record, better, guidance_text, guided, newest_cells, read_records, value_text

FIRST = ("fid", "kid")
"""Metrics that come first, in this order. The terminal shows the first one that a run has."""


@dataclass(frozen=True)
class Distance:
    """A value that compares with others of the same protocol.

    Args:
        metric: name, such as "fid".
        value: the value.
        text: the value in four digits, with its spread where it has one.
        protocol: how it was measured, such as "ddim, 50 steps, 10,000 samples, classifier features against digits train".
    """

    metric: str
    value: float
    text: str
    protocol: str


def best_distances(folder: Path) -> tuple[Distance, ...]:
    """Return the best value of each metric in a run's evaluation/results.jsonl, `FIRST` first.

    Values against other features or other real images compare with none of these, and so give a best value of their own.
    """
    best: dict[tuple[str, str], Distance] = {}
    for found, against, _ in _distances(folder):
        key = (found.metric, against)
        if key not in best or better(found.metric)(found.value, best[key].value) != best[key].value:
            best[key] = found
    return tuple(sorted(best.values(), key=_rank))


def distances_by_step(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the distances of a run's checkpoints in the order of their optimizer steps.

    Returns:
        {"fid (ddim, 50 steps, ...)": [(step, value), ...], ...}: values under one name compare with each other.
    """
    found: dict[str, dict[int, float]] = {}
    for distance, _, step in _distances(folder):
        if step is not None:
            found.setdefault(f"{distance.metric} ({distance.protocol})", {})[step] = distance.value
    return {name: sorted(values.items()) for name, values in found.items()}


def _rank(found: Distance) -> int:
    return FIRST.index(found.metric) if found.metric in FIRST else len(FIRST)


def _distances(folder: Path) -> Iterator[tuple[Distance, str, int | None]]:
    """Yield every finite value, the features and images it was measured against, and the checkpoint's step if it is known."""
    path = folder / "evaluation" / "results.jsonl"
    if not lies_in(path, folder):
        return
    try:
        cells = newest_cells(read_records(path)[0])
    except OSError:
        return
    for cell in cells.values():
        reference = cell["reference"]
        against = f"{cell['extractor']['name']} features against {reference['dataset']} {reference['split']}"
        for metric, entry in cell["values"].items():
            if math.isfinite(entry["value"]):
                distance = Distance(metric, entry["value"], value_text(entry), f"{_sampling(cell)}, {against}")
                yield distance, against, cell["checkpoint"]["step"]


def _sampling(cell: Record) -> str:
    """Return how the samples were drawn: sampler, steps, what is not as usual, and their number."""
    words = [
        cell["sampler"]["name"],
        f"{cell['num_steps']} step{'s' * (cell['num_steps'] > 1)}",
        f"guidance {guidance_text(cell)}" if guided(cell) else "",
        "" if cell["weights"] == "ema" else f"{cell['weights']} weights",
        f"{cell['num_samples']:,} samples",
    ]
    return ", ".join(filter(None, words))
