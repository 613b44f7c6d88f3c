"""What the records of a race say: groups of equal conditions, tables in Markdown, curves as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lightdiff.utils.plots import log_y, new_figure, save_figure
from parts.results import number

Record = Mapping[str, Any]
CONDITIONS = ("version", "data", "images", "minutes", "samples", "machine", "cores", "threads", "device")
"""Facts that are the same for all records whose figures compare."""


@dataclass(frozen=True)
class Race:
    """Records that compare.

    Args:
        conditions: what they have in common.
        records: by contender, one for each seed.
    """

    conditions: Mapping[str, Any]
    records: Mapping[str, Sequence[Record]]

    @property
    def judges(self) -> list[str]:
        """Names of the judges, in the order in which they judged first."""
        return list(dict.fromkeys(judge for record in self.all() for judge in record["judges"]))

    def all(self) -> Iterator[Record]:
        """Yield all records."""
        for records in self.records.values():
            yield from records

    def curve(self, contender: str, judge: str) -> list[tuple[float, float, float, float]]:
        """Return (minutes, median, lowest, highest distance over the seeds) of each snapshot that all seeds have."""
        curves = [
            [
                (point["seconds"] / 60, point["distances"][judge])
                for point in record["points"]
                if judge in point["distances"]
            ]
            for record in self.records[contender]
        ]
        points = list(zip(*curves, strict=False))
        return [
            (
                median(minutes for minutes, _ in point),
                median(found := [value for _, value in point]),
                min(found),
                max(found),
            )
            for point in points
        ]

    def ends(self, judge: str) -> dict[str, tuple[float, float, float]]:
        """Return (median, lowest, highest) distance at the end by contender, the nearest first."""
        ends = {name: self.curve(name, judge)[-1][1:] for name in self.records if self.curve(name, judge)}
        return dict(sorted(ends.items(), key=lambda end: end[1]))


def races(folder: Path) -> list[Race]:
    """Return the races whose records lie in a folder."""
    found: dict[str, dict[str, list[Record]]] = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        # other weights of a judge are another judge
        marks = {name: judge["sha256"] for name, judge in sorted(record["judges"].items())}
        if marks:
            conditions = {name: record["facts"][name] for name in CONDITIONS}
            key = json.dumps([conditions, marks])
            found.setdefault(key, {}).setdefault(record["contender"], []).append(record)
    return [Race(json.loads(key)[0], records) for key, records in found.items()]


def tables(races: Sequence[Race]) -> str:
    """Return all races in Markdown."""
    return "\n\n".join(_table(race) for race in races)


def _table(race: Race) -> str:
    known, first = race.conditions, next(race.all())
    facts = [record["facts"] for record in race.all()]
    loads = [fact[name] for fact in facts for name in ("load_average_before", "load_average_after")]
    dates = [fact["date"] for fact in facts]
    lines = [
        f"### {known['data']} ({known['images']:,} images), {known['minutes']:g} minutes",
        "",
        f"{known['machine']}, {known['cores']} cores, {known['threads']} threads, {known['device']}, torch "
        f"{first['facts']['torch']}, {min(dates)} to {max(dates)}, load average {min(loads)} to {max(loads)}, "
        f"{known['samples']:,} samples. Median over the seeds, with the lowest and the highest.",
        "",
        f"| distance at the end, by | classes | seeds | steps | {' | '.join(race.judges)} |",
        "|---" * (4 + len(race.judges)) + "|",
    ]
    ends = {judge: race.ends(judge) for judge in race.judges}
    for name in ends[race.judges[0]]:
        records = race.records[name]
        steps = number(median(record["points"][-1]["steps"] for record in records))
        cells = [_with_range(ends[judge].get(name)) for judge in race.judges]
        classes = "yes" if records[0]["with_classes"] else "no"
        lines.append(f"| {name} | {classes} | {len(records)} | {steps} | {' | '.join(cells)} |")
    floors = [number(first["judges"][judge]["floor"]) if judge in first["judges"] else "" for judge in race.judges]
    lines.append(f"| *random training images* | | | | {' | '.join(floors)} |")
    return "\n".join([*lines, *_curves(race)])


def _with_range(end: tuple[float, float, float] | None) -> str:
    if end is None:
        return ""
    middle, low, high = (number(value) for value in end)
    return middle if low == high else f"{middle} ({low} to {high})"


def _curves(race: Race) -> Iterator[str]:
    """Distance after so many minutes, for the first judge."""
    judge = race.judges[0]
    yield from (
        "",
        f"On the way, by the {judge}: minutes and distance of each snapshot.",
        "",
        "| | snapshots |",
        "|---|---|",
    )
    for name in race.ends(judge):
        cells = ", ".join(f"{minutes:.1f}: {number(middle)}" for minutes, middle, _, _ in race.curve(name, judge))
        yield f"| {name} | {cells} |"


def draw_curves(race: Race, path: Path) -> None:
    """Draw distance against minutes, a panel for each judge, as PNG; the range over the seeds is shaded."""
    figure, panels = new_figure(len(race.judges))
    # room for the legend below
    figure.set_size_inches(4.5 * len(race.judges), 5)
    for judge, axes in zip(race.judges, panels, strict=True):
        for place, name in enumerate(sorted(race.records)):
            curve = race.curve(name, judge)
            minutes, middle, low, high = zip(*curve, strict=True) if curve else ([], [], [], [])
            axes.plot(minutes, middle, marker=".", color=f"C{place}", label=name)
            axes.fill_between(minutes, low, high, alpha=0.2, color=f"C{place}", linewidth=0)
        axes.axhline(next(race.all())["judges"][judge]["floor"], color="gray", linestyle=":")
        axes.set(xscale="log", xlabel="minutes from the start", title=judge)
        log_y(axes)
    panels[0].set_ylabel(f"distance, {race.conditions['data']}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small")
    save_figure(path, figure)
