"""Where a run can go on: its checkpoint, or, where that is broken, the command that goes on from the newest good one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightdiff.lightning import CheckpointError, find_checkpoint, read_checkpoint
from lightdiff.utils.files import shown


def resumable(path: Path) -> tuple[Path, dict[str, Any]]:
    """The checkpoint that `path` (a run folder, or a checkpoint in one) goes on from, and its content.

    Raises:
        CheckpointError: it is missing or broken; the message offers the newest good one beside it, if there is one.
    """
    try:
        file = find_checkpoint(path)
        return file, read_checkpoint(file)
    except CheckpointError as error:
        folder = path / "checkpoints" if path.is_dir() else path.parent
        raise CheckpointError(f"{error}; {_offer(folder)}") from error


def _offer(folder: Path) -> str:
    good = {}
    for file in folder.glob("*.ckpt"):
        try:
            good[file] = int(read_checkpoint(file)["global_step"])
        except (CheckpointError, KeyError):
            continue
    if not good:
        return f"there is no good checkpoint in {shown(folder)}"
    newest = max(good, key=lambda file: good[file])
    return f"go on from the newest good one, of step {good[newest]}: python train.py resume={shown(newest)}"
