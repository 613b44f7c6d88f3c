"""Helpers for paths in messages, errors of the disk, and files that are written as a whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

FULL_OR_BROKEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO)
"""Numbers of the errors of a full, read-only or broken disk."""
GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO)
"""Numbers of the errors of a file or folder that was moved, deleted or replaced, or whose disk was taken away."""
DISK = (*FULL_OR_BROKEN, *GONE)
"""Numbers of the errors whose reason lies on the disk and not in the program."""
ON_HUB = "hf://"
"""Start of the paths of models on the hub of Hugging Face."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors of which the free space is of interest."""


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
    found = (_as_os_error(cause) for cause in causes(error, contexts=True))
    return next((cause for cause in found if cause is not None and cause.errno in DISK), None)


def _as_os_error(error: BaseException) -> OSError | None:
    """Return an error of the system as an OSError. Libraries in Rust, such as safetensors, give its number in their message."""
    if isinstance(error, OSError):
        return error
    number = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(number.group(1)), os.strerror(int(number.group(1)))) if number else None


def full_or_broken_disk(error: BaseException) -> str | None:
    """Return `disk_line` where an error says that the disk is full, read-only or broken; else None."""
    cause = disk_error(error)
    return disk_line(cause) if cause is not None and cause.errno in FULL_OR_BROKEN else None


def disk_line(error: OSError, *notes: str) -> str:
    """Return one line about an error of the disk: the file, the reason, the notes, and the free space where it was too little."""
    reason = error.strerror or str(error)
    if not isinstance(error.filename, str | bytes):
        return "; ".join([reason, *notes])
    # TensorBoard names its file in bytes
    file = Path(os.fsdecode(error.filename))
    space = [f"{_free_bytes(file) / 1e6:,.1f} MB are free there"] if error.errno in FULL else []
    return "; ".join([f"{shown(file)}: {reason}", *notes, *space])


def _free_bytes(path: Path) -> int:
    """Return the free space of the disk on which a path lies or would lie."""
    return shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.is_dir())).free


def is_on_hub(path: str | Path) -> bool:
    """Return whether the path that a user gave for a model names one on the hub, such as hf://user/name."""
    return isinstance(path, str) and path.startswith(ON_HUB)


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
def replaced(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield the path of a temporary file to write, which replaces `path` when the with block ends.

    At every moment `path` is either the old or the new file, complete. The temporary file has the same ending, since encoders
    choose the format by it.

    Args:
        path: the file, in a folder that exists.
        durable: wait until the content has reached the disk, so that even a loss of power leaves one of the two files.

    Raises:
        OSError: the disk is full, read-only or broken. The error names `path`.
    """
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except Exception as error:
        cause = disk_error(error)
        if cause is None:
            raise
        # the error of a write names no file, and that of opening one the temporary file
        named = str(path) if cause.filename in (None, str(temporary)) else cause.filename
        raise OSError(cause.errno, cause.strerror, named) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_picture(path: Path, content: bytes) -> None:
    """Write a file that can be made again, such as a picture, as a whole or not at all.

    Its folder is made if need be, but not the folder above it: a run whose folder was moved must not make a part of it anew.

    Raises:
        OSError: as for `replaced`.
    """
    path.parent.mkdir(exist_ok=True)
    with replaced(path, durable=False) as temporary:
        temporary.write_bytes(content)


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file as a whole or not at all. Half a line that a killed process has left is ended first.

    Raises:
        OSError: the disk is full, read-only or broken. The error names `path`.
    """
    # unbuffered, because a buffer would be written once more when the file is closed
    with path.open("ab+", buffering=0) as file:
        file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
        start = "" if file.read(1) in (b"", b"\n") else "\n"
        content, written = f"{start}{line}\n".encode(), 0
        try:
            # a disk that fills up takes a part first
            while written < len(content):
                written += file.write(content[written:])
        except OSError as error:
            # unless another process has appended something meanwhile
            if written and os.fstat(file.fileno()).st_size == file.tell():
                file.truncate(file.tell() - written)
            raise OSError(error.errno, error.strerror, str(path)) from error


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder. No other process may be writing there."""
    # those of version 0.1 have another name
    for temporary in (*folder.glob(".*.tmp.*"), *folder.glob(".*.tmp")):
        temporary.unlink(missing_ok=True)


def sha256_of(opened: BinaryIO) -> str:
    """Return the SHA-256 of an opened file, from its beginning, as hexadecimal digits."""
    opened.seek(0)
    digest = hashlib.sha256()
    while part := opened.read(2**20):
        digest.update(part)
    return digest.hexdigest()
