"""The file `metrics.csv` of a run, which a kill leaves whole, and a resumed run goes on with."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from lightdiff.utils.files import replaced

Row = Mapping[str, Any]


class MetricsFile:
    """A CSV file with a row for each point and a column for each metric, in alphabetical order; `step` is one of them.

    A row is appended to the file. When a metric comes that has no column yet, a new file takes the place of the old one.

    Args:
        path: the file.
        purge_step: rows that are there from this step on are dropped; None: all.

    Raises:
        OSError: the file cannot be written, or was moved or deleted since the last row.
    """

    def __init__(self, path: Path, purge_step: int | None) -> None:
        self._path = path
        self._columns: list[str] = []
        kept = [row for row in _read_rows(path) if purge_step is not None and int(row["step"]) < purge_step]
        if kept:
            self._write(kept)
        else:
            path.unlink(missing_ok=True)

    def add(self, metrics: Row, step: int) -> None:
        """Write a row with these metrics of an optimizer step."""
        row = {**metrics, "step": step}
        if row.keys() <= {*self._columns}:
            # this mode makes no file, where "a" would make one without a header in place of a file that has gone
            with self._path.open("r+", newline="", encoding="utf-8") as file:
                file.seek(0, 2)
                csv.DictWriter(file, self._columns).writerow(row)
        else:
            self._write([*(_read_rows(self._path) if self._columns else []), row])

    def _write(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        self._columns = sorted(set().union(*rows))
        with replaced(self._path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)


def _read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of the file; none where there is no file. Lines that hold no row are passed over.

    A process that was killed may have left a part of its last line, which ends without a line break.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        whole, line_break, _ = file.read().rpartition("\n")
    rows = csv.DictReader(StringIO(whole + line_break, newline=""))
    return [row for row in rows if None not in row and None not in row.values() and row.get("step", "").isdecimal()]
