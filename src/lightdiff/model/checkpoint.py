"""Read checkpoints, so that a stranger's file runs no code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightdiff.model.content import MODEL
from lightdiff.model.diffusers_weights import find_weights
from lightdiff.model.errors import CheckpointError
from lightdiff.model.export import WEIGHTS
from lightdiff.model.format_1 import renew
from lightdiff.model.tensor_files import read_hashed
from lightdiff.utils.files import user_path
from lightdiff.utils.structure import Misfit, Structure

DATA = "DiffSet"
"""Key of a checkpoint under which Lightning puts what a `DiffSet` remembers of its images; unchecked here."""


def find_checkpoint(path: str | Path) -> Path:
    """Return the file with the weights that `path` stands for.

    Args:
        path: a checkpoint (returned as it is), a run folder (its `checkpoints/last.ckpt`), an exported folder or a folder of
            diffusers (its weights).

    Raises:
        CheckpointError: there is no such file or folder, or the folder holds neither.
    """
    path = user_path(path)
    if path.is_file():
        return path
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint or run folder")
    last = path / "checkpoints" / "last.ckpt"
    for file in (last, path / WEIGHTS):
        if file.is_file():
            return file
    weights = find_weights(path)
    if weights is not None:
        return weights
    found = sorted(path.glob("checkpoints/*.ckpt"))
    there = f"; there: {', '.join(str(file) for file in found)}" if found else ""
    raise CheckpointError(f"{path}: this folder has no checkpoints/last.ckpt{there}")


def read_checkpoint(path: str | Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """Return the content of a checkpoint, which may hold tensors and plain data only.

    Args:
        path: as for `find_checkpoint`.
        map_location: device to load the tensors to, as for `torch.load`.

    Raises:
        CheckpointError: the file is missing, truncated, garbled, holds code, or was not written by lightdiff.
    """
    return read(find_checkpoint(path), map_location)[0]


def read(file: Path, map_location: Any, *, hashed: bool = False) -> tuple[dict[str, Any], str | None]:
    """Return the content of a checkpoint and, if `hashed`, its SHA-256, from a file that is opened once."""
    checkpoint, sha256 = read_hashed(file, map_location, hashed=hashed)
    if not isinstance(checkpoint, dict) or "lightdiff" not in checkpoint:
        raise CheckpointError(f"{file}: not a checkpoint of lightdiff")
    with _naming(file):
        renew(checkpoint)
        MODEL.check(checkpoint)
    return checkpoint, sha256


def check_content(structure: Structure, checkpoint: dict[str, Any], file: Path) -> None:
    """Check the content of a checkpoint.

    Raises:
        CheckpointError: it is not as described; one line with the file and the field.
    """
    with _naming(file):
        structure.check(checkpoint)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Turn a Misfit of the block into a CheckpointError that names the file."""
    try:
        yield
    except Misfit as error:
        raise CheckpointError(f"{file}: {error}") from error
