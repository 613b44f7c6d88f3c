"""A lock for each run folder, so that only one process at a time trains in it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from lightdiff.utils.config import ConfigError
from lightdiff.utils.files import shown

LOCK = ".lock"
FORMER_PROCESS_SECONDS = 2.0
"""How long to wait for a process that is just ending to release the lock."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder while the block runs. A process that holds it already may take it again.

    The system releases the lock however the process ends. On a file system without locks nothing is checked.

    Raises:
        ConfigError: another process is training in the folder.
    """
    lock = _lock(folder)
    try:
        held = _acquire(lock, FORMER_PROCESS_SECONDS)
    except Timeout as error:
        raise ConfigError(
            f"{shown(folder)}: another process is training in this folder; wait until it has ended, or stop it"
        ) from error
    try:
        yield
    finally:
        if held:
            lock.release()


def in_training(folder: Path) -> bool:
    """Return whether another process is training in this folder."""
    # a link in a stranger's folder could lead to a file that opening for the lock would empty
    if not (folder / LOCK).is_file() or (folder / LOCK).is_symlink():
        return False
    lock = _lock(folder)
    try:
        if _acquire(lock, 0):
            lock.release()
    except Timeout:
        return True
    return False


def _lock(folder: Path) -> BaseFileLock:
    """Return the folder's lock, without taking it."""
    # with one object for each file, filelock lets the process that holds the lock take it again
    return FileLock(folder.absolute() / LOCK, is_singleton=True)


def _acquire(lock: BaseFileLock, timeout: float) -> bool:
    """Take the lock and return True, or return False where the file system has no locks.

    Raises:
        Timeout: another process still holds the lock after `timeout` seconds.
    """
    with warnings.catch_warnings():
        # without locks filelock warns and then uses the file's existence, which would outlive a killed process: stop it there
        warnings.simplefilter("error", UserWarning)
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            # caught first, because it is an OSError too
            raise
        except (OSError, NotImplementedError, UserWarning):
            return False
    return True
