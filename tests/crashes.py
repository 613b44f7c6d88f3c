"""Runs of the command line that are killed, interrupted and gone on with, and what must hold of them afterwards. Linux."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

from pytorch_lightning import Callback, LightningModule, Trainer

from lightdiff.commands.cli import train_command
from lightdiff.jobs.run_config import write_config
from lightdiff.model import read_checkpoint
from runs import ROOT, differences, scalars, tiny
from waiting import PATIENCE, until

SAVED = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch")
SHORT = 0.002
"""Seconds between two looks at a run that is to be hit at an exact moment."""
logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every point that a resumed run draws again


class Beat(Callback):
    """Writes into the run's file `beat` how many batches it has trained on, and whether it is in a step or at an epoch's end.

    Args:
        disk: seconds by which a write to the disk is longer than it is.
    """

    def __init__(self, disk: float = 0.0) -> None:
        self.disk = disk

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.disk:
            fsync = os.fsync
            os.fsync = lambda file: (time.sleep(self.disk), fsync(file))[1]
        self.file = os.open(Path(trainer.default_root_dir) / "beat", os.O_CREAT | os.O_WRONLY)

    def _write(self, trainer: Trainer, phase: str) -> None:
        if trainer.is_global_zero:
            batches = trainer.fit_loop.epoch_loop.batch_progress.total.processed
            os.pwrite(self.file, f"{batches:6d} {phase:6s}".encode(), 0)

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._write(trainer, "step")

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        self._write(trainer, "end")

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self._write(trainer, "end")


class Forked:
    """The command in a copy of this process; used like a Popen."""

    def __init__(self, argv: list[str], environment: dict[str, str], output: BinaryIO) -> None:
        self.returncode: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.setsid()
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                os.environ.update(environment)
                sys.argv = argv
                code = train_command(argv[1:])
            finally:
                sys.stdout.flush()
                os._exit(code)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float = math.inf) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("train.py", timeout)
            time.sleep(0.02)
        return code


Process = subprocess.Popen[bytes] | Forked


class Run:
    """A run folder with its configuration, which is started any number of times."""

    forked = False
    """Start it as a fork of this process, which has imported torch already: seconds less. Other ranks are fresh processes."""

    def __init__(self, folder: Path, *overrides: str, devices: int = 1, disk: float = 0.0) -> None:
        self.folder, self.devices = folder, devices
        config = tiny(*overrides, f"trainer.devices={devices}")
        config["callbacks"] = {"beat": {"_target_": "crashes.Beat", "disk": disk}, **config["callbacks"]}
        folder.mkdir(parents=True)
        write_config(folder, config)
        self.last = folder / "checkpoints" / "last.ckpt"
        self.output = folder.parent / f"{folder.name}.log"

    def command(self) -> list[str]:
        """Go on with `resume=` where there is something to go on from."""
        if self.last.is_file():
            return ["train.py", f"resume={self.folder}", "callbacks.beat._target_=crashes.Beat"]
        return ["train.py", "--job", str(self.folder), "crashes.Beat"]

    def start(self) -> Process:
        """In a session of its own, so that all its processes are known."""
        (self.folder / "beat").unlink(missing_ok=True)
        script, *arguments = self.command()
        paths = [str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
        with self.output.open("ab") as output:
            if self.forked:
                return Forked([str(ROOT / script), *arguments], environment, output)
            return subprocess.Popen(
                [sys.executable, str(ROOT / script), *arguments],
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self) -> list[str]:
        """Train to the end; what was wrong with that."""
        with self.running() as process:
            code = process.wait(PATIENCE)
        return [f"{self.folder.name}: exit code {code}, see {self.output}"] if code else []

    @contextlib.contextmanager
    def running(self) -> Iterator[Process]:
        """A start of it of which nothing is left in the end, whatever happens."""
        process = self.start()
        try:
            yield process
        finally:
            for pid in members(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def beat(self) -> tuple[int, str]:
        """Batches trained on, and the phase: "start" before the first one."""
        with contextlib.suppress(OSError, ValueError):
            batches, phase = (self.folder / "beat").read_text().split()
            return int(batches), phase
        return 0, "start"

    def step(self) -> int:
        """Of its last checkpoint, which must be whole."""
        return int(read_checkpoint(self.last)["global_step"]) if self.last.is_file() else 0

    def unfinished(self) -> list[Path]:
        """Files that were being written."""
        return list(self.folder.glob("checkpoints/.*.tmp.*"))


def members(session: int) -> list[int]:
    """Processes of a session that have not ended; the leader's number is the session's."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(int(stat.parent.name))
    return sorted(found)


def ranks(session: int) -> list[int]:
    """Processes of the job, the first rank in front; workers that read images are children of theirs."""
    jobs = []
    for pid in members(session):
        with contextlib.suppress(OSError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if pid == session or (parent == session and b"LOCAL_RANK=" in Path(f"/proc/{pid}/environ").read_bytes()):
                jobs.append(pid)
    return jobs


def send(process: Process, number: int, whom: str = "all") -> None:
    """A signal to all processes, to the first rank or to the last."""
    if whom == "all":
        os.killpg(process.pid, number)
    else:
        os.kill(ranks(process.pid)[0 if whom == "first" else -1], number)


def gone(process: Process) -> float:
    """Wait until every process of the session has ended, and return the seconds that took."""
    begin = time.monotonic()
    # asking for the exit code is what removes an ended leader from the list
    until(lambda: (process.poll(), not members(process.pid))[1])
    process.wait()
    return time.monotonic() - begin


def moment(run: Run, process: Process, random: Random, total: int) -> bool:
    """Wait for a random moment of what is left of the run; False: it ended before."""
    kind = random.random()
    known = run.output.stat().st_size
    if kind < 0.15:  # while everything is made
        said = until(lambda: b"run folder:" in run.output.read_bytes()[known:], process, pause=SHORT)
        time.sleep(random.uniform(0, 2))
        return said and process.poll() is None
    if kind < 0.35:  # at the end of an epoch
        reached = until(lambda: run.beat()[1] == "end", process, pause=SHORT)
        time.sleep(random.uniform(0, 0.5))
        return reached and process.poll() is None
    until(lambda: run.beat()[1] != "start", process, pause=SHORT)
    batches = run.beat()[0]
    target = random.uniform(batches, batches + 0.6 * max(total - batches, 1))
    reached = until(lambda: run.beat()[0] >= target, process, pause=SHORT)
    time.sleep(random.uniform(0, 0.03))
    return reached and process.poll() is None


def landed(run: Run, steps_per_epoch: int) -> str:
    """Where a kill has hit the run."""
    if run.unfinished():
        return "in a checkpoint's writing"
    phase = run.beat()[1]
    if phase != "step":
        return {"start": "before the first step", "end": "at an epoch's end"}[phase]
    return "mid-epoch after a checkpoint" if run.step() % steps_per_epoch else "mid-epoch, none in this epoch"


def violations(whole: Run, run: Run) -> list[str]:
    """How a run that was stopped and gone on with differs from one that was not: [] if in nothing."""
    found = []
    for name in ("last.ckpt", "best.ckpt"):
        files = [each.folder / "checkpoints" / name for each in (whole, run)]
        if files[0].is_file():
            left, right = map(read_checkpoint, files)
            found += [f"{name} {d}" for key in SAVED for d in differences(left[key], right[key], key)]
    curves, wanted = scalars(run.folder), scalars(whole.folder)
    found += [f"curve {tag}: in one run only" for tag in curves.keys() ^ wanted.keys()]
    for tag in curves.keys() & wanted.keys():
        if tag == "train/images_per_second":
            same = [step for step, _ in curves[tag]] == [step for step, _ in wanted[tag]]
        else:
            same = curves[tag] == wanted[tag]
        if not same:
            odd = sorted(set(curves[tag]) ^ set(wanted[tag]))[:4]
            found.append(f"curve {tag}: {len(curves[tag])} points, {len(wanted[tag])} expected, odd ones: {odd}")
    results = [json.loads((each.folder / "result.json").read_text()) for each in (whole, run)]
    found += [f"result.json {d}" for d in differences(*results)]
    pictures = [
        {path.name: path.read_bytes() for path in (each.folder / "samples").glob("step_*")} for each in (whole, run)
    ]
    found += [f"samples {d}" for d in differences(*pictures)]
    return [f"{run.folder.name}: {each}" for each in found]
