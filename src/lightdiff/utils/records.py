"""Records of evaluations, as `evaluation/results.jsonl` holds them: one JSON object on each line. Reading them needs no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lightdiff.utils.structure import ANYTHING, COUNT, FINITE, MAPPING, NUMBER, TEXT, Every, Keys, Nullable, Optional

Record = dict[str, Any]

IDENTITY = (
    "checkpoint",
    "weights",
    "sampler",
    "num_steps",
    "guidance_scale",
    "labels",
    "seed",
    "precision",
    "num_samples",
)
"""Keys that, with `guidance`, `reference` and `extractor`, are equal in two records of the same protocol."""

MORE_IS_BETTER = ("is", "precision", "recall", "prompt_accuracy", "confident", "synthetic_accuracy")
"""Metrics of which a large value is good. Of every other metric a small value is good."""


def better(name: str) -> Callable[[float, float], float]:
    """Return the function that picks the better of two values of this metric: `max` or `min`."""
    return max if name in MORE_IS_BETTER else min


RECORD = Keys(
    values=Every(Keys(value=NUMBER, spread=Nullable(NUMBER))),
    metrics=MAPPING,
    checkpoint=Keys(file=Nullable(TEXT), step=Nullable(COUNT)),
    weights=TEXT,
    sampler=Keys(name=TEXT),
    num_steps=COUNT,
    guidance_scale=FINITE,
    guidance=Optional(TEXT),
    labels=ANYTHING,
    seed=COUNT,
    precision=TEXT,
    num_samples=COUNT,
    reference=Keys(dataset=TEXT, split=TEXT, num_images=COUNT),
    extractor=Keys(name=TEXT, sha256=TEXT, resizer=TEXT),
    images_per_second=FINITE,
)
"""What a line must hold to be a record."""


def read_records(path: Path) -> tuple[list[Record], list[str]]:
    """Return the records of a results.jsonl in the order of its lines; a missing file has none.

    Lines that hold no record are left out, such as the last line of a process that was killed.

    Returns:
        The records, and for each line that is left out what is wrong with it.
    """
    records, left_out = [], []
    for number, line in enumerate(path.read_bytes().split(b"\n") if path.is_file() else [], start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode())
            RECORD.check(record)
            # data nested too deeply for JSON's writer
            canonical(record)
        except (ValueError, RecursionError) as error:
            left_out.append(f"line {number}: {' '.join(str(error).split())[:120]}")
        else:
            records.append(record)
    return records, left_out


def newest_cells(records: Iterable[Record]) -> dict[str, Record]:
    """Merge the records of each protocol into one, by `protocol_key`; of a value measured twice the later one counts."""
    cells: dict[str, Record] = {}
    for record in records:
        known = cells.get(protocol_key(record), {"values": {}})
        cells[protocol_key(record)] = {**record, "values": {**known["values"], **record["values"]}}
    return cells


def protocol_key(record: Record) -> str:
    """Return a text that is equal for records of the same protocol. The place of the checkpoint file does not matter."""
    # a scale that was typed as 2 and one that was typed as 2.0 are the same
    parts = {**{name: record[name] for name in IDENTITY}, "guidance_scale": float(record["guidance_scale"])}
    # records of former versions have only the scale
    parts["guidance"] = record.get("guidance", "")
    parts["condition_noise"] = record.get("condition_noise")
    content = {name: value for name, value in record["checkpoint"].items() if name != "file"}
    return canonical(
        {**parts, "checkpoint": content, "reference": record["reference"], "extractor": record["extractor"]}
    )


def canonical(data: Any) -> str:
    """Return plain data as JSON text with sorted keys, so that equal data gives equal text."""
    return json.dumps(data, sort_keys=True)


def guidance_text(record: Record) -> str:
    """Return the guidance of a record, such as "2" or "2 interval=0.2-0.8"."""
    return f"{record['guidance_scale']:g} {record.get('guidance', '')}".strip()


def guided(record: Record) -> bool:
    """Return whether the images of a record were drawn with guidance; some kinds of guidance act at the scale 1 too."""
    return bool(record["guidance_scale"] != 1 or record.get("guidance"))


def value_text(entry: dict[str, float | None]) -> str:
    """Return a value in four digits, followed by its spread where it has one: "3.254 ± 0.12"."""
    spread = entry["spread"]
    return f"{entry['value']:.4g}" + (f" ± {spread:.2g}" if spread is not None else "")
