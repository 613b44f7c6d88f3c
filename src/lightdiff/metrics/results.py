"""The results of evaluations: results.jsonl (one line each, only appended to), and a table and a figure made from it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightdiff.utils.files import replaced
from lightdiff.utils.plots import new_figure, save_figure
from lightdiff.utils.records import (
    IDENTITY,
    Record,
    better,
    canonical,
    newest_cells,
    protocol_key,
    read_records,
    value_text,
)

__all__ = ["IDENTITY", "Record", "Results", "better", "lines", "plot", "table"]


class Results:
    """What stands in a folder.

    Args:
        folder: made with the first result.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = list(read_records(folder / "results.jsonl"))

    def missing(self, protocol: Record, metrics: dict[str, Any]) -> list[str]:
        """Names of those metrics that have not been computed with the same settings under the same protocol."""
        done = self._done(protocol)
        return [name for name, settings in metrics.items() if (name, canonical(settings)) not in done]

    def _done(self, protocol: Record) -> set[tuple[str, str]]:
        same = [record for record in self.records if protocol_key(record) == protocol_key(protocol)]
        return {(name, canonical(settings)) for record in same for name, settings in record["metrics"].items()}

    def add(self, record: Record) -> None:
        """Append a line, and bring table and figure up to date."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.records.append(record)
        with (self.folder / "results.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        with replaced(self.folder / "table.md") as temporary:
            temporary.write_text(table(self.cells().values()))
        if len({cell["num_steps"] for cell in self.cells().values()}) > 1:
            plot(self.cells().values(), self.folder / "quality.png")

    def forget_after(self, step: int) -> None:
        """Measure anew what a run in training had found beyond this step: resumed, it may have other settings."""
        self.records = [
            record
            for record in self.records
            if record["checkpoint"]["file"] is not None or record["checkpoint"]["step"] <= step
        ]

    def cell(self, protocol: Record) -> Record:
        """All that was found under this protocol."""
        return self.cells()[protocol_key(protocol)]

    def cells(self) -> dict[str, Record]:
        """One record for each protocol, with all figures found under it; the newest counts."""
        return newest_cells(self.records)


def table(cells: Iterable[Record]) -> str:
    """In Markdown, a row for each evaluation."""
    cells = sorted(cells, key=lambda cell: (cell["sampler"]["name"], cell["guidance_scale"], cell["num_steps"]))
    names = list(dict.fromkeys(name for cell in cells for name in cell["values"]))
    head = [*_SETTINGS, *names, "samples", "reference", "extractor", "images/s"]
    rows = [
        [
            *(show(cell) for show in _SETTINGS.values()),
            *(value_text(cell["values"][name]) if name in cell["values"] else "" for name in names),
            f"{cell['num_samples']}",
            f"{cell['reference']['dataset']} {cell['reference']['split']}, {cell['reference']['num_images']}",
            f"{cell['extractor']['name']} {cell['extractor']['sha256'][:8]}, {cell['extractor']['resizer']}",
            f"{cell['images_per_second']:.4g}",
        ]
        for cell in cells
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]) + "\n"


_SETTINGS = {
    "sampler": lambda cell: cell["sampler"]["name"],
    "steps": lambda cell: f"{cell['num_steps']}",
    "guidance": lambda cell: f"{cell['guidance_scale']:g}",
    "weights": lambda cell: ", step ".join(map(str, filter(None, (cell["weights"], cell["checkpoint"]["step"])))),
    "seed": lambda cell: f"{cell['seed']}",
}


def plot(cells: Iterable[Record], path: Path) -> None:
    """Each metric against the number of steps, a line for each combination of the other settings."""
    cells = list(cells)
    names = list(dict.fromkeys(name for cell in cells for name in cell["values"]))
    varying = {name for name in _SETTINGS if len({_SETTINGS[name](cell) for cell in cells}) > 1} - {"steps"}
    ticks = sorted({cell["num_steps"] for cell in cells})
    figure, panels = new_figure(len(names))
    for axes, name in zip(panels, names, strict=True):
        lines: dict[str, list[tuple[int, Record]]] = {}
        for cell in cells:
            if name in cell["values"]:
                label = ", ".join(show(cell) for key, show in _SETTINGS.items() if key in {"sampler", *varying})
                lines.setdefault(label, []).append((cell["num_steps"], cell["values"][name]))
        for label, points in lines.items():
            points.sort(key=lambda point: point[0])
            steps, entries = zip(*points, strict=True)
            spread = [entry["spread"] or 0 for entry in entries]
            axes.errorbar(steps, [entry["value"] for entry in entries], yerr=spread, marker="o", label=label)
        axes.set(xscale="log", xlabel="steps", ylabel=name)
        axes.set_xticks(ticks, labels=map(str, ticks))
        axes.minorticks_off()
        axes.legend(fontsize="small")
    save_figure(path, figure)


def lines(cell: Record) -> list[str]:
    """The figures of an evaluation, a line each, with what must be said beside them."""
    guidance = f", guidance {cell['guidance_scale']:g}" if cell["guidance_scale"] != 1 else ""
    setting = f"{cell['sampler']['name']}, {cell['num_steps']} steps{guidance}, {cell['weights']} weights"
    against = f"{cell['num_samples']} samples against {cell['reference']['split']}, {cell['extractor']['name']}"
    return [f"{name} {value_text(entry)}  ({setting}, {against})" for name, entry in cell["values"].items()]
