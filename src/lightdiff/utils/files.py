"""Helpers for paths in messages, errors of the disk, and files that are replaced as a whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO)
"""Numbers of the errors that mean a full, read-only or broken disk, and not a fault of the program."""


def disk_error(error: BaseException) -> OSError | None:
    """Return the disk error among an error and its causes, or None. torch.save, for one, wraps it in an error of its own."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in DISK:
            return found
        found = found.__cause__ or found.__context__
    return None


def shown(path: Path) -> str:
    """Return a path as a user would type it: relative to the working directory if it lies inside."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file to write, which replaces `path` when the with block ends.

    At every moment `path` is either the old or the new file, complete.

    Raises:
        OSError: the disk is full, read-only or broken. The error names `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        cause = disk_error(error)
        if cause is None:
            raise
        # the error of a write does not name the file
        raise OSError(cause.errno, cause.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder. No other process may be writing there."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)
