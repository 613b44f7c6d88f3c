"""Figures: rows, the JSON file they are kept in, and the tables made from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from parts import PARTS
from parts.timing import Ratio


@dataclass(frozen=True)
class Row:
    """One comparison.

    Args:
        what: is measured.
        unit: of the values.
        values: by side.
        ratio: how many times better the first side is than the second, unless `what` says otherwise; None: nothing to compare.
        target: what was aimed at.
        details: settings and side figures that the table leaves out.
    """

    what: str
    unit: str
    values: dict[str, float]
    ratio: Ratio | None = None
    target: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def read(path: Path) -> dict[str, Any]:
    """Content of the file; nothing where there is none yet."""
    return json.loads(path.read_text()) if path.is_file() else {"parts": {}}


def add(path: Path, part: str, rows: Sequence[Row], facts: dict[str, Any], title: str | None = None) -> None:
    """Write a part's rows, in place of those it had before; other parts stay.

    Args:
        path: the JSON file.
        part: name of the part.
        rows: what it has measured.
        facts: what the figures depend on. An `outcome` among them says why rows may be missing.
        title: what it measures; None: as `PARTS` says.
    """
    content = read(path)
    content["parts"][part] = {
        "title": title or PARTS[part].title,
        "facts": facts,
        "rows": [asdict(row) for row in rows],
    }
    for row in content["parts"][part]["rows"]:
        row["ratio"] = None if row["ratio"] is None else dict(zip(Ratio._fields, row["ratio"], strict=True))
    write(path, content)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the file as a whole, so that whoever is stopped leaves the former one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)


def tables(content: dict[str, Any], order: Iterable[str] = PARTS) -> str:
    """All parts in Markdown, in this order."""
    return "\n\n".join(_table(name, content["parts"][name]) for name in order if name in content["parts"])


def _table(name: str, part: dict[str, Any]) -> str:
    facts, rows = part["facts"], part["rows"]
    sides = list(dict.fromkeys(side for row in rows for side in row["values"]))
    lines = [f"### {name}. {part['title']}"]
    if "machine" in facts:
        lines += [
            "",
            f"{facts['machine']}, {facts['threads']} threads, {facts['device']}, torch {facts['torch']}, {facts['date']}, "
            f"{facts['repeats']} rounds, seed {facts['seed']}, load average before {facts['load_average_before']}.",
        ]
    if "outcome" in facts:
        lines += ["", facts["outcome"]]
    if rows:
        lines += ["", f"| | unit | {' | '.join(sides)} | ratio (range) | target |", "|---" * (len(sides) + 4) + "|"]
    for row in rows:
        values = [number(row["values"][side]) if side in row["values"] else "" for side in sides]
        lines.append(
            f"| {row['what']} | {row['unit']} | {' | '.join(values)} | {_ratio(row['ratio'])} | {row['target']} |"
        )
    return "\n".join(lines)


def _ratio(ratio: dict[str, float] | None) -> str:
    if ratio is None:
        return ""
    return f"{number(ratio['median'])} ({number(ratio['low'])} to {number(ratio['high'])})"


def number(value: float | None) -> str:
    """Three significant digits, thousands in full."""
    if value is None:
        return "not reached"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
