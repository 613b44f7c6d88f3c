"""Folders that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightdiff.utils.files import disk_error

OF_THE_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Names of files that the system puts into folders that somebody looks into."""


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill, whose content becomes that of `folder` when the with block ends without an error.

    Until then `folder` keeps its content, or is not there. At the end its old content is deleted; whether it may be is for the
    caller to check.

    Raises:
        OSError: before the with block, because no folder can be made there; at its end, because the disk is full or broken. The
            error names the file in `folder`.
    """
    folder = folder.resolve()
    # An empty folder keeps its place and its permissions: it may be a mount, or lie in a folder that is not the user's.
    fills = folder.is_dir() and is_empty(folder)
    parent = folder if fills else folder.parent
    made = [missing for missing in (parent, *parent.parents) if not missing.exists()]
    temporary = parent / f".{os.getpid()}.tmp.{folder.name}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _undo_interrupted_exchange(folder)
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        temporary.mkdir()
        yield temporary
        if fills:
            for entry in list(temporary.iterdir()):
                entry.rename(folder / entry.name)
        elif folder.exists():
            _exchange(temporary, folder)
        else:
            temporary.rename(folder)
    except Exception as error:
        cause = disk_error(error)
        if cause is None:
            raise
        # the user knows nothing of the temporary folder
        file = Path(os.fsdecode(cause.filename or temporary))
        named = folder / file.relative_to(temporary) if file.is_relative_to(temporary) else file
        raise OSError(cause.errno, cause.strerror, str(named)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for empty in made:
            with contextlib.suppress(OSError):
                empty.rmdir()


def _exchange(new: Path, folder: Path) -> None:
    """Let `new` take the place of `folder`, and delete the old one."""
    aside = folder.with_name(f".{os.getpid()}.old.{folder.name}")
    shutil.copymode(folder, new)
    try:
        folder.rename(aside)
        new.rename(folder)
    # also Ctrl-C between the two
    except BaseException:
        if not folder.exists():
            aside.rename(folder)
        raise
    # what is being deleted must not look like a folder to move back
    shutil.rmtree(aside.rename(new), ignore_errors=True)


def _undo_interrupted_exchange(folder: Path) -> None:
    """Move the old folder back to its place where a process was killed between the two steps of `_exchange`."""
    for aside in folder.parent.glob(f".*.old.{glob.escape(folder.name)}"):
        if not folder.exists():
            aside.rename(folder)


def is_empty(folder: Path) -> bool:
    """Return whether a folder holds nothing that a user or a program has put there."""
    return all(entry.name in OF_THE_SYSTEM for entry in folder.iterdir())


def files_in(folder: Path) -> Iterator[str]:
    """Yield the paths of all files and links below a folder, relative to it, with slashes; none of `OF_THE_SYSTEM`."""
    for path in sorted(folder.rglob("*")):
        if (path.is_symlink() or not path.is_dir()) and path.name not in OF_THE_SYSTEM:
            yield path.relative_to(folder).as_posix()
