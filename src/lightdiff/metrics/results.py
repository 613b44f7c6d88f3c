"""The results of evaluations: results.jsonl (one line each, only appended to), and a table and a figure made from it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from math import nan
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from lightdiff.utils.files import append_line, replaced
from lightdiff.utils.plots import new_figure, save_figure
from lightdiff.utils.ranks import rank_and_world_size
from lightdiff.utils.records import (
    IDENTITY,
    Record,
    better,
    canonical,
    guidance_text,
    guided,
    newest_cells,
    protocol_key,
    read_records,
    value_text,
)

log = logging.getLogger(__name__)

__all__ = ["IDENTITY", "Record", "Results", "better", "lines", "plot", "table"]


class Results:
    """The results in a folder: `results.jsonl`, and `table.md` and `quality.png` made from it.

    Args:
        folder: the folder, which is made with the first result, but not the folder above it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "results.jsonl"
        self._forgotten: set[str] = set()
        left_out = read_records(self._path)[1]
        if left_out and rank_and_world_size()[0] == 0:
            log.warning("%s: %d lines are no results and left out; %s", self._path, len(left_out), left_out[0])
        self.records = self._read()

    def _read(self) -> list[Record]:
        """Read the records of all processes that have measured so far, without the forgotten ones."""
        return [record for record in read_records(self._path)[0] if canonical(record) not in self._forgotten]

    def missing(self, protocol: Record, metrics: dict[str, Any]) -> list[str]:
        """Return the names of the metrics that were not computed yet with these settings under this protocol."""
        done = self._done(protocol)
        return [name for name, settings in metrics.items() if (name, canonical(settings)) not in done]

    def _done(self, protocol: Record) -> set[tuple[str, str]]:
        same = [record for record in self.records if protocol_key(record) == protocol_key(protocol)]
        return {(name, canonical(settings)) for record in same for name, settings in record["metrics"].items()}

    def add(self, record: Record) -> None:
        """Append a record to `results.jsonl`, and make the table and the figure anew."""
        self.folder.mkdir(exist_ok=True)
        append_line(self._path, json.dumps(record))
        size = -1
        # another process that measures the same run may have added a record meanwhile
        while self._path.stat().st_size != size:
            size = self._path.stat().st_size
            self.records = self._read()
            self.write_summaries()

    def write_summaries(self) -> None:
        """Make the table, and the figure if there is anything to draw."""
        with replaced(self.folder / "table.md") as temporary:
            temporary.write_text(table(self.cells().values()), encoding="utf-8", errors="backslashreplace")
        # evaluations of a run in training, which have no file, are curves of TensorBoard
        of_files = [cell for cell in self.cells().values() if cell["checkpoint"]["file"] is not None]
        if len({cell["num_steps"] for cell in of_files}) > 1:
            plot(of_files, self.folder / "quality.png")

    def forget_after(self, step: int) -> None:
        """Forget the results of a run in training beyond this step, which a resumed run may reach with other settings."""
        self._forgotten |= {
            canonical(record)
            for record in self.records
            if record["checkpoint"]["file"] is None and record["checkpoint"]["step"] > step
        }
        self.records = self._read()

    def cell(self, protocol: Record) -> Record:
        """Return one record with all figures that were found under this protocol."""
        return self.cells()[protocol_key(protocol)]

    def cells(self) -> dict[str, Record]:
        """Return one record for each protocol, by its key, with all figures found under it; the newest figure counts."""
        return newest_cells(self.records)


def table(cells: Iterable[Record]) -> str:
    """Return a table in Markdown, with a row for each record of `Results.cells`."""
    cells = sorted(
        cells,
        key=lambda cell: (cell["sampler"]["name"], cell["guidance_scale"], cell.get("guidance", ""), cell["num_steps"]),
    )
    names = list(dict.fromkeys(name for cell in cells for name in cell["values"]))
    noisy = any("condition_noise" in cell for cell in cells)
    settings = {**_SETTINGS, **({"condition noise": _condition_noise} if noisy else {})}
    head = [*settings, *names, "samples", "reference", "extractor", "images/s"]
    rows = [
        [
            *(show(cell) for show in settings.values()),
            *(value_text(cell["values"][name]) if name in cell["values"] else "" for name in names),
            f"{cell['num_samples']}",
            f"{cell['reference']['dataset']} {cell['reference']['split']}, {cell['reference']['num_images']}",
            f"{cell['extractor']['name']} {cell['extractor']['sha256'][:8]}, {cell['extractor']['resizer']}",
            f"{cell['images_per_second']:.4g}",
        ]
        for cell in cells
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def _condition_noise(cell: Record) -> str:
    return f"{cell['condition_noise']:g}" if "condition_noise" in cell else ""


_SETTINGS = {
    "sampler": lambda cell: cell["sampler"]["name"],
    "steps": lambda cell: f"{cell['num_steps']}",
    "guidance": guidance_text,
    "weights": lambda cell: ", step ".join(map(str, filter(None, (cell["weights"], cell["checkpoint"]["step"])))),
    "seed": lambda cell: f"{cell['seed']}",
}


def plot(cells: Iterable[Record], path: Path) -> None:
    """Draw each metric against the number of steps, with a line for each combination of the other settings.

    A panel shows the y axis from 0, so that a small difference looks small. Evaluations that differ in their seed alone are
    one point: their mean, with their standard deviation as error bar. A single evaluation has the spread that its metric
    gives, if it gives one.

    Args:
        cells: the records of `Results.cells`.
        path: the PNG file.
    """
    cells = list(cells)
    names = list(dict.fromkeys(name for cell in cells for name in cell["values"]))
    varying = [show for show in _LABELS if len({show(cell) for cell in cells}) > 1] or [_SETTINGS["sampler"]]
    labels = {_line(cell): ", ".join(show(cell) for show in varying) for cell in cells}
    ticks = sorted({cell["num_steps"] for cell in cells})
    figure, panels = new_figure(len(names))
    for axes, name in zip(panels, names, strict=True):
        lines: dict[str, dict[int, list[Record]]] = {}
        for cell in cells:
            if name in cell["values"]:
                lines.setdefault(_line(cell), {}).setdefault(cell["num_steps"], []).append(cell["values"][name])
        for line, points in lines.items():
            steps = sorted(points)
            means, spreads = zip(*(_mean_and_spread(points[number]) for number in steps), strict=True)
            axes.errorbar(steps, means, yerr=spreads, marker="o", capsize=4, label=labels[line])
        axes.set(xscale="log", xlabel="steps", title=name)
        if min(axes.dataLim.intervaly) >= 0:  # an unbiased kernel distance may be a little below 0
            axes.set_ylim(bottom=0)
        axes.set_xticks(ticks, labels=map(str, ticks))
        axes.minorticks_off()
        axes.legend()
    save_figure(path, figure)


_LABELS = (
    _SETTINGS["sampler"],
    lambda cell: f"guidance {guidance_text(cell)}",
    _SETTINGS["weights"],
    lambda cell: f"{cell['num_samples']} samples",
    lambda cell: cell["reference"]["split"],
    lambda cell: cell["precision"],
    lambda cell: f"condition noise {_condition_noise(cell)}",
)
"""What tells the lines of the figure apart; its legend names those in which they differ."""


def _line(record: Record) -> str:
    """Return a text that is the same for the points of a line, which differ in the number of steps and in the seed alone."""
    return protocol_key({**record, "num_steps": None, "seed": None})


def _mean_and_spread(entries: list[Record]) -> tuple[float, float]:
    """Return the mean of figures of several seeds and their standard deviation; of one figure its own spread, or NaN."""
    values = [entry["value"] for entry in entries]
    if len(values) > 1:
        return mean(values), stdev(values)
    spread = entries[0]["spread"]
    return values[0], nan if spread is None else spread


def lines(cell: Record) -> list[str]:
    """Return a line for each figure of a record, with the settings and the reference that it holds for."""
    guidance = f", guidance {guidance_text(cell)}" if guided(cell) else ""
    steps = f"{cell['num_steps']} step{'s' * (cell['num_steps'] > 1)}"
    setting = f"{cell['sampler']['name']}, {steps}{guidance}, {cell['weights']} weights"
    against = f"{cell['num_samples']} samples against {cell['reference']['split']}, {cell['extractor']['name']}"
    return [f"{name} {value_text(entry)}  ({setting}, {against})" for name, entry in cell["values"].items()]
