"""One process at a time trains in a run folder."""

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
"""Seconds that a former process has to be gone."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, again where this process holds it; the system releases it however the process ends.

    A file system without locks is trusted to have one process in the folder.

    Raises:
        ConfigError: another process trains there.
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
    """Whether another process trains in this folder."""
    if not (folder / LOCK).is_file():
        return False
    lock = _lock(folder)
    try:
        if _acquire(lock, 0):
            lock.release()
    except Timeout:
        return True
    return False


def _lock(folder: Path) -> BaseFileLock:
    return FileLock(folder.absolute() / LOCK, is_singleton=True)  # one object a file: who holds it may take it again


def _acquire(lock: BaseFileLock, timeout: float) -> bool:
    """Whether it is held now; False where the file system has no locks. Timeout: another process holds it."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error", UserWarning
        )  # comes before a mere file takes the lock's place, which a kill would leave
        try:
            lock.acquire(timeout=timeout)
        except Timeout:  # an OSError too
            raise
        except (OSError, NotImplementedError, UserWarning):
            return False
    return True
