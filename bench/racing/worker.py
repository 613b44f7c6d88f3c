"""The process in which a contender trains: `python -m racing.worker FILE TASK START`, started by racing/heat.py.

It imports no more than PyTorch before the contender's own imports, since its clock runs already.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from racing.clock import Snapshots, TimeIsUp
from racing.entry import load_entry
from racing.task import Task


def main(entry_file: str, task_file: str, start: str) -> None:
    """Train the contender of a file until its time is up.

    Args:
        entry_file: the contender.
        task_file: as `Task.write` has written it.
        start: `time.time()` just before this process was started.
    """
    task = Task.read(Path(task_file))
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    snapshots = Snapshots(Path(task.folder, "snapshots"), task.marks, float(start))
    try:
        load_entry(Path(entry_file)).train(task, snapshots)
    except TimeIsUp:
        print(f"{snapshots.steps} steps in {snapshots.elapsed():.0f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
