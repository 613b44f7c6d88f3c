"""What stops a run from outside: no memory, no disk, another process gone. One line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist

from lightdiff.utils.config import out_of_memory
from lightdiff.utils.files import disk_error, shown


class RunFailed(RuntimeError):
    """The run ended for a reason outside of it; the message is one line."""


@contextmanager
def explained(folder: Path, config: dict[str, Any]) -> Iterator[None]:
    """Turn errors of memory, of disk and of the talk between processes into RunFailed.

    Args:
        folder: the run's folder.
        config: its configuration, whose keys the message names.
    """
    try:
        yield
    except Exception as error:
        cause = disk_error(error)
        if cause is not None:
            what = f"{cause.filename}: " if cause.filename else ""
            raise RunFailed(f"{what}{cause.strerror}; {_kept(folder)}") from error
        if out_of_memory(error):
            batch_size = config["dataset"]["batch_size"]
            raise RunFailed(
                f"out of memory; lower dataset.batch_size (now {batch_size}), model.widths or dataset.image_size, or try "
                "trainer.precision=bf16-mixed; with trainer.accumulate_grad_batches=2 and half the batch_size the optimizer "
                f"sees as many images; {_kept(folder)}"
            ) from error
        if _left_alone(error):
            raise RunFailed(
                f"another process of this run has died or cannot be reached (ddp_timeout={config.get('ddp_timeout', 600)} "
                f"seconds); its own messages say why; {_kept(folder)}; go on with: python train.py resume={shown(folder)}"
            ) from error
        raise


def _kept(folder: Path) -> str:
    last = folder / "checkpoints" / "last.ckpt"
    return f"last good checkpoint: {shown(last)}" if last.is_file() else "no checkpoint was saved yet"


def _left_alone(error: Exception) -> bool:
    """In the middle of an exchange among processes; gloo and NCCL have texts only."""
    lost = ("timed out", "connection closed by peer", "connection reset", "broken pipe", "nccl", "gloo")
    text = str(error).casefold()
    return dist.is_initialized() and isinstance(error, RuntimeError) and any(word in text for word in lost)
