"""What stops a run from outside: no memory, no disk, a process of it gone. One line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightdiff.utils.config import out_of_memory
from lightdiff.utils.files import disk_error, shown

PARTNER_LOST = ("by peer", "connection reset", "broken pipe", "gloo", "nccl", "dataloader worker")
"""In messages of torch, which has no class for it: another rank, or a process that reads images."""


class RunFailed(RuntimeError):
    """The run ended for a reason outside of it; the message is one line."""


@contextmanager
def explained(folder: Path, config: dict[str, Any]) -> Iterator[None]:
    """Turn errors of memory, of disk and of lost processes into RunFailed.

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
        if isinstance(error, RuntimeError) and any(sign in str(error).casefold() for sign in PARTNER_LOST):
            raise RunFailed(
                "a process of this run was killed, has failed or cannot be reached (its own messages say why; ddp_timeout="
                f"{config.get('ddp_timeout')}); {_kept(folder)}; go on with: python train.py resume={shown(folder)}"
            ) from error
        if out_of_memory(error):
            batch_size = config["dataset"]["batch_size"]
            raise RunFailed(
                f"out of memory; lower dataset.batch_size (now {batch_size}), model.widths or dataset.image_size, or try "
                "trainer.precision=bf16-mixed; with trainer.accumulate_grad_batches=2 and half the batch_size the optimizer "
                f"sees as many images; {_kept(folder)}"
            ) from error
        raise


def _kept(folder: Path) -> str:
    last = folder / "checkpoints" / "last.ckpt"
    return f"last good checkpoint: {shown(last)}" if last.is_file() else "no checkpoint was saved yet"
