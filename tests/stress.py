"""Kills, interruptions and a full disk, over and over, on real runs: `python tests/stress.py`. Exit code 1: something was lost.

Every run is compared, bit for bit, with one of the same configuration that nothing has happened to.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch
from sklearn.datasets import load_digits

from crashes import Process, Run, gone, landed, moment, send, violations
from lightdiff.utils.images import save_png
from waiting import PATIENCE, until

EPOCHS, BATCHES = 3, 20
LENGTH = (f"trainer.max_epochs={EPOCHS}", f"trainer.limit_train_batches={BATCHES}")
BIG = (
    *LENGTH,
    "model.widths=[32,64]",
    "dataset.batch_size=4",
    "callbacks=no_samples",
    "callbacks.checkpoints.every_n_steps=1",
)


@dataclass
class Outcome:
    """Of one part."""

    events: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def ended(self, process: Process, what: str) -> None:
        """Wait until all processes of a run have ended, and note how long that took or that some are left."""
        try:
            self.slowest = max(self.slowest, gone(process))
        except AssertionError:
            self.wrong.append(f"{what}: processes left after {PATIENCE:.0f} s")


def features(random: Random, folder: Path) -> tuple[list[str], int]:
    """What is on in a run, as overrides, and its optimizer steps an epoch."""
    accumulate = random.choice([1, 1, 3])
    every = random.choice([2, 3, 5])
    chosen = [*LENGTH, f"trainer.accumulate_grad_batches={accumulate}", f"callbacks.checkpoints.every_n_steps={every}"]
    chosen += random.choice([[], ["dataset.horizontal_flip=true", "lr_scheduler=cosine"]])
    chosen += random.choice([[], ["conditioning=label", "conditioning.drop_prob=0.3"]])
    chosen += random.choice([[], [], ["ema_decay=null"]])
    callbacks = random.choice(["default", "default", "no_samples", "evaluation"])
    chosen += [f"callbacks={callbacks}", *(["callbacks.samples.every_n_epochs=2"] if callbacks == "default" else [])]
    if callbacks == "evaluation":
        chosen += ["callbacks.evaluation.num_samples=20", f"callbacks.evaluation.cache_dir={folder / 'reference'}"]
        chosen += ["callbacks.checkpoints.monitor=eval/fid"]
    if random.random() < 0.4:  # read from files, by another process
        chosen += ["dataset.source._target_=lightdiff.data.Folder", f"+dataset.data_dir={images(folder / 'images')}"]
        chosen += ["+dataset.max_memory_gb=0", "dataset.num_workers=1", "dataset.batch_size=8"]
    return chosen, -(-BATCHES // accumulate)


def images(folder: Path) -> Path:
    """Digits as files in folders of their classes."""
    digits = load_digits()
    count = 0 if folder.exists() else 200
    folder.mkdir(exist_ok=True)
    for i in range(count):
        image = torch.from_numpy(digits.images[i] * 15.9).byte()[None]
        save_png(folder / str(digits.target[i]) / f"{i}.png", image)
    return folder


def whole_run(folder: Path, overrides: list[str], devices: int, result: Outcome) -> Run:
    """One that nothing happens to."""
    run = Run(folder, *overrides, devices=devices)
    result.wrong += run.finish()
    return run


def finish_and_compare(run: Run, whole: Run, result: Outcome) -> None:
    result.wrong += run.finish() or violations(whole, run)


def kill(random: Random, folder: Path, count: int) -> Outcome:
    """kill -9 at random moments, of all processes or of one rank; each run is killed several times."""
    result = Outcome()
    for number in itertools.count():
        kills = min(6, count - sum(result.events.values()))
        if kills <= 0:
            return result
        devices = 2 if number % 3 == 2 else 1
        overrides, steps = features(random, folder)
        whole = whole_run(folder / f"whole_{number}", overrides, devices, result)
        run = Run(folder / f"killed_{number}", *overrides, devices=devices)
        for _ in range(kills):
            kill_once(run, random, steps, result)
        finish_and_compare(run, whole, result)
        print(f"kill: {dict(result.events)}, wrong: {result.wrong}", flush=True)


def kill_once(run: Run, random: Random, steps: int, result: Outcome) -> None:
    whom = random.choice(["all", "first", "last"] if run.devices > 1 else ["all"])
    with run.running() as process:
        if not moment(run, process, random, EPOCHS * BATCHES):
            return
        before = run.step()
        send(process, signal.SIGKILL, whom)
        result.ended(process, f"{run.folder.name}: kill -9 of {whom}")
        if process.returncode == 0:
            result.wrong.append(f"{run.folder.name}: kill -9 of {whom}, and exit code 0")
    if run.step() < before:
        result.wrong.append(f"{run.folder.name}: the checkpoint went back from step {before} to {run.step()}")
    result.events[f"{run.devices} proc., {landed(run, steps)}"] += 1


def checkpoint(random: Random, folder: Path, count: int) -> Outcome:
    """kill -9 while a checkpoint is being written: the file of before must be whole."""
    result = Outcome()
    for devices, kills in ((1, count - count // 3), (2, count // 3)):
        if kills == 0:
            continue
        whole = whole_run(folder / f"whole_{devices}", [*BIG], devices, result)
        run = Run(folder / f"killed_{devices}", *BIG, devices=devices)
        for _ in range(2 * kills):
            if sum(n for what, n in result.events.items() if what.startswith(f"{devices} ")) < kills:
                kill_in_writing(run, random, result)
        finish_and_compare(run, whole, result)
        print(f"checkpoint: {dict(result.events)}, wrong: {result.wrong}", flush=True)
    return result


def kill_in_writing(run: Run, random: Random, result: Outcome) -> None:
    with run.running() as process:
        for _ in range(random.choice([1, 2, 2, 3])):  # the n-th writing of this start
            until(lambda: not run.unfinished(), process, pause=0)
            if not until(run.unfinished, process, pause=0):
                return
        time.sleep(random.uniform(0, 0.02))
        send(process, signal.SIGKILL)
        result.ended(process, run.folder.name)
    if run.unfinished():  # else it was over before
        run.step()
        result.events[f"{run.devices} proc., in a checkpoint's writing"] += 1


def full(random: Random, folder: Path, count: int) -> Outcome:
    """A file system that fills up: exit code 1, one line, the last checkpoint whole; with room again the run goes on."""
    result = Outcome()
    for number in range(count):
        devices = number % 2 + 1
        overrides = [*LENGTH, "callbacks.checkpoints.every_n_steps=2"]
        with small_disk(folder / f"disk_{number}") as disk:
            if disk is None:
                result.events["skipped: only root mounts a file system"] += 1
                return result
            whole = whole_run(folder / f"whole_{number}", overrides, devices, result)
            run = Run(disk / "run", *overrides, devices=devices)
            fill(run, random, disk, result)
            finish_and_compare(run, whole, result)
        result.events[f"{devices} proc., disk full"] += 1
    return result


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of 16 MB; None where one cannot be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(run: Run, random: Random, disk: Path, result: Outcome) -> None:
    """Let the disk run full at a random batch, and make room again when the run has ended."""
    target = random.uniform(5, BATCHES * (EPOCHS - 1))
    with run.running() as process:
        until(lambda: run.beat()[0] > target and run.last.is_file(), process)
        filler = disk / "filler"
        filler.write_bytes(bytes(max(shutil.disk_usage(disk).free - 20_000, 0)))
        result.ended(process, "disk full")
        code = process.returncode
    errors = [line for line in run.output.read_text().splitlines() if line.startswith("error: ")]
    if code != 1 or len(errors) != 1 or "No space left" not in errors[0] or str(run.folder) not in errors[0]:
        result.wrong.append(f"disk full: exit code {code}, {errors}")
    if run.step() == 0:
        result.wrong.append("disk full: no checkpoint left")
    filler.unlink()


def sigterm(random: Random, folder: Path, count: int) -> Outcome:
    """SIGTERM to all processes at random moments: exit code 143 and no process left."""
    result = Outcome()
    for number in itertools.count():
        signals = min(5, count - sum(result.events.values()))
        if signals <= 0:
            return result
        devices = number % 2 + 1
        overrides, _ = features(random, folder)
        whole = whole_run(folder / f"whole_{number}", overrides, devices, result)
        run = Run(folder / f"stopped_{number}", *overrides, devices=devices)
        for _ in range(signals):
            with run.running() as process:
                if not moment(run, process, random, EPOCHS * BATCHES):
                    continue
                phase = run.beat()[1]
                send(process, signal.SIGTERM)
                result.ended(process, f"{run.folder.name}: SIGTERM")
                finished = process.returncode == 0 and (run.folder / "result.json").is_file()  # in its last batches
                if process.returncode != 143 and not finished:
                    result.wrong.append(f"{run.folder.name}: SIGTERM ({phase}): exit code {process.returncode}")
            result.events[f"{devices} proc., {phase}"] += 1
            run.step()
        finish_and_compare(run, whole, result)
        print(f"sigterm: {dict(result.events)}, slowest {result.slowest:.1f} s, wrong: {result.wrong}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    counts = {kill: 50, checkpoint: 20, full: 2, sigterm: 20}
    names = {kill: "kills", checkpoint: "checkpoint_kills", full: "disks", sigterm: "sigterms"}
    for part, default in counts.items():
        parser.add_argument(f"--{names[part].replace('_', '-')}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", default=",".join(part.__name__ for part in counts))
    parser.add_argument("--folder", type=Path, help="where the runs are kept; by default they are removed")
    parser.add_argument("--forked", action="store_true", help="start runs without importing everything anew")
    arguments = parser.parse_args()
    Run.forked = arguments.forked
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="stress_"))
    summary = {}
    for part in counts:
        if part.__name__ in arguments.parts.split(","):
            place = folder / part.__name__
            place.mkdir(parents=True)
            begin = time.monotonic()
            result = part(Random(arguments.seed), place, getattr(arguments, names[part]))
            summary[part.__name__] = {
                **{"count": sum(result.events.values()), "events": dict(sorted(result.events.items()))},
                **{"slowest_end_s": round(result.slowest, 1), "minutes": round((time.monotonic() - begin) / 60, 1)},
                "wrong": result.wrong,
            }
    print(f"{'part':12s} {'count':>5s} {'slowest end':>12s} {'minutes':>8s} {'wrong':>6s}")
    for name, row in summary.items():
        figures = f"{row['count']:5d} {row['slowest_end_s']:10.1f} s {row['minutes']:8.1f} {len(row['wrong']):6d}"
        print(f"{name:12s} {figures}")
        for what, number in row["events"].items():
            print(f"    {number:5d} {what}")
    print(json.dumps(summary))
    wrong = any(row["wrong"] for row in summary.values())
    if arguments.folder is None and not wrong:
        shutil.rmtree(folder)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
