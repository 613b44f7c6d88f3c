"""One heat: a contender trains on a data set with a seed, draws from its snapshots, and is judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightdiff.utils.images import to_uint8
from parts.results import write
from racing.entry import Entry
from racing.judges import Judge
from racing.protocol import ROOT
from racing.task import Task

CHUNK = 100
"""Images drawn at a time."""


class Heat:
    """A heat and its record, a JSON file that is written after each step of the way; what stands there is not done again.

    Args:
        name: of the contender.
        file: of the contender.
        entry: the contender.
        task: what it is told.
        record: the JSON file.
        samples: images drawn from each snapshot.
        facts: of the machine and the race.
    """

    def __init__(
        self, name: str, file: Path, entry: Entry, task: Task, record: Path, samples: int, facts: Mapping[str, Any]
    ) -> None:
        self.name, self.file, self.entry, self.task = name, file, entry, task
        self.path, self.samples = record, samples
        self.content: dict[str, Any] = json.loads(record.read_text()) if record.is_file() else {}
        self.facts = {**facts, "data": task.data, "seed": task.seed, "samples": samples}

    def run(self, judges: Mapping[str, Judge]) -> None:
        """Do what is missing."""
        if not self.content:
            self.train()
        for point in self.content["points"]:
            missing = {name: judge for name, judge in judges.items() if name not in point["distances"]}
            if missing:
                images = self.images(point)
                for name, judge in missing.items():
                    point["distances"][name] = judge.distance(images)
                    self.content["judges"][name] = {**judge.describe(), "floor": judge.floor(self.samples)}
                write(self.path, self.content)
                found = ", ".join(f"{name} {value:.4g}" for name, value in point["distances"].items())
                print(f"{self.name}: {point['seconds'] / 60:.1f} minutes, {point['steps']} steps: {found}", flush=True)

    def train(self) -> None:
        """Let the contender train in a process of its own, and begin the record.

        Raises:
            RuntimeError: it failed, or put nothing aside.
        """
        task, folder = self.task, Path(self.task.folder)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.entry.prepare(task)
        task.write(folder / "task.json")
        facts = {**self.facts, **task.settings.facts(), "versions": self.entry.versions(), "bfloat16": task.bfloat16}
        command = [sys.executable, "-m", "racing.worker", str(self.file), str(folder / "task.json")]
        log_file = folder / "log.txt"
        with log_file.open("w") as log:
            start = time.time()
            code = subprocess.run(
                [*command, repr(start)], cwd=ROOT, env=task.settings.environment(), stdout=log, stderr=log
            ).returncode
        listed = folder / "snapshots" / "snapshots.jsonl"
        if code or not listed.is_file():
            last = (log_file.read_text().strip().splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(f"training ended with exit code {code}: {last[:300]} (all of it: {log_file})")
        self.content = {
            "contender": self.name,
            "with_classes": self.entry.with_classes,
            "recipe": self.entry.recipe,
            "changed": self.entry.changed,
            "facts": {**facts, "load_average_after": round(os.getloadavg()[0], 2)},
            "judges": {},
            "points": [{**json.loads(line), "distances": {}} for line in listed.read_text().splitlines()],
        }
        write(self.path, self.content)

    def images(self, point: Mapping[str, Any]) -> Tensor:
        """Return the images of a snapshot, uint8 (N, C, S, S): those that were drawn before, or drawn now."""
        snapshot = Path(self.task.folder, "snapshots", point["file"])
        kept = snapshot.with_suffix(".safetensors")
        if not kept.is_file():
            began = time.perf_counter()
            images = draw(self.entry, self.task, snapshot, self.samples)
            save_file({"images": images}, kept)
            # the images are all that is needed from here on, and weights take much room
            snapshot.unlink()
            print(f"{self.name}: {self.samples} images drawn in {time.perf_counter() - began:.0f} s", flush=True)
        return load_file(kept)["images"]


def draw(entry: Entry, task: Task, snapshot: Path, count: int) -> Tensor:
    """Return images of a snapshot at the size of the data set, rounded to uint8 (N, C, S, S)."""
    torch.manual_seed(task.seed)
    images, parts = entry.sampler(task, snapshot), []
    for start in range(0, count, CHUNK):
        with torch.inference_mode(), torch.autocast(task.device, task.dtype, enabled=task.dtype is not None):
            drawn = images(range(start, min(start + CHUNK, count))).float()
        edge = (drawn.shape[-1] - task.size) // 2
        parts.append(to_uint8(drawn[..., edge : edge + task.size, edge : edge + task.size]).cpu().contiguous())
    return torch.cat(parts)
