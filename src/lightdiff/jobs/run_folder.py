"""The folder of a run, `<log_dir>/<dataset>/version_N`: which one a run gets, who may train in it, and when it is removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from lightdiff.config.instantiate import ConfigError
from lightdiff.config.naming_folder import naming_folder
from lightdiff.jobs.run_config import CONFIG, holds
from lightdiff.jobs.run_result import RESULT
from lightdiff.utils.files import replaced, shown, user_path
from lightdiff.utils.ranks import rank_and_world_size
from lightdiff.utils.text import shorten

LOCK = ".lock"
FORMER_PROCESS_SECONDS = 2.0
"""How long to wait for a process that is just ending to release the lock."""


def next_run_folder(log_dir: str, dataset: str) -> str:
    """Return the next free `<log_dir>/<dataset>/version_N`, as an absolute path.

    Raises:
        ConfigError: `log_dir` or `dataset` cannot be the name of a folder.
    """
    for key, value in (("log_dir", log_dir), ("dataset.name", dataset)):
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{key}={shorten(value)}: the name of a folder is expected")
    if dataset in (".", "..") or set(dataset) & {"/", "\\", "\0"}:
        raise ConfigError(
            f"dataset.name={shorten(dataset)}: a plain name is expected, which becomes a folder in log_dir"
        )
    parent = user_path(log_dir).absolute() / dataset
    check_text("log_dir", parent)
    if "${" in str(parent):
        raise ConfigError(
            f"log_dir={shorten(log_dir)}: no run can lie below a folder with ${{ in its name, which Hydra fills in"
        )
    numbers = [int(path.name[8:]) for path in parent.glob("version_*") if path.name[8:].isdecimal()]
    return str(parent / f"version_{max(numbers, default=-1) + 1}")


def check_text(key: str, folder: Path) -> None:
    """Refuse a run folder whose name is no text in the locale of this process: TensorBoard cannot write there.

    Raises:
        ConfigError: one line with the key and what to do.
    """
    try:
        str(folder).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{key}={folder}: this name cannot be read as text here; set PYTHONUTF8=1 and LC_ALL=C.UTF-8, or choose another"
        ) from error


def claim_run_folder(log_dir: str, dataset: str) -> str:
    """Make the next free run folder and return its path.

    Only one process can make a given folder, so that runs started in the same second get one each. Within a job only rank 0
    makes a folder; every other rank gets a path of its own below `.sweeps`, where it cannot disturb the run.

    Raises:
        ConfigError: no folder can be made in `log_dir`.
    """
    rank, _ = rank_and_world_size()
    if rank > 0:
        return str(user_path(log_dir).absolute() / ".sweeps" / f"process_{rank}_{os.getpid()}")
    while True:
        folder = Path(next_run_folder(log_dir, dataset))
        with naming_folder("log_dir", log_dir):
            try:
                folder.mkdir(parents=True)
                return str(folder)
            except FileExistsError:
                # another run has just made this folder: go on to the next number; a file in the way would stay
                if not folder.is_dir():
                    raise


def same_run(parent: Path, config: dict[str, Any]) -> Path | None:
    """Return the newest run below `parent` that has had exactly this configuration and can go on; None if there is none.

    A run can go on if it has a last checkpoint or another process is still training it.
    """
    runs = sorted(parent.glob("version_*"), key=lambda path: int(path.name[8:]) if path.name[8:].isdecimal() else -1)
    for folder in reversed(runs):
        same = any(holds(path, config, of_any_data=True) for path in folder.glob(f"{CONFIG}*"))
        if same and ((folder / "checkpoints" / "last.ckpt").is_file() or in_training(folder)):
            return folder
    return None


@contextlib.contextmanager
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


@contextlib.contextmanager
def put_back_if_refused(folder: Path) -> Iterator[None]:
    """If the block refuses the configuration (ConfigError), put config.yaml and result.json back and remove what is new."""

    def written() -> set[Path]:
        # loggers write under any name; a folder of another name may be one in which others write as well
        patterns = ["*"] if folder.match("version_*") else [f"{CONFIG}*", RESULT, "events.out.tfevents.*"]
        trained = {folder / name for name in ("checkpoints", "samples", "plots", "evaluation")}
        return {path for pattern in patterns for path in folder.glob(pattern)} - trained

    before = written()
    contents = {path: path.read_bytes() for path in (folder / CONFIG, folder / RESULT) if path.is_file()}
    try:
        yield
    except ConfigError:
        for path in written() - before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path, content in contents.items():
            with replaced(path) as temporary:
                temporary.write_bytes(content)
        raise


def discard_if_untrained(folder: Path, *, refused: bool) -> None:
    """Remove the folder of a run that never trained, so that no empty version is left.

    Args:
        folder: the run's folder.
        refused: whether the configuration was refused before the first batch; event files are empty then and removed as well.
    """
    # a folder without .hydra was not made for a command but by the user's own hand
    if not (folder / ".hydra").is_dir():
        return
    written = [".hydra", CONFIG, LOCK, "train.log", *(["events.out.tfevents.*"] if refused else [])]
    if any(not any(map(path.match, written)) for path in folder.iterdir()):
        return
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    folder.rmdir()
    # the folders of the data set and of all runs go too if this was their only run; a folder that holds others cannot be removed
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
        folder.parent.parent.rmdir()
