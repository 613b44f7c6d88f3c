"""Records of evaluations, as `evaluation/results.jsonl` holds them: one JSON object on each line. Reading them needs no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

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
"""Keys that, with `reference` and `extractor`, are equal in two records of the same protocol."""

MORE_IS_BETTER = ("is", "precision", "recall", "prompt_accuracy", "confident", "synthetic_accuracy")
"""Metrics of which a large value is good. Of every other metric a small value is good."""


def better(name: str) -> Callable[[float, float], float]:
    """Return the function that picks the better of two values of this metric: `max` or `min`."""
    return max if name in MORE_IS_BETTER else min


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a results.jsonl in the order of its lines; a missing file has none.

    Lines that hold no record are passed over, such as the last line of a process that was killed.
    """
    if not path.is_file():
        return
    for line in path.read_text(errors="replace", encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
            protocol_key(record)
            for entry in record["values"].values():
                value_text(entry)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            continue
        yield record


def newest_cells(records: Iterable[Record]) -> dict[str, Record]:
    """Merge the records of each protocol into one, by `protocol_key`; of a value measured twice the later one counts."""
    cells: dict[str, Record] = {}
    for record in records:
        known = cells.get(protocol_key(record), {"values": {}})
        cells[protocol_key(record)] = {**record, "values": {**known["values"], **record["values"]}}
    return cells


def protocol_key(record: Record) -> str:
    """Return a text that is equal for records of the same protocol. The place of the checkpoint file does not matter."""
    parts = {name: record[name] for name in IDENTITY}
    content = {name: value for name, value in record["checkpoint"].items() if name != "file"}
    return canonical(
        {**parts, "checkpoint": content, "reference": record["reference"], "extractor": record["extractor"]}
    )


def canonical(data: Any) -> str:
    """Return plain data as JSON text with sorted keys, so that equal data gives equal text."""
    return json.dumps(data, sort_keys=True)


def value_text(entry: dict[str, float | None]) -> str:
    """Return a value in four digits, followed by its spread where it has one: "3.254 ± 0.12"."""
    spread = entry["spread"]
    return f"{entry['value']:.4g}" + (f" ± {spread:.2g}" if spread is not None else "")
