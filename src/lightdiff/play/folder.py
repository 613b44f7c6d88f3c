"""The folder of the page's temporary files, of which nothing stays behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "lightdiff-play-"
"""Beginning of the names of such folders; the number of the process comes next."""
LOCK = ".lock"


@contextmanager
def own_folder() -> Iterator[Path]:
    """Yield a new folder for temporary files, which is removed with all that is in it when the block ends.

    Folders of servers that were killed are removed at the beginning: their lock is free.
    """
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    lock = FileLock(folder / LOCK)
    lock.acquire()
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # a folder without a lock is just being made, and one of another user is none of ours
        if folder.is_symlink() or not (folder / LOCK).is_file() or not _is_ours(folder):
            continue
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
