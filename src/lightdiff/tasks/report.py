"""A summary of many runs: in the terminal, and as one HTML file that holds its pictures itself."""

from __future__ import annotations

import argparse
import base64
import html
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightdiff.tasks.run_folder import read_config
from lightdiff.utils.files import replaced, shown

IGNORED = ("class_names", "templates", "_target_", "refresh_rate")
"""Endings of keys that tell nothing of a run's quality."""


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Args:
        folder: the folder.
        config: {"optimizer.lr": 0.001, ...}.
        metrics: the final ones of training, and the best of each metric of its evaluations.
        state: "done, epoch 7", or that it has not ended.
        picture: the newest grid of samples; None: there is none.
    """

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, float]
    state: str
    picture: Path | None


def read_run(folder: Path) -> Run:
    """What is known of the run; whatever is missing or unreadable counts as not there."""
    config = read_config(folder)
    try:
        result = json.loads((folder / "result.json").read_text())
        state = f"done, epoch {result['epochs']}"
    except (OSError, ValueError, KeyError):
        result, state = {}, "not ended"
    metrics = {name: value for name, value in result.get("metrics", {}).items() if isinstance(value, int | float)}
    metrics.update(_best_evaluations(folder / "evaluation" / "results.jsonl"))
    pictures = sorted((folder / "samples").glob("step_*.png"))
    return Run(folder, _flat(config), metrics, state, pictures[-1] if pictures else None)


def _best_evaluations(path: Path) -> dict[str, float]:
    """The best figure of each metric by eval.py, over all its settings."""
    from lightdiff.metrics import Results
    from lightdiff.metrics.results import better

    best: dict[str, float] = {}
    for record in Results(path.parent).records:
        for name, entry in record["values"].items():
            key = f"{name} (best of evaluation/)"
            best[key] = entry["value"] if key not in best else better(name)(best[key], entry["value"])
    return best


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, dict):
        return {prefix: config}
    return {
        key: value
        for name, item in config.items()
        for key, value in _flat(item, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def table_of(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the run, the settings in which the runs differ, the metrics."""
    keys = list(dict.fromkeys(key for run in runs for key in run.config if not key.endswith(IGNORED)))
    differing = [key for key in keys if len({json.dumps(run.config.get(key)) for run in runs}) > 1]
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    rows = [
        [
            run.folder.name,
            run.state,
            *(_short(run.config.get(key)) for key in differing),
            *(f"{run.metrics[name]:.4g}" if name in run.metrics else "" for name in names),
        ]
        for run in runs
    ]
    return ["run", "state", *differing, *names], rows


def _short(value: Any) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:21] + "..."


def as_text(head: list[str], rows: list[list[str]]) -> str:
    """Columns for a terminal; where they do not fit side by side, a block for each run."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    if sum(widths) + 2 * len(widths) <= max(80, shutil.get_terminal_size().columns):
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [head, *rows]
        )
    longest = max(map(len, head))
    return "\n\n".join(
        "\n".join(f"{name.ljust(longest)}  {cell}" for name, cell in zip(head, row, strict=True) if cell)
        for row in rows
    )


def as_html(title: str, runs: Sequence[Run], head: list[str], rows: list[list[str]]) -> str:
    """A page that needs no other file."""
    cells = [
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + f"<td>{_picture(run)}</td></tr>"
        for run, row in zip(runs, rows, strict=True)
    ]
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in [*head, "samples"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title><style>
body {{ font: 14px/1.4 sans-serif; margin: 2em; }}
table {{ border-collapse: collapse; }}
th, td {{ border-bottom: 1px solid #ccc; padding: .4em .8em; text-align: left; vertical-align: top; }}
th {{ position: sticky; top: 0; background: #fff; }}
img {{ image-rendering: pixelated; max-width: 20em; }}
</style></head><body><h1>{html.escape(title)}</h1>
<table><thead><tr>{heads}</tr></thead><tbody>
{chr(10).join(cells)}
</tbody></table></body></html>
"""


def _picture(run: Run) -> str:
    if run.picture is None:
        return ""
    data = base64.b64encode(run.picture.read_bytes()).decode()
    return f'<img alt="samples of {html.escape(run.folder.name)}" src="data:image/png;base64,{data}">'


def report(folder: Path) -> Path:
    """Print the table and write `<folder>/report.html`; returns that file.

    Raises:
        ValueError: a folder without runs.
    """
    folders = [path.parent for path in folder.glob("**/version_*/config.yaml")]
    if not folders:
        raise ValueError(f"{folder}: no runs (version_N/config.yaml) below this folder")
    runs = [read_run(path) for path in sorted(folders, key=lambda path: (path.parent, int(path.name[8:] or 0)))]
    head, rows = table_of(runs)
    print(as_text(head, rows))
    path = folder / "report.html"
    with replaced(path) as temporary:
        temporary.write_text(as_html(f"Runs in {shown(folder)}", runs, head, rows))
    print(f"\npage: {shown(path.absolute())}")
    return path


def report_command(arguments: list[str]) -> int:
    """`report.py`."""
    parser = argparse.ArgumentParser(
        prog="report.py", description="Compare runs: a table here, and a page with samples."
    )
    parser.add_argument("folder", type=Path, help="folder with runs, such as lightning_logs/mnist")
    try:
        report(parser.parse_args(arguments).folder)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
