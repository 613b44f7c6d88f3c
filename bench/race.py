"""The race: which package comes closest to real images within equal minutes of training, each by its documented recipe.

    python bench/race.py --list                                             # the contenders, and which packages are missing
    python bench/race.py --data mnist --minutes 10 --seeds 0 1 2            # the race on MNIST, ten minutes each
    python bench/race.py --data mnist --minutes 10 --only lightdiff diffusers
    python bench/race.py --table                                            # tables of what has been run so far
    python bench/race.py --picture docs/images                              # the curves

A result is written as soon as it is there, into the folder --out: one JSON file for a contender, a data set and a seed. The same
command again does what is missing. The protocol, and how to enter: docs/race.md. Exit codes: 0 everything was run, 1 a contender
failed, 2 wrong arguments, 3 contenders were left out.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# a clone needs no installation
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import torch

from lightdiff.config.speed import cpu_units, gpu_units
from lightdiff.data import DataError
from parts.settings import INSTALL, Skipped
from racing.entry import Entry, entry_files, load_entry
from racing.heat import Heat
from racing.judges import judges_of, race_data
from racing.protocol import ROOT, SHARES, SIZES, VERSION
from racing.standings import draw_curves, races, tables
from racing.task import Task

ENTRIES = Path(__file__).resolve().parent / "race"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say = parser.add_argument
    say("--data", nargs="+", choices=SIZES, default=["mnist"], help="data sets (default: mnist)")
    say("--minutes", type=float, default=10.0, help="of training for each contender (default: 10)")
    say("--seeds", type=int, nargs="+", default=[0], help="each contender trains once with each (default: 0)")
    say("--only", nargs="+", metavar="NAME", help="the contenders that run (default: all)")
    say("--entries", type=Path, metavar="FOLDER", help="folder with more contenders, a file each")
    say("--at", type=float, nargs="+", metavar="MINUTES", help="when snapshots are judged (default: five times)")
    say("--samples", type=int, default=1000, help="images drawn from each snapshot (default: 1000)")
    say("--out", type=Path, default=Path("race"), help="folder for the results (default: race)")
    say("--data-dir", type=Path, default=Path("data"), help="folder of the data sets")
    say("--threads", type=int, default=os.cpu_count(), help="of PyTorch, the same for all (default: one a core)")
    say("--device", choices=("cpu", "cuda"), default="cpu")
    say(
        "--inception", type=Path, metavar="FILE", help="weights of Inception v3, where torch's cache does not hold them"
    )
    say("--list", action="store_true", help="only print the contenders")
    say("--table", action="store_true", help="only print the tables of what --out holds")
    say("--picture", type=Path, metavar="FOLDER", help="only draw the curves of what --out holds, a PNG for each race")
    return parser


def wrong(told: argparse.Namespace, files: dict[str, Path]) -> str | None:
    """Return what is wrong with the arguments, in one line; None: nothing."""
    unknown = [name for name in told.only or () if name not in files]
    marks = told.at or [told.minutes]
    checks = {
        f"--only {' '.join(unknown)}: no such contender; choices: {', '.join(files)}": bool(unknown),
        f"--minutes {told.minutes:g}: a number above 0 is expected": told.minutes <= 0,
        f"--samples {told.samples}: 2 or more are expected": told.samples < 2,
        f"--threads {told.threads}: 1 or more are expected": told.threads < 1,
        f"--at {' '.join(f'{mark:g}' for mark in marks)}: ascending minutes above 0 and up to --minutes are expected": (
            marks != sorted(set(marks)) or marks[0] <= 0 or marks[-1] > told.minutes
        ),
        "--device cuda: there is no GPU here that torch can use; choices: cpu": (
            told.device == "cuda" and not torch.cuda.is_available()
        ),
    }
    return next((message for message, is_wrong in checks.items() if is_wrong), None)


def listing(entries: dict[str, Entry]) -> str:
    """Return the contenders with their recipes."""
    lines = []
    for name, entry in entries.items():
        missing = f" (not installed: {', '.join(entry.missing())})" if entry.missing() else ""
        lines += [
            f"{name}{missing}: {', '.join(entry.data)}",
            f"  recipe:  {entry.recipe}",
            f"  changed: {entry.changed}",
        ]
    return "\n".join(lines)


def facts_of(told: argparse.Namespace) -> dict[str, Any]:
    """Return what all records of this command have in common."""
    asked = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return {
        "version": VERSION,
        "minutes": told.minutes,
        "cores": os.cpu_count(),
        "lightdiff": asked.stdout.strip() or "no clone",
    }


def task_of(told: argparse.Namespace, name: str, data: str, seed: int) -> Task:
    """Return a heat's task."""
    marks = told.at or [share * told.minutes for share in SHARES]
    marks = marks if marks[-1] == told.minutes else [*marks, told.minutes]
    out = told.out.absolute()
    return Task(
        data=data,
        seed=seed,
        marks=tuple(mark * 60 for mark in marks),
        folder=str(out / "work" / stem(told, name, data, seed)),
        prepared=str(out / "work" / "prepared"),
        data_dir=str(told.data_dir.absolute()),
        device=told.device,
        threads=told.threads,
        bfloat16=bool(cpu_units() if told.device == "cpu" else gpu_units()),
    )


def stem(told: argparse.Namespace, name: str, data: str, seed: int) -> str:
    """Return the name of a record: settings that make another race are part of it."""
    return f"{data}-{told.minutes:g}min-{told.samples}-{name}-seed{seed}"


def prepare(task: Task) -> int:
    """Write the training images for all contenders, which costs none of them time; return their number."""
    if not task.images_file.is_file():
        images = race_data(task).train_set.in_memory()
        task.images_file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"images": images.images, "labels": images.labels}, task.images_file)
    return len(task.load()[1])


def run(told: argparse.Namespace, entries: dict[str, Entry], files: dict[str, Path]) -> int:
    """Run all heats, seed by seed; return the exit code."""
    failed = left_out = 0
    names = [name for name in told.only or entries if not entries[name].missing()]
    for name in set(told.only or entries) - set(names):
        print(f"left out: {name}: not installed: {', '.join(entries[name].missing())} ({INSTALL})", flush=True)
        left_out += 1
    for data in told.data:
        task = task_of(told, "", data, 0)
        facts = {**facts_of(told), "images": prepare(task)}
        judges = judges_of(task, told.inception)
        for seed in told.seeds:
            for name in names:
                if data not in entries[name].data:
                    continue
                print(f"{name}, {data}, seed {seed}", flush=True)
                task = task_of(told, name, data, seed)
                record = told.out.absolute() / f"{stem(told, name, data, seed)}.json"
                heat = Heat(name, files[name], entries[name], task, record, told.samples, facts)
                try:
                    heat.run(judges)
                except Exception as error:
                    traceback.print_exc()
                    print(f"failed: {name}, {data}, seed {seed}: {error}", file=sys.stderr, flush=True)
                    failed += 1
    return 1 if failed else 3 if left_out else 0


def show(told: argparse.Namespace) -> int:
    """Print tables or draw curves of what there is; return the exit code."""
    found = races(told.out)
    if not found:
        print(f"error: --out {told.out}: no results of a race are in this folder", file=sys.stderr)
        return 2
    if told.table:
        print(tables(found))
    if told.picture:
        told.picture.mkdir(parents=True, exist_ok=True)
        for race in found:
            draw_curves(race, told.picture / f"race_{race.conditions['data']}.png")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    told = parser().parse_args(arguments)
    if told.table or told.picture:
        return show(told)
    files = {
        name: file.absolute()
        for name, file in entry_files([ENTRIES, *([told.entries] if told.entries else [])]).items()
    }
    message = wrong(told, files)
    if message:
        print(f"error: {message}", file=sys.stderr)
        return 2
    try:
        entries = {name: load_entry(file) for name, file in files.items()}
        if told.list:
            print(listing(entries))
            return 0
        torch.set_num_threads(told.threads)
        warnings.filterwarnings("ignore")
        return run(told, entries, files)
    except (DataError, Skipped, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    # an exception ends the contender's process, too
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    raise SystemExit(main())
