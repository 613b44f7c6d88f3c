"""Explain failures whose cause is outside the program (memory, disk, a lost process) in one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightdiff.config.instantiate import out_of_memory
from lightdiff.utils.files import disk_error, disk_line, shown
from lightdiff.utils.program import way_on

SIGNS_OF_A_LOST_PROCESS = ("by peer", "connection reset", "broken pipe", "gloo", "nccl", "dataloader worker")
"""Parts of torch's messages when it has lost another rank or a process that reads images; it has no class for these errors."""


class RunFailed(RuntimeError):
    """Error of a run that ended for a reason outside the program. The message is one line."""


@contextmanager
def explained(folder: Path, config: dict[str, Any]) -> Iterator[None]:
    """Turn errors of memory, of the disk and of lost processes into RunFailed; leave all others as they are.

    Args:
        folder: the run's folder.
        config: the run's configuration; messages name its keys.
    """
    try:
        yield
    except Exception as error:
        cause = disk_error(error)
        if cause is not None and not folder.is_dir():
            raise RunFailed(f"{shown(folder)}: this run's folder was moved or deleted while the run went on") from error
        if cause is not None:
            raise RunFailed(disk_line(cause, _last_checkpoint(folder))) from error
        if isinstance(error, RuntimeError) and any(sign in str(error).casefold() for sign in SIGNS_OF_A_LOST_PROCESS):
            raise RunFailed(
                "a process of this run was killed, has failed or cannot be reached (its own messages say why; ddp_timeout="
                f"{config.get('ddp_timeout')}); {_last_checkpoint(folder)}; {_way_on(folder)}"
            ) from error
        if out_of_memory(error):
            batch_size = config["dataset"]["batch_size"]
            raise RunFailed(
                f"out of memory; lower dataset.batch_size (now {batch_size}), model.widths or dataset.image_size, or try "
                "trainer.precision=bf16-mixed; with trainer.accumulate_grad_batches=2 and half the batch_size the optimizer "
                f"sees as many images; {_last_checkpoint(folder)}"
            ) from error
        raise


def _way_on(folder: Path) -> str:
    """Return the part of a message that says how the run can go on; the folder of a run that has saved nothing may be removed."""
    return way_on(folder) if _last(folder).is_file() else "begin again with the same command"


def _last(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def _last_checkpoint(folder: Path) -> str:
    """Return the part of a message that says which checkpoint is left."""
    last = _last(folder)
    return f"last good checkpoint: {shown(last)}" if last.is_file() else "no checkpoint was saved yet"
