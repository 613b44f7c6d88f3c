"""The folder that a command writes as a whole: its name, the record of what lies in it, and what may be replaced."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from lightdiff.config.instantiate import ConfigError
from lightdiff.config.naming_folder import naming_folder
from lightdiff.utils.files import write_picture
from lightdiff.utils.folders import files_in, is_empty, whole_folder
from lightdiff.utils.records import canonical

RECORD = "samples.json"
"""File with the settings of the images in a folder, and the list of their files."""
WRITER = "lightdiff {command}"
"""Entry `written_by` of the record, without which its list of files is not believed."""


@contextmanager
def output_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder, whose content becomes that of `out` when the with block ends; see `whole_folder`.

    Raises:
        ConfigError: no folder can be made there.
        OSError: the disk is full or broken.
    """
    with ExitStack() as stack:
        with naming_folder("out", out):
            temporary = stack.enter_context(whole_folder(out))
        yield temporary


def has_content(out: Path) -> bool:
    """Return whether there is a folder that holds anything.

    Raises:
        ConfigError: it cannot be read, or no folder can have such a name.
    """
    with naming_folder("out", out):
        return out.is_dir() and not is_empty(out)


def check_out(out: Path, *, overwrite: bool, command: str = "sample") -> None:
    """Refuse a folder with files in it that this command has not written, or that are not to be overwritten.

    Raises:
        ConfigError: one line with the folder and what to do.
    """
    if not has_content(out):
        return
    listed = _listed(out, command)
    foreign = next((name for name in files_in(out) if name not in listed), None)
    if foreign is not None:
        raise ConfigError(
            f"out={out}: it holds {foreign}, which {command}.py has not written; choose a new or an empty folder"
        )
    if not overwrite:
        raise ConfigError(
            f"out={out}: it holds samples; overwrite=true replaces them, or choose a new or an empty folder"
        )
    if os.path.ismount(out) or Path.cwd().is_relative_to(out.resolve()):
        raise ConfigError(f"out={out}: a mounted disk or the working directory cannot be replaced; empty it first")


def _listed(out: Path, command: str) -> set[str]:
    """Return the names of the files in a folder that its record lists, with the record itself; none without a record."""
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        return {RECORD, *record["files"]} if record["written_by"] == WRITER.format(command=command) else set()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def write_record(folder: Path, settings: dict[str, Any], *, command: str = "sample") -> None:
    """Write `samples.json` into a folder: the settings, and a list of all files in it."""
    content = {"written_by": WRITER.format(command=command), **settings, "files": list(files_in(folder))}
    write_picture(folder / RECORD, (json.dumps(content, indent=2) + "\n").encode())


def hash_of_pixels(images: Tensor) -> str:
    """Return the SHA-256 of images, with their shape."""
    return hashlib.sha256(f"{tuple(images.shape)}".encode() + images.numpy().tobytes()).hexdigest()


def hash_of(settings: dict[str, Any]) -> str:
    """Return eight characters that differ for different settings."""
    return hashlib.sha256(canonical(settings).encode()).hexdigest()[:8]
