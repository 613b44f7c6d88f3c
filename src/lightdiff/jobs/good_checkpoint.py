"""Read the checkpoint that a run goes on from, and refuse it in one line before anything of the run is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer

from lightdiff.config.instantiate import ConfigError, out_of_memory
from lightdiff.jobs.run_config import CONFIG
from lightdiff.model import AtomicCheckpointIO, CheckpointError, DiffusionModel, find_checkpoint, read_checkpoint
from lightdiff.model.checkpoint import check_content
from lightdiff.model.content import TRAINING
from lightdiff.model.rehearsal import describe, rehearse
from lightdiff.utils.files import shown
from lightdiff.utils.program import typed, way_on
from lightdiff.utils.quoting import setting
from lightdiff.utils.structure import Misfit


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
        return file, _read(file)
    except CheckpointError as error:
        folder = path / "checkpoints" if path.is_dir() else path.parent
        raise CheckpointError(f"{error}; {_way_on(folder)}") from error


def _read(file: Path) -> dict[str, Any]:
    """Return the content of a checkpoint that Lightning can restore."""
    checkpoint = read_checkpoint(file)
    check_content(TRAINING, checkpoint, file)
    return checkpoint


def _way_on(folder: Path) -> str:
    """Return the part of a message that names the newest good checkpoint in `folder` and the command that goes on from it."""
    good: dict[Path, int] = {}
    for file in folder.glob("*.ckpt"):
        try:
            good[file] = _read(file)["global_step"]
        except CheckpointError:
            continue
    if not good:
        again = f"; {way_on(folder.parent)}" if _began(folder) else ""
        return f"there is no good checkpoint in {shown(folder)}{again}"
    newest = max(good, key=lambda file: good[file])
    return f"go on from the newest good one, of step {good[newest]}: {typed('train')} {setting('resume', newest)}"


def _began(folder: Path) -> bool:
    """Return whether a run was begun of which no checkpoint was saved; a broken one is there for its owner to look at."""
    return (folder.parent / CONFIG).is_file() and not (folder / "last.ckpt").exists()


def check_fits_run(trainer: Trainer, model: DiffusionModel, file: Path, checkpoint: dict[str, Any]) -> None:
    """Check that a run can go on from a checkpoint, as `rehearse` does.

    Raises:
        ConfigError: it cannot; one line with the file and the field.
    """
    try:
        rehearse(trainer, model, checkpoint)
    except Misfit as error:
        raise ConfigError(f"resume={shown(file)}: {error}") from error


@contextmanager
def naming_field(trainer: Trainer, file: Path | None) -> Iterator[None]:
    """Turn an error of restoring a checkpoint into one line that names the file and the field; other errors stay as they are.

    Args:
        trainer: the trainer that restores it within the block.
        file: the checkpoint, or None where none is restored.

    Raises:
        ConfigError: the checkpoint could not be restored.
    """
    try:
        yield
    except Exception as error:
        reader = trainer.strategy.checkpoint_io
        field = reader.field if isinstance(reader, AtomicCheckpointIO) else None
        if file is None or field is None or out_of_memory(error):
            raise
        raise ConfigError(f"resume={shown(file)}: {field}: not usable ({describe(error)})") from error
