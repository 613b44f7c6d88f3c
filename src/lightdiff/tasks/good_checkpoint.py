"""Read the checkpoint that a run goes on from; if it is broken, name the command that goes on from the newest good one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightdiff.lightning import CheckpointError, find_checkpoint, read_checkpoint
from lightdiff.tasks.run_folder import CONFIG
from lightdiff.utils.files import shown
from lightdiff.utils.program import typed, way_on
from lightdiff.utils.quoting import setting


def resumable(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the checkpoint from which a run goes on, and its content.

    Args:
        path: a run folder, which goes on from its last checkpoint, or a checkpoint in one.

    Raises:
        CheckpointError: the checkpoint is missing or broken. The message gives the command that goes on from the newest good
            checkpoint in the same folder, if there is one.
    """
    try:
        file = find_checkpoint(path)
        return file, read_checkpoint(file)
    except CheckpointError as error:
        folder = path / "checkpoints" if path.is_dir() else path.parent
        raise CheckpointError(f"{error}; {_way_on(folder)}") from error


def _way_on(folder: Path) -> str:
    """Return the part of a message that names the newest good checkpoint in `folder` and the command that goes on from it."""
    good = {}
    for file in folder.glob("*.ckpt"):
        try:
            good[file] = int(read_checkpoint(file)["global_step"])
        except (CheckpointError, KeyError):
            continue
    if not good:
        again = f"; {way_on(folder.parent)}" if _began(folder) else ""
        return f"there is no good checkpoint in {shown(folder)}{again}"
    newest = max(good, key=lambda file: good[file])
    return f"go on from the newest good one, of step {good[newest]}: {typed('train')} {setting('resume', newest)}"


def _began(folder: Path) -> bool:
    """Return whether a run was begun of which no checkpoint was saved; a broken one is there for its owner to look at."""
    return (folder.parent / CONFIG).is_file() and not (folder / "last.ckpt").exists()
