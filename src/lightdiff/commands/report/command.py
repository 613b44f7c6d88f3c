"""The command `report.py`: find runs, print them, write the page."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lightdiff.commands.report.drawn import MOST, SAMPLER, SEED, STEPS, Drawn, draw
from lightdiff.commands.report.page import as_html
from lightdiff.commands.report.runs import Run, find_runs, read_run
from lightdiff.commands.report.terminal import as_lines
from lightdiff.utils.files import full_or_broken_disk, replaced, shown
from lightdiff.utils.output import survive_lost_output
from lightdiff.utils.program import typed
from lightdiff.utils.text import printable

DESCRIPTION = """\
Compare runs: a line or two for each here, and a page on which they are sorted, filtered and compared.

A line has the run's state, its last losses, its best distance (from eval.py or callbacks=evaluation), and the choices and
settings that are not those of most runs. The page has a card for each run with the newest samples, how distances were
measured, and all settings; the curves of all runs; and two or more runs side by side. It holds its pictures itself and loads
nothing. It is report.html in the folder, or in the working directory if several are given.
"""


def report(folders: Sequence[Path], samples: int = 0) -> Path:
    """Print the runs and write the page; returns the page's path.

    Args:
        folders: run folders, or folders with runs in them. The page lies in the folder if it is one, otherwise in the working
            directory.
        samples: images to draw with each run from the same noise, for the page; 0: none.

    Raises:
        ValueError: one of the folders does not exist, or has no runs.
    """
    found = dict.fromkeys(run.resolve() for folder in folders for run in find_runs(folder))
    base = Path(os.path.commonpath([folder.resolve() for folder in folders]))
    runs = [read_run(run, _name(run, base)) for run in found]
    width = max(80, shutil.get_terminal_size().columns)
    print("\n".join(as_lines(runs, width)))
    if samples:
        runs = [replace(run, drawn=_draw(run, samples)) for run in runs]
    path = (base if len(folders) == 1 else Path.cwd()) / "report.html"
    title = f"Runs in {', '.join(map(str, folders))}"
    with replaced(path) as temporary:
        # a name that is no valid text is written as numbers
        temporary.write_text(as_html(title, runs, path.parent), encoding="utf-8", errors="xmlcharrefreplace")
    print(f"\npage: {printable(shown(path))}")
    return path


def _draw(run: Run, samples: int) -> Drawn:
    print(f"drawing {samples} samples of {printable(run.name)}", flush=True)
    return draw(run.folder, samples)


def _name(run: Path, base: Path) -> str:
    """Return a run's path below `base`; just its name where it is `base` itself or a link has led out of there."""
    return str(run.relative_to(base)) if run != base and run.is_relative_to(base) else run.name


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r}: 1 to {MOST} is expected")
    return int(text)


def report_command(arguments: list[str]) -> int:
    """Run `report.py` with these arguments; returns its exit code."""
    survive_lost_output()
    parser = argparse.ArgumentParser(
        prog=typed("report"), description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="a folder with runs, such as lightning_logs/mnist, or a run, such as lightning_logs/mnist/version_3",
    )
    parser.add_argument(
        "--samples",
        type=_count,
        default=0,
        metavar="N",
        help=f"draw 1 to {MOST} images with each run from the same noise ({SAMPLER}, {STEPS} steps, seed {SEED}); without it "
        "nothing is drawn",
    )
    asked = parser.parse_args(arguments)
    try:
        report(asked.folders, asked.samples)
    except (ValueError, OSError) as error:
        failed = full_or_broken_disk(error)
        print(f"error: {printable(failed or str(error))}", file=sys.stderr)
        return 2 if failed is None else 1
    return 0
