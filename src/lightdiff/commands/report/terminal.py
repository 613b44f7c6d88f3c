"""Runs as text: one line for each, or two where what differs does not fit beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from lightdiff.commands.report.runs import Run
from lightdiff.commands.report.settings import Settings, as_typed, unusual, usual
from lightdiff.utils.text import printable, shorten

SHORTEST_NAME = 12
"""Characters that are left of a name where the other columns are wide."""


def as_lines(runs: Sequence[Run], width: int = 80) -> list[str]:
    """Return a table of name, state, last losses and best distance, and beside or below each run what is not the usual in it.

    Args:
        runs: the runs, at least one.
        width: characters of a line.
    """
    head, *rows = _table(_rows(runs), width)
    compared = _compared(runs)
    marks = [_pairs(settings) for settings in unusual(compared)]
    longest = max(map(len, rows))
    if longest + 2 + max(map(len, marks)) <= width:
        lines = [f"{row:{longest}}  {mark}".rstrip() for row, mark in zip(rows, marks, strict=True)]
    else:
        pairs = zip(rows, marks, strict=True)
        lines = [line for row, mark in pairs for line in (row, f"  {shorten(mark, width - 2)}") if line.strip()]
    return [head, *lines, *(shorten(note, width) for note in _notes(runs, compared))]


def _notes(runs: Sequence[Run], compared: Sequence[Settings]) -> Iterator[str]:
    """Yield what holds for the whole table."""
    if common := usual(compared):
        yield f"usual: {_pairs(common)}"
    if len({run.distances[0].protocol for run in runs if run.distances}) > 1:
        yield "These distances were measured in different ways, which the page names."


def _compared(runs: Sequence[Run]) -> list[Settings]:
    """Return for each run its group choices, and those of its settings that most runs have."""
    known = sum(bool(run.settings) for run in runs)
    counts = Counter(key for run in runs for key in run.settings)
    return [
        run.choices | {key: value for key, value in run.settings.items() if 2 * counts[key] > known} for run in runs
    ]


def _pairs(settings: Settings) -> str:
    """Return settings as a user types them, "schedule=cosine optimizer.lr=0.001"."""
    return printable(" ".join(f"{key}={as_typed(value)}" for key, value in settings.items()))


def _rows(runs: Sequence[Run]) -> list[list[str]]:
    """Return a head and a row for each run; columns that are empty in all runs are left out."""
    head = ["run", "state", "train loss", "val loss", "best distance"]
    rows = [
        [
            printable(run.name),
            run.state,
            *(f"{run.losses[loss]:.4g}" if loss in run.losses else "" for loss in ("training", "validation")),
            f"{printable(run.distances[0].metric)} {run.distances[0].value:.4g}" if run.distances else "",
        ]
        for run in runs
    ]
    filled = [any(column) for column in zip(*rows, strict=True)]
    return [[cell for cell, keep in zip(row, filled, strict=True) if keep] for row in [head, *rows]]


def _table(rows: list[list[str]], width: int) -> list[str]:
    """Return the rows as lines of aligned columns. Names are cut at their start where the line would be longer than `width`."""
    rest = sum(2 + max(map(len, column)) for column in list(zip(*rows, strict=True))[1:])
    longest = max(SHORTEST_NAME, width - rest)
    named = [[name if len(name) <= longest else "..." + name[3 - longest :], *cells] for name, *cells in rows]
    widths = [max(map(len, column)) for column in zip(*named, strict=True)]
    lines = ("  ".join(f"{cell:{size}}" for cell, size in zip(row, widths, strict=True)) for row in named)
    return [line.rstrip()[:width] for line in lines]
