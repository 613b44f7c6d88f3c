"""Read files of tensors, so that a stranger's file runs no code: safetensors, and the pickles of torch.save."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from lightdiff.model.errors import CheckpointError
from lightdiff.model.limits import check_archive, check_header, check_size
from lightdiff.utils.files import sha256_of


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name.

    Raises:
        CheckpointError: it is missing or garbled.
    """
    try:
        check_header(file)
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    # an OSError, or an error of safetensors
    except Exception as error:
        raise CheckpointError(f"{file}: not readable ({' '.join(str(error).split())[:120]})") from error


def read_pickle(file: Path) -> Any:
    """Return the content of a file of torch.save, which may hold tensors and plain data only.

    Raises:
        CheckpointError: it is missing or garbled, or holds code.
    """
    return read_hashed(file, "cpu")[0]


def read_hashed(file: Path, map_location: Any, *, hashed: bool = False) -> tuple[Any, str | None]:
    """Return the content of a file of torch.save and, if `hashed`, its SHA-256; the file is opened once.

    Raises:
        CheckpointError: as for `read_pickle`.
    """
    try:
        with file.open("rb") as opened:
            check_archive(opened)
            opened.seek(0)
            content = torch.load(opened, map_location=map_location, weights_only=True)
            sha256 = sha256_of(opened) if hashed else None
        check_size(content)
    except ValueError as error:
        raise CheckpointError(f"{file}: not loaded, {' '.join(str(error).split())[:120]}") from error
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no pickle"
        raise CheckpointError(
            f"{file}: not loaded, it is garbled or holds more than weights ({reason[:120]})"
        ) from error
    # a garbled pickle may fail in any way
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{file}: a broken checkpoint ({type(error).__name__}: {reason})") from error
    return content, sha256
