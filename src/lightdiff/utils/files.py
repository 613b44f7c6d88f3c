"""Helpers for paths in messages, errors of the disk, and files that are replaced as a whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL_OR_BROKEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO)
"""Numbers of the errors of a full, read-only or broken disk."""
GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO)
"""Numbers of the errors of a file or folder that was moved, deleted or replaced, or whose disk was taken away."""
DISK = (*FULL_OR_BROKEN, *GONE)
"""Numbers of the errors whose reason lies on the disk and not in the program."""


def causes(error: BaseException, *, contexts: bool = False) -> Iterator[BaseException]:
    """Yield an error and the errors that it was raised from, each once.

    The chain may be a cycle: TensorBoard raises the error of its writing thread again whenever it is called.

    Args:
        error: where to begin.
        contexts: also follow an error that was raised without `from` while another one was handled.
    """
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (found.__context__ if contexts else None)


def disk_error(error: BaseException) -> OSError | None:
    """Return the disk error among an error and its causes, or None. torch.save, for one, wraps it in an error of its own."""
    return next(
        (found for found in causes(error, contexts=True) if isinstance(found, OSError) and found.errno in DISK), None
    )


def user_path(path: str | Path) -> Path:
    """Return a path that a user gave; ~ in front of a slash is the user's own home folder, as in a shell."""
    return Path(os.path.expanduser(path) if str(path).partition("/")[0] == "~" else path)  # noqa: PTH111


def shown(path: Path) -> str:
    """Return a path as a user would type it: relative to the working directory if it lies inside."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def lies_in(path: Path, folder: Path) -> bool:
    """Return whether a path stays below a folder when all links in it are followed. The folder itself may be a link."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        # a link that leads to itself
        return False


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
