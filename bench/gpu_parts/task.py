"""What a part of bench/gpu.py is given: its settings, its sizes, its time, and the place for its figures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpu_parts import PARTS
from parts.results import Row, add, read, tables, write
from parts.settings import Settings

FIGURES, TABLES = "gpu.json", "gpu.md"
"""Files of the results."""


@dataclass(frozen=True)
class Sizes:
    """How much each part does.

    Args:
        dry: whether this is a dry run, with small networks on the embedded digits. No part is then left out for want of time.
        matrices: sides of the square matrices that are multiplied.
        recipes: names of the recipes whose speed is measured.
        epochs: of the tutorial's recipe.
        samples: images drawn for a point of the curve of cifar_gpu.
        final_samples: images drawn for each sampler at its end.
        points: number of points of the curve.
        sampling: samplers and their steps; the first one draws the curve and the pictures.
    """

    dry: bool = False
    matrices: tuple[int, ...] = (4096, 8192, 16384)
    recipes: tuple[str, ...] = ("cifar_gpu", "tutorial", "tutorial, large", "dit", "mnist_fast")
    epochs: int = 10
    samples: int = 2000
    final_samples: int = 5000
    points: int = 6
    sampling: tuple[tuple[str, int], ...] = (("ddim", 50), ("ddpm", 50), ("dpmpp_2m", 20))


DRY = Sizes(
    dry=True,
    matrices=(64,),
    recipes=("cifar_gpu",),
    epochs=2,
    samples=4,
    final_samples=4,
    points=2,
    sampling=(("ddim", 2), ("ddpm", 2)),
)
"""Sizes of a dry run, which takes seconds on a CPU."""


@dataclass
class Task:
    """A part that is to be measured.

    Args:
        name: the part's, in `PARTS`.
        settings: device, folders, rounds.
        sizes: how much it does.
        out: folder of the results.
        ends: time on the monotonic clock at which it should be over.
        facts: what the figures depend on, as `Settings.facts` says.
    """

    name: str
    settings: Settings
    sizes: Sizes
    out: Path
    ends: float
    facts: dict[str, Any]

    def left(self) -> float:
        """Seconds until it should be over."""
        return self.ends - time.monotonic()

    def write(self, rows: Sequence[Row]) -> None:
        """Write down at once all that has been measured so far, in place of what was written before."""
        facts = {**self.facts, "outcome": "Under way."}
        add(self.out / FIGURES, self.name, rows, facts, PARTS[self.name].title)
        write_tables(self.out)

    def details(self, name: str) -> list[Mapping[str, Any]]:
        """Return the details of all rows of another part; none where it was not measured."""
        part = read(self.out / FIGURES)["parts"].get(name, {"rows": []})
        return [row["details"] for row in part["rows"]]


def conclude(out: Path, name: str, outcome: str, seconds: float) -> str:
    """Write down how a part ended, beside the rows that it has left; return its table."""
    content = read(out / FIGURES)
    part = content["parts"].setdefault(name, {"title": PARTS[name].title, "facts": {}, "rows": []})
    part["facts"] |= {"outcome": outcome, "seconds": round(seconds, 1)}
    write(out / FIGURES, content)
    write_tables(out)
    return tables({"parts": {name: part}}, PARTS)


def note_run(out: Path, sizes: Sizes, minutes: float) -> None:
    """Write down what was asked for, before anything is measured."""
    content = read(out / FIGURES)
    write(out / FIGURES, {**content, "minutes": minutes, "sizes": asdict(sizes)})


def write_tables(out: Path) -> None:
    """Write all tables as Markdown beside the figures."""
    (out / TABLES).write_text(tables(read(out / FIGURES), PARTS) + "\n", encoding="utf-8")
